//! Why there is no answer about a token.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::verify::VerifyError;

/// When to retry if the provider does not say so.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The limit on the provider's `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why there is no answer. Never the token's fault, so the client gets 503 and keeps its token.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The discovery document could not be fetched, or names no endpoint.
    Discovery,
    /// The credentials of this server could not be obtained, or cannot be sent.
    NoCredentials,
    /// There was no response.
    Unreachable,
    /// There was no response in time.
    TimedOut,
    /// The provider refuses the credentials of this server.
    WrongCredentials,
    /// The provider does not answer for tokens of this kind.
    UnsupportedToken,
    /// Another status than 200.
    Status(StatusCode),
    TooLarge,
    /// The answer is not what RFC 7662 §2.2 describes.
    Malformed(&'static str),
    /// A signed answer is required, and this one is not.
    NotSigned,
    /// The keys for signed answers are not available.
    KeysUnavailable,
    /// The signed answer is not valid.
    BadSignature,
}

impl Failure {
    pub(super) const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None, source: None }
    }

    pub(super) const fn malformed(problem: &'static str) -> Self {
        Self::new(Reason::Malformed(problem))
    }

    pub(super) fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    pub(super) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after: retry_after.map(|time| time.min(MAX_RETRY_AFTER)), ..self }
    }
}

impl Reason {
    /// A stable name for logs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::NoCredentials => "no_credentials",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::WrongCredentials => "wrong_credentials",
            Self::UnsupportedToken => "unsupported_token",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
            Self::NotSigned => "not_signed",
            Self::KeysUnavailable => "keys_unavailable",
            Self::BadSignature => "bad_signature",
        }
    }

    /// Whether it lasts until the configuration of this server is changed.
    pub(super) const fn is_misconfiguration(self) -> bool {
        matches!(self, Self::NoCredentials | Self::WrongCredentials)
    }
}

impl From<Failure> for VerifyError {
    fn from(failure: Failure) -> Self {
        Self::unavailable(failure.retry_after.unwrap_or(RETRY_AFTER)).with_source(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Reason::Discovery => "the introspection endpoint could not be discovered",
            Reason::NoCredentials => "this server has no usable credentials for the introspection endpoint",
            Reason::Unreachable => "the introspection endpoint is unreachable",
            Reason::TimedOut => "the introspection endpoint did not respond in time",
            Reason::WrongCredentials => "the introspection endpoint refuses the credentials of this server",
            Reason::UnsupportedToken => "the introspection endpoint does not answer for tokens of this kind",
            Reason::Status(status) => {
                return write!(f, "the introspection endpoint responded with status {}", status.as_u16());
            }
            Reason::TooLarge => "the introspection response is too large",
            Reason::Malformed(problem) => return write!(f, "the introspection response is malformed: {problem}"),
            Reason::NotSigned => "the introspection response is not signed",
            Reason::KeysUnavailable => "the keys for signed introspection responses are not available",
            Reason::BadSignature => "the signed introspection response is not valid",
        })
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
