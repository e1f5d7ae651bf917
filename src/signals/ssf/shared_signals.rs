use std::{fmt, sync::Arc, time::Duration};

use axum::routing::MethodRouter;
use tokio::time::timeout;

use super::{
    Poll, Polling, SecurityEventError, SharedSignalsBuilder, SignalsStatus, Stream, Transmitter, TransmitterError,
    TransmitterErrorKind, push, receiver::Receiver, transmitter_configuration_url, verification::Verifications,
};
use crate::{error::ConfigError, revocation::Revocations, verify::jwks::IssuerKeys};

/// Receives security events from an identity provider, and ends the sessions that they are about, on all nodes.
///
/// This is a receiver of the Shared Signals Framework 1.0: it takes events (RFC 8417) of CAEP 1.0 and RISC 1.0, pushed
/// to a [route](Self::push_route) (RFC 8935) or [polled](Self::poll) (RFC 8936).
///
/// | event | effect |
/// | --- | --- |
/// | `session-revoked` | ends the session, or what was issued to the user before the event |
/// | `credential-change`, `credential-compromise` | ends what was issued to the user before the event; [can be set](SharedSignalsBuilder::on_credential_change) |
/// | `token-claims-change` | the same; or [verifies the user's tokens again](SharedSignalsBuilder::recheck_on_claims_change) |
/// | `account-disabled`, `account-purged`, `sessions-revoked` | ends what was issued to the user before the event |
/// | `verification` | none: it shows that the stream works; see [`verify_stream`](Self::verify_stream) |
/// | `stream-updated` | none; logged, as an error if the stream is disabled |
/// | others | none, unless there is a [fallback](SharedSignalsBuilder::fallback) |
///
/// The subject of an event decides what ends:
///
/// | subject | what ends |
/// | --- | --- |
/// | `complex` with a `session` | for `session-revoked`, and for any event that names no `user`: the sessions with this [provider session](crate::Session::provider_session), of the issuer of `user`, or else of the transmitter. All sessions of the user if the id is `ALL`, as Keycloak writes |
/// | `complex` with a `user` | what was issued to the user |
/// | `iss_sub` | what was issued to this user |
/// | `opaque` | for `session-revoked`: the sessions with this provider session of the transmitter, unless the resolver finds a user |
/// | `jwt_id` | the token with this `jti` |
/// | others, such as `email` | what was issued to the user that the [resolver](SharedSignalsBuilder::users) finds |
///
/// A session is found by the `sid` of its token. If the access tokens have none, use
/// [`end_all_of_user`](SharedSignalsBuilder::end_all_of_user). The transmitter is trusted: it may end sessions of every
/// issuer.
///
/// An event is acknowledged once the store of the [`Revocations`] has confirmed its effect. Transmitters repeat events.
/// A repeated one is answered like the first, and ends nothing that began after the event. An event whose subject is
/// unknown is acknowledged too, and logged as a warning: the transmitter could not do anything about it, and might stop
/// the stream.
///
/// # Example
///
/// ```
/// use axum::{Router, body::Body, http::{HeaderValue, Request}};
/// use axum_ws_auth::{MemoryRevocations, Revocations, jwks::{IssuerKeys, JwkSet}, signals::SharedSignals};
/// # use axum_ws_auth::test_util::TestToken;
/// use serde_json::json;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Also given to the layer: `WsAuthLayer::revocations(&revocations)`.
/// let revocations = Revocations::new(MemoryRevocations::new());
/// # let set = r#"{"keys": [{"kty": "oct", "alg": "HS256", "k": "YXQgbGVhc3QgdGhpcnR5LXR3byBieXRlcyBvZiBzZWNyZXQ"}]}"#;
/// # let set: JwkSet = serde_json::from_str(set)?;
/// // Usually `SharedSignals::discover("https://id.example.com", &revocations)`.
/// let keys = IssuerKeys::jwks("https://id.example.com", set);
/// let signals = SharedSignals::with_keys(keys, &revocations)
///     .audience("https://chat.example.com")
///     .push_authorization(&HeaderValue::from_static("Bearer secret"))
///     .await?;
/// let app = Router::new().route("/signals", signals.push_route());
/// # fn sign(token: TestToken) -> String { token.sign_with(b"at least thirty-two bytes of secret") }
/// // An event, as the transmitter signs it.
/// let user = json!({"format": "iss_sub", "iss": "https://id.example.com", "sub": "alice"});
/// let revoked = json!({"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}});
/// # let revoked = |audience: &str| sign(
/// #     TestToken::new("").token_type("secevent+jwt").without("sub").without("exp").claim("iss", "https://id.example.com")
/// #         .claim("aud", audience).claim("jti", "756E69717565").claim("sub_id", user.clone())
/// #         .claim("events", revoked.clone()),
/// # );
/// let push = |body: String, authorization: &str| {
///     let request = Request::post("/signals").header("content-type", "application/secevent+jwt");
///     request.header("authorization", authorization).body(Body::from(body)).expect("a request")
/// };
///
/// // Yes.
/// let response = app.clone().oneshot(push(revoked("https://chat.example.com"), "Bearer secret")).await?;
/// assert_eq!((response.status().as_u16(), revocations.status().entries), (202, 1));
///
/// // No: it is for another service, or is not the transmitter's.
/// let other = push(revoked("https://mail.example.com"), "Bearer secret");
/// assert_eq!(app.clone().oneshot(other).await?.status(), 400);
/// let forged = push(revoked("https://chat.example.com"), "Bearer guess");
/// assert_eq!(app.oneshot(forged).await?.status(), 400);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SharedSignals(pub(super) Arc<Receiver>);

/// How long to wait for a verification event after the transmitter has promised it.
const VERIFICATION_TIMEOUT: Duration = Duration::from_secs(30);

impl SharedSignals {
    /// Starts a builder with the keys of the transmitter with this issuer, found by its configuration at
    /// `https://{host}/.well-known/ssf-configuration{path}`.
    ///
    /// The sessions to end are those of layers that have these [`Revocations`].
    pub fn discover(issuer: impl Into<String>, revocations: &Revocations) -> SharedSignalsBuilder {
        let issuer = issuer.into();
        let url = transmitter_configuration_url(&issuer);
        Self::with_keys(IssuerKeys::discover_at(issuer, url), revocations)
    }

    /// Starts a builder with these keys. Their issuer is the transmitter's.
    pub fn with_keys(keys: IssuerKeys, revocations: &Revocations) -> SharedSignalsBuilder {
        SharedSignalsBuilder::new(keys, revocations)
    }

    /// A handler for `POST` requests with a pushed event (RFC 8935). Its route is outside of the layer: the event is
    /// authenticated by its signature, and by [`push_authorization`](SharedSignalsBuilder::push_authorization).
    ///
    /// It answers 202 when the event has taken effect on this node and the store has it; 400 with
    /// `{"err": …, "description": …}` if the event is not valid, `err` being a name of
    /// [`SecurityEventErrorKind`](super::SecurityEventErrorKind); and 503 if the store or the keys are unavailable. A
    /// body may have 64 KiB.
    pub fn push_route<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        push::route(Arc::clone(&self.0))
    }

    /// Starts a task that polls the transmitter for events (RFC 8936), until the returned handle is dropped.
    ///
    /// An event is acknowledged with the next request. After a failure the task waits for a second, then two, four, and
    /// so on up to a minute. Several nodes may poll one stream.
    ///
    /// # Errors
    ///
    /// If no tokio runtime is running here.
    pub fn poll(&self, poll: Poll) -> Result<Polling, ConfigError> {
        Polling::start(Arc::clone(&self.0), poll)
    }

    /// Verifies an event token (RFC 8417) and acts on its event, as the route does. For events that arrive in another
    /// way.
    ///
    /// # Errors
    ///
    /// If the token is not valid, or the store or the keys are unavailable.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the event may have taken effect or not. It can be received again.
    pub async fn receive(&self, token: &str) -> Result<(), SecurityEventError> {
        self.0.receive(token).await
    }

    /// Checks that the stream works: asks the transmitter for a verification event (Shared Signals Framework 1.0
    /// §8.1.4), and waits up to 30 seconds for it.
    ///
    /// The event arrives by the route or by the poll, so one of them must be running. With several nodes behind the
    /// route, it may reach another node: see [`SignalsStatus::last_verification`] there.
    ///
    /// # Errors
    ///
    /// If the transmitter refuses, or this node does not receive the event.
    pub async fn verify_stream(&self, transmitter: &Transmitter, stream: &Stream) -> Result<(), TransmitterError> {
        let verifications = &self.0.verifications;
        let state = verifications.new_state().ok_or_else(|| TransmitterErrorKind::NotVerified.error())?;
        let answers = verifications.watch();
        transmitter.request_verification(stream, &state).await?;
        let answer = timeout(VERIFICATION_TIMEOUT, Verifications::wait_for(answers, &state)).await;
        answer.map_err(|_| TransmitterErrorKind::NotVerified.error())
    }

    /// The state of this receiver, for health endpoints.
    #[must_use]
    pub fn status(&self) -> SignalsStatus {
        self.0.health.status(self.0.verifier.status().into_iter().next())
    }
}

impl fmt::Debug for SharedSignals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSignals").field("status", &self.status()).finish_non_exhaustive()
    }
}
