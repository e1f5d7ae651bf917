use http::StatusCode;

use crate::session::CloseCodes;

/// The class of a refusal, which is what the client is told; see [`Rejection`](super::Rejection).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// There is no token.
    MissingToken,
    /// There are several tokens, an empty one, or one that is too long; or, without the token, no subprotocol is left to
    /// select, or the request would be malformed.
    InvalidRequest,
    /// The token cannot be decoded, is not valid, has expired, is not valid yet, or was revoked.
    InvalidToken,
    /// The token is valid, but its user must sign in again, or by other means ([`StepUp`](crate::StepUp)).
    InsufficientUserAuthentication,
    /// The token is valid but insufficient.
    InsufficientScope,
    /// The page may not open a WebSocket here.
    OriginNotAllowed,
    /// The request's head is larger than [`max_head_len`](crate::WsAuthLayer::max_head_len).
    HeadTooLarge,
    /// The client's address has reached one of its [limits](crate::AddressLimits).
    TooManyRequests,
    /// The token's subject has reached its limit of sessions.
    TooManySessions,
    /// The verifier or the revocations are unavailable, the server is full, or it is shutting down.
    Unavailable,
    /// The client sent no [first message](crate::FirstMessage) in time. The handshake was complete by then, so clients
    /// see this only as a close code.
    TimedOut,
}

impl RejectionKind {
    /// How many kinds there are.
    pub(super) const COUNT: usize = Self::TimedOut as usize + 1;

    /// A stable name. Clients see it as `error` in the response body and as the reason in a close frame.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::InsufficientScope => "insufficient_scope",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyRequests => "too_many_requests",
            Self::TooManySessions => "too_many_sessions",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::MissingToken | Self::InvalidToken | Self::InsufficientUserAuthentication => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooManyRequests | Self::TooManySessions => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// Whether the same client may succeed later with the same token.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::TooManyRequests | Self::TooManySessions | Self::Unavailable | Self::TimedOut)
    }

    /// The code for a close frame.
    pub(super) const fn close_code(self, codes: &CloseCodes) -> u16 {
        match self {
            Self::InvalidRequest | Self::HeadTooLarge => codes.bad_request,
            Self::MissingToken | Self::InvalidToken => codes.unauthorized,
            // A client that knows no step-up must not take this for an expired token, and try again with the like.
            Self::InsufficientUserAuthentication | Self::InsufficientScope | Self::OriginNotAllowed => codes.forbidden,
            Self::TooManyRequests | Self::TooManySessions => codes.too_many,
            Self::Unavailable => codes.unavailable,
            Self::TimedOut => codes.timeout,
        }
    }

    /// The problem document (RFC 9457). It is constant for a kind, so that it reveals nothing else.
    pub(super) const fn body(self) -> &'static str {
        match self {
            Self::MissingToken => {
                r#"{"title":"Unauthorized","status":401,"detail":"a token is required","error":"missing_token"}"#
            }
            Self::InvalidRequest => {
                r#"{"title":"Bad Request","status":400,"detail":"the credentials are malformed","error":"invalid_request"}"#
            }
            Self::InvalidToken => {
                r#"{"title":"Unauthorized","status":401,"detail":"the token is not valid","error":"invalid_token"}"#
            }
            Self::InsufficientUserAuthentication => {
                r#"{"title":"Unauthorized","status":401,"detail":"the user must sign in again, or by other means","error":"insufficient_user_authentication"}"#
            }
            Self::InsufficientScope => {
                r#"{"title":"Forbidden","status":403,"detail":"the token does not allow this","error":"insufficient_scope"}"#
            }
            Self::OriginNotAllowed => {
                r#"{"title":"Forbidden","status":403,"detail":"the origin is not allowed","error":"origin_not_allowed"}"#
            }
            Self::HeadTooLarge => {
                r#"{"title":"Request Header Fields Too Large","status":431,"detail":"the request's head is too large","error":"head_too_large"}"#
            }
            Self::TooManyRequests => {
                r#"{"title":"Too Many Requests","status":429,"detail":"too many requests from this address","error":"too_many_requests"}"#
            }
            Self::TooManySessions => {
                r#"{"title":"Too Many Requests","status":429,"detail":"too many sessions","error":"too_many_sessions"}"#
            }
            Self::TimedOut => {
                r#"{"title":"Request Timeout","status":408,"detail":"no token came in time","error":"timed_out"}"#
            }
            Self::Unavailable => {
                r#"{"title":"Service Unavailable","status":503,"detail":"try again later","error":"unavailable"}"#
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CloseCodes, RejectionKind};
    use crate::{error::ConfigError, session::doc_table};

    const ALL: [RejectionKind; RejectionKind::COUNT] = [
        RejectionKind::MissingToken,
        RejectionKind::InvalidRequest,
        RejectionKind::InvalidToken,
        RejectionKind::InsufficientUserAuthentication,
        RejectionKind::InsufficientScope,
        RejectionKind::OriginNotAllowed,
        RejectionKind::HeadTooLarge,
        RejectionKind::TooManyRequests,
        RejectionKind::TooManySessions,
        RejectionKind::Unavailable,
        RejectionKind::TimedOut,
    ];

    #[test]
    fn docs_of_close_codes_list_every_kind() -> Result<(), ConfigError> {
        assert_eq!(ALL.len(), doc_table::names(include_str!("kind.rs"), "fn as_str(").len());
        // Each row has a code of its own.
        let codes = CloseCodes::IANA.bad_request(4000)?.unauthorized(4001)?.forbidden(4002)?;
        let codes = codes.timeout(4003)?.too_many(4004)?.unavailable(4005)?;
        let table = doc_table::rows(include_str!("../session/close.rs"), "| method |");
        for kind in ALL {
            let row = table.get(usize::from(kind.close_code(&codes) - 4000));
            let rejections = row.and_then(|row| row.get(2)).expect("a row for each code");
            assert!(
                rejections.split(", ").any(|name| name.trim_matches('`') == kind.as_str()),
                "{kind:?}: {rejections}"
            );
        }
        Ok(())
    }
}
