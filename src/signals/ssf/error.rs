use std::{error::Error, fmt, sync::Arc};

use crate::verify::{VerifyError, VerifyErrorKind};

/// Why a security event token was not accepted. It never contains the token.
#[derive(Clone, Debug)]
pub struct SecurityEventError {
    kind: SecurityEventErrorKind,
    description: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`SecurityEventError`], with the name that [`as_str`](Self::as_str) returns. Except for the last one,
/// these are the error codes of RFC 8935 §2.4 and of Shared Signals Framework 1.0 §8.1.4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecurityEventErrorKind {
    /// `invalid_request`: not a security event token, or one that breaks a rule.
    InvalidRequest,
    /// `invalid_key`: the issuer has no such key, or the signature does not verify.
    InvalidKey,
    /// `invalid_issuer`: from another issuer.
    InvalidIssuer,
    /// `invalid_audience`: for another audience.
    InvalidAudience,
    /// `authentication_failed`: the request has not the expected `Authorization`.
    AuthenticationFailed,
    /// `invalid_state`: the answer to a verification that was never requested.
    InvalidState,
    /// `unavailable`: it cannot be verified or stored now. The transmitter has to send it again.
    Unavailable,
}

impl SecurityEventError {
    pub(super) const fn new(kind: SecurityEventErrorKind, description: &'static str) -> Self {
        Self { kind, description, source: None }
    }

    pub(super) const fn unavailable() -> Self {
        Self::new(SecurityEventErrorKind::Unavailable, "the event cannot be processed now")
    }

    pub(super) fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// Why a verifier refused a token.
    pub(super) fn not_verified(error: VerifyError) -> Self {
        let (kind, description) = match error.kind() {
            VerifyErrorKind::Unavailable => return Self::unavailable().with_source(error),
            VerifyErrorKind::UnknownKey | VerifyErrorKind::BadSignature | VerifyErrorKind::WrongAlgorithm => {
                (SecurityEventErrorKind::InvalidKey, "the signature is not valid")
            }
            VerifyErrorKind::WrongIssuer => (SecurityEventErrorKind::InvalidIssuer, "the issuer is not accepted"),
            VerifyErrorKind::WrongAudience => (SecurityEventErrorKind::InvalidAudience, "the audience is another"),
            VerifyErrorKind::WrongType => {
                (SecurityEventErrorKind::InvalidRequest, "the type of the token is not secevent+jwt")
            }
            VerifyErrorKind::MissingClaim => (SecurityEventErrorKind::InvalidRequest, "a required claim is missing"),
            _ => (SecurityEventErrorKind::InvalidRequest, "not a valid security event token"),
        };
        Self::new(kind, description).with_source(error)
    }

    /// The kind of the error.
    #[must_use]
    pub const fn kind(&self) -> SecurityEventErrorKind {
        self.kind
    }

    /// What is wrong, for the transmitter.
    pub(super) const fn description(&self) -> &'static str {
        self.description
    }

    /// Whether the transmitter has to send the token again.
    pub(super) const fn is_unavailable(&self) -> bool {
        matches!(self.kind, SecurityEventErrorKind::Unavailable)
    }
}

impl SecurityEventErrorKind {
    /// A stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
            Self::InvalidState => "invalid_state",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for SecurityEventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description)
    }
}

impl Error for SecurityEventError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
