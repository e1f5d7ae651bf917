//! Receives revocation requests.

use std::sync::Arc;

use axum::{
    extract::Request,
    response::Response,
    routing::{MethodRouter, post},
};
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};

use super::{body, sender::Sender};
use crate::{
    id::ScopedId,
    revocation::Revocations,
    signals::{SignalError, SignalErrorKind as Kind, SubjectId, answer, body as bytes, resolve::Users},
    store::Revocation,
    telemetry::{self, Throttle},
    time::TimeSource,
    verify::jwt::JwtVerifier,
};

/// A label of the metrics.
const NOTICE: &str = "universal_logout";

pub(super) struct Receiver {
    pub(super) verifier: JwtVerifier<()>,
    pub(super) revocations: Revocations,
    pub(super) client_ids: Vec<String>,
    pub(super) users: Users,
    pub(super) time: TimeSource,
    pub(super) refusals: Arc<Throttle>,
}

impl Receiver {
    pub(super) fn route<S: Clone + Send + Sync + 'static>(self) -> MethodRouter<S> {
        let receiver = Arc::new(self);
        post(async move |request: Request| match receiver.receive(request).await {
            Ok(issuer) => {
                telemetry::log_out_accepted(NOTICE, Some(&issuer), "subject");
                answer::empty(StatusCode::NO_CONTENT)
            }
            Err(error) => {
                telemetry::log_out_refused(NOTICE, error.kind().as_str(), &error, &receiver.refusals);
                refusal(error)
            }
        })
    }

    /// Revokes what was issued to a user. Returns the issuer that asked for it, once the store has confirmed it.
    async fn receive(&self, request: Request) -> Result<Arc<str>, SignalError> {
        let (parts, body) = request.into_parts();
        // Before the body: strangers learn nothing about users.
        let sender = Sender::authenticate(&parts.headers, &self.verifier, &self.client_ids, self.time.now()).await?;
        let subject = body::parse(&bytes::read(&parts.headers, "application/json", body).await?)?;
        let subject = self.find(&subject, &sender.issuer).await?;
        self.revocations.revoke(Revocation::Subject { subject, until: sender.until }).await?;
        Ok(sender.issuer)
    }

    async fn find(&self, subject: &SubjectId, sender: &str) -> Result<ScopedId, SignalError> {
        let names_a_user = !matches!(subject, SubjectId::Complex(_) | SubjectId::JwtId { .. });
        let has_resolver = self.users.has_resolver() && names_a_user;
        if has_resolver && let Some(user) = self.users.resolve(subject).await.map_err(SignalError::unresolved)? {
            return Ok(user);
        }
        match subject {
            SubjectId::IssSub { iss, sub } if **iss == *sender => Ok(ScopedId::of(Arc::clone(iss), Arc::clone(sub))),
            SubjectId::IssSub { .. } => Err(Kind::ForeignSubject.into()),
            _ if has_resolver => Err(Kind::UnknownSubject.into()),
            _ => Err(Kind::UnsupportedSubject.into()),
        }
    }
}

fn refusal(error: SignalError) -> Response {
    let kind = error.kind();
    let (status, code) = match kind {
        _ if error.retry_after().is_some() => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        Kind::MissingToken
        | Kind::RepeatedToken
        | Kind::Token(_)
        | Kind::IssuedInFuture
        | Kind::TooOld
        | Kind::WrongClient => (StatusCode::UNAUTHORIZED, "invalid_token"),
        Kind::ForeignSubject => (StatusCode::FORBIDDEN, "access_denied"),
        Kind::UnknownSubject => (StatusCode::NOT_FOUND, "unknown_subject"),
        Kind::UnsupportedSubject => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported_subject"),
        _ => (StatusCode::BAD_REQUEST, "invalid_request"),
    };
    let mut response = answer::refusal(status, code, error);
    if status == StatusCode::UNAUTHORIZED {
        // RFC 6750 §3: no `error` where no token was sent.
        let challenge = match kind {
            Kind::MissingToken => r#"Bearer realm="global-token-revocation""#,
            _ => r#"Bearer realm="global-token-revocation", error="invalid_token""#,
        };
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
