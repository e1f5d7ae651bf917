use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::{StatusCode, Version};

use super::{Challenges, RejectionKind, challenge::Challenge};
use crate::{
    address_limits::AddressLimitError,
    origin::OriginError,
    session::{AdmissionError, CloseCodes},
    token::{TokenError, TokenErrorKind},
    verify::{VerifyError, VerifyErrorKind},
};

/// Why a handshake was refused, and the response that it becomes.
///
/// The client learns only the class: a status, a challenge and a problem document. The cause stays on the server: it is
/// the [`source`](Error::source), and the response's extensions hold the rejection for outer layers and logs.
///
/// | [kind](RejectionKind) | name | status | `WWW-Authenticate: Bearer realm="…"` and |
/// | --- | --- | --- | --- |
/// | `MissingToken` | `missing_token` | 401 | no `error` (RFC 6750 §3.1) |
/// | `InvalidRequest` | `invalid_request` | 400 | `error="invalid_request"` |
/// | `InvalidToken` | `invalid_token` | 401 | `error="invalid_token"`; if it is the proof that is wrong, see [`Dpop`](crate::Dpop) |
/// | `InsufficientUserAuthentication` | `insufficient_user_authentication` | 401 | `error="insufficient_user_authentication"`, and `acr_values` and `max_age` if known (RFC 9470 §3) |
/// | `InsufficientScope` | `insufficient_scope` | 403 | `error="insufficient_scope"`, and `scope` if known |
/// | `OriginNotAllowed` | `origin_not_allowed` | 403 | no challenge |
/// | `HeadTooLarge` | `head_too_large` | 431 | no challenge |
/// | `TooManyRequests` | `too_many_requests` | 429 | no challenge; `Retry-After` |
/// | `TooManySessions` | `too_many_sessions` | 429 | no challenge; `Retry-After` |
/// | `Unavailable` | `unavailable` | 503 | no challenge; `Retry-After` |
/// | `TimedOut` | `timed_out` | 408 | no challenge |
///
/// A gRPC call also gets the headers `grpc-status` and `grpc-message`: 16 (`UNAUTHENTICATED`) where the status is 401,
/// 7 (`PERMISSION_DENIED`) for 403, 8 (`RESOURCE_EXHAUSTED`) for 429 and 431, 14 (`UNAVAILABLE`) for 503, and 3
/// (`INVALID_ARGUMENT`) for 400.
///
/// The body is `application/problem+json` (RFC 9457) and holds the name as `error`. On HTTP/1 the connection closes,
/// because bytes that follow a refused upgrade must not be read as the next request.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{Rejection, RejectionKind, WsAuthLayer, test_util::{self, handshake}};
/// use axum::{Router, http::StatusCode, response::{IntoResponse, Response}, routing::any};
/// use tower::ServiceExt;
///
/// // Another body, with the standard headers.
/// fn refuse(rejection: Rejection) -> Response {
///     let (parts, _) = rejection.into_response().into_parts();
///     Response::from_parts(parts, "please sign in".into())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>()).realm("chat")?.on_rejection(refuse);
/// let app = Router::new().route("/", any(test_util::echo)).layer(layer);
/// let response = app.oneshot(handshake().build()).await?;
///
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="chat""#);
/// let rejection = response.extensions().get::<Rejection>().expect("the layer inserts it");
/// assert_eq!(rejection.kind(), RejectionKind::MissingToken);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Rejection {
    pub(super) kind: RejectionKind,
    pub(super) cause: Option<Cause>,
    pub(super) challenge: Option<Challenge>,
    version: Version,
}

#[derive(Clone, Debug)]
pub(super) enum Cause {
    Token(TokenError),
    Origin(OriginError),
    Verify(Arc<VerifyError>),
    Admission(AdmissionError),
    Address(AddressLimitError),
}

impl Rejection {
    pub(crate) fn missing_token(challenges: &Challenges, version: Version) -> Self {
        Self::new(RejectionKind::MissingToken, None, challenges, version)
    }

    pub(crate) fn token(error: TokenError, challenges: &Challenges, version: Version) -> Self {
        let kind = match error.kind() {
            TokenErrorKind::Undecodable => RejectionKind::InvalidToken,
            _ => RejectionKind::InvalidRequest,
        };
        Self::new(kind, Some(Cause::Token(error)), challenges, version)
    }

    pub(crate) fn origin(error: OriginError, challenges: &Challenges, version: Version) -> Self {
        Self::new(RejectionKind::OriginNotAllowed, Some(Cause::Origin(error)), challenges, version)
    }

    pub(crate) fn verify(error: VerifyError, challenges: &Challenges, version: Version) -> Self {
        let kind = if error.is_unavailable() {
            RejectionKind::Unavailable
        } else if error.is_forbidden() {
            RejectionKind::InsufficientScope
        } else if error.is_of_valid_token() {
            RejectionKind::InsufficientUserAuthentication
        } else {
            RejectionKind::InvalidToken
        };
        let mut rejection = Self::new(kind, None, challenges, version);
        if let Some(challenge) = challenges.of_error(&error) {
            rejection.challenge = Some(challenge);
        }
        if let Some(challenge) = error.kind().proof_error().and_then(|error| challenges.of_proof(error)) {
            rejection.challenge = Some(challenge);
        }
        rejection.cause = Some(Cause::Verify(Arc::new(error)));
        rejection
    }

    pub(crate) fn admission(error: AdmissionError, challenges: &Challenges, version: Version) -> Self {
        let kind = match error {
            AdmissionError::TooManySessions { .. } => RejectionKind::TooManySessions,
            AdmissionError::Revoked => RejectionKind::InvalidToken,
            _ => RejectionKind::Unavailable,
        };
        Self::new(kind, Some(Cause::Admission(error)), challenges, version)
    }

    pub(crate) fn address(error: AddressLimitError, challenges: &Challenges, version: Version) -> Self {
        let kind = match error {
            AddressLimitError::TooManyConnections | AddressLimitError::TooManyAttempts { .. } => {
                RejectionKind::TooManyRequests
            }
            AddressLimitError::AddressUnknown => RejectionKind::Unavailable,
        };
        Self::new(kind, Some(Cause::Address(error)), challenges, version)
    }

    pub(crate) fn head_too_large(challenges: &Challenges, version: Version) -> Self {
        Self::new(RejectionKind::HeadTooLarge, None, challenges, version)
    }

    pub(crate) fn timed_out(challenges: &Challenges, version: Version) -> Self {
        Self::new(RejectionKind::TimedOut, None, challenges, version)
    }

    fn new(kind: RejectionKind, cause: Option<Cause>, challenges: &Challenges, version: Version) -> Self {
        let challenge = match kind {
            RejectionKind::MissingToken => Some(&challenges.bare),
            RejectionKind::InvalidRequest => Some(&challenges.invalid_request),
            RejectionKind::InvalidToken => Some(&challenges.invalid_token),
            RejectionKind::InsufficientUserAuthentication => Some(&challenges.insufficient_user_authentication),
            RejectionKind::InsufficientScope => Some(&challenges.insufficient_scope),
            RejectionKind::OriginNotAllowed
            | RejectionKind::HeadTooLarge
            | RejectionKind::TooManyRequests
            | RejectionKind::TooManySessions
            | RejectionKind::Unavailable
            | RejectionKind::TimedOut => None,
        };
        Self { kind, cause, challenge: challenge.cloned(), version }
    }

    /// The class of the refusal.
    #[must_use]
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The exact reason, as a stable name for logs and metrics: the name of the [`source`](Error::source)'s kind, or
    /// else of the rejection's. The [crate docs](crate#stable-names) list all names.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match &self.cause {
            None => self.kind.as_str(),
            Some(Cause::Token(error)) => error.kind().as_str(),
            Some(Cause::Origin(error)) => error.kind().as_str(),
            Some(Cause::Verify(error)) => error.kind().as_str(),
            Some(Cause::Admission(error)) => error.as_str(),
            Some(Cause::Address(error)) => error.as_str(),
        }
    }

    /// When the client may retry, if the response says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.cause {
            Some(Cause::Verify(error)) => error.retry_after(),
            Some(Cause::Admission(error)) => error.retry_after(),
            Some(Cause::Address(error)) => Some(error.retry_after()),
            _ => None,
        }
    }

    /// The nonce that the next DPoP proof has to hold, which the response has as `DPoP-Nonce` (RFC 9449 §8.2), if the
    /// verifier asks for one.
    #[must_use]
    pub fn dpop_nonce(&self) -> Option<&str> {
        match &self.cause {
            Some(Cause::Verify(error)) => error.dpop_nonce(),
            _ => None,
        }
    }

    /// The code for a close frame.
    pub(crate) fn close_code(&self, codes: &CloseCodes) -> u16 {
        if self.is_of_expired_token() { codes.expired } else { self.kind.close_code(codes) }
    }

    /// Whether a new token is all that the client needs.
    pub(crate) fn is_of_expired_token(&self) -> bool {
        matches!(&self.cause, Some(Cause::Verify(error)) if error.kind() == VerifyErrorKind::Expired)
    }

    /// Whether the client was refused for its address, before its request was read.
    pub(crate) const fn is_of_address(&self) -> bool {
        matches!(self.cause, Some(Cause::Address(_)))
    }

    /// Whether the client sent a token that nobody gave to it: see [`AddressLimits::failed_attempts`].
    ///
    /// [`AddressLimits::failed_attempts`]: crate::address_limits::AddressLimits::failed_attempts
    pub(crate) fn is_failed_attempt(&self) -> bool {
        let is_genuine = match &self.cause {
            Some(Cause::Verify(error)) => error.kind().is_of_genuine_credential(),
            // It was revoked.
            Some(Cause::Admission(_)) => true,
            _ => false,
        };
        self.kind == RejectionKind::InvalidToken && !is_genuine
    }

    /// Whether the response ends the connection.
    pub(crate) fn closes_connection(&self) -> bool {
        self.version <= Version::HTTP_11
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RejectionKind::MissingToken => "the handshake has no token",
            RejectionKind::InvalidRequest => "the handshake's credentials are malformed",
            RejectionKind::InvalidToken => "the handshake's token is not valid",
            RejectionKind::InsufficientUserAuthentication => {
                "the handshake's user must sign in again, or by other means"
            }
            RejectionKind::InsufficientScope => "the handshake's token is insufficient",
            RejectionKind::OriginNotAllowed => "the handshake's origin is not allowed",
            RejectionKind::HeadTooLarge => "the handshake's head is too large",
            RejectionKind::TooManyRequests => "the client's address has reached a limit",
            RejectionKind::TooManySessions => "the subject has too many sessions",
            RejectionKind::Unavailable => "the handshake cannot be verified or admitted now",
            RejectionKind::TimedOut => "the client sent no token in time",
        })
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.cause.as_ref()? {
            Cause::Token(error) => Some(error),
            Cause::Origin(error) => Some(error),
            Cause::Verify(error) => Some(&**error),
            Cause::Admission(error) => Some(error),
            Cause::Address(error) => Some(error),
        }
    }
}
