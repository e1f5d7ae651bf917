//! Receives log-out notices.

use std::sync::Arc;

use axum::{
    extract::Request,
    routing::{MethodRouter, post},
};
use http::StatusCode;

use super::{
    claims::LogoutClaims,
    form,
    notice::{self, Scope},
};
use crate::{
    revocation::Revocations,
    signals::{SignalError, answer, body},
    store::Revocation,
    telemetry::{self, Throttle},
    time::TimeSource,
    verify::{VerifyErrorKind, jwt::JwtVerifier},
};

/// A label of the metrics.
const NOTICE: &str = "log_out";
const FORM: &str = "application/x-www-form-urlencoded";

pub(super) struct Receiver {
    pub(super) verifier: JwtVerifier<LogoutClaims>,
    /// For tokens that `verifier` refuses because of their type.
    pub(super) untyped: Option<JwtVerifier<LogoutClaims>>,
    pub(super) revocations: Revocations,
    pub(super) scope: Scope,
    pub(super) time: TimeSource,
    pub(super) refusals: Arc<Throttle>,
}

impl Receiver {
    pub(super) fn route<S: Clone + Send + Sync + 'static>(self) -> MethodRouter<S> {
        let receiver = Arc::new(self);
        post(async move |request: Request| match receiver.receive(request).await {
            Ok(revoked) => {
                log(&revoked);
                answer::empty(StatusCode::OK)
            }
            Err(error) => {
                telemetry::log_out_refused(NOTICE, error.kind().as_str(), &error, &receiver.refusals);
                // §2.8 knows 400 only. A provider that tries again does so after a 503.
                match error.retry_after() {
                    Some(_) => answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", error),
                    None => answer::refusal(StatusCode::BAD_REQUEST, "invalid_request", error),
                }
            }
        })
    }

    /// Revokes what a notice names. Returns once the store has confirmed it.
    async fn receive(&self, request: Request) -> Result<Revocation, SignalError> {
        let (parts, body) = request.into_parts();
        let token = form::parse(&body::read(&parts.headers, FORM, body).await?)?;
        let now = self.time.now();
        let verified = match (self.verifier.verify_token(token.expose(), now).await, &self.untyped) {
            (Err(error), Some(untyped)) if error.kind() == VerifyErrorKind::WrongType => {
                untyped.verify_token(token.expose(), now).await
            }
            (verified, _) => verified,
        };
        let revocation = notice::revocation(verified?.verified, self.scope, now, self.verifier.leeway())?;
        self.revocations.revoke(revocation.clone()).await?;
        Ok(revocation)
    }
}

fn log(revoked: &Revocation) {
    match revoked {
        Revocation::ProviderSession(id) => telemetry::log_out_accepted(NOTICE, id.issuer(), "provider_session"),
        Revocation::Subject { subject, .. } => telemetry::log_out_accepted(NOTICE, subject.issuer(), "subject"),
        _ => {}
    }
}
