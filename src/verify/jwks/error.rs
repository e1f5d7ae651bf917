use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::error::ConfigError;

/// Why the keys of an issuer could not be fetched.
///
/// The keys that were fetched before stay in use, except after [`NoUsableKey`](KeysErrorKind::NoUsableKey); see [`IssuerStatus::last_error`](super::IssuerStatus::last_error).
#[derive(Clone, Debug)]
pub struct KeysError {
    kind: KeysErrorKind,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What went wrong with fetching keys; see [`KeysError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeysErrorKind {
    /// There was no answer: no connection, no certificate that is trusted, or the client gave up.
    Unreachable,
    /// There was no answer in [time](super::IssuerKeys::timeout).
    TimedOut,
    /// The answer has a status other than 200.
    Status(StatusCode),
    /// The answer is longer than 1 MiB, or the set has more than 100 keys.
    TooLarge,
    /// The answer leads elsewhere, more than three times or without saying where.
    Redirects,
    /// The answer, or the discovery document, leads to a URL that is not `https`.
    InsecureUrl,
    /// The answer is not the JSON that it should be.
    Malformed,
    /// The discovery document is of another issuer (OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3).
    WrongIssuer,
    /// None of the keys in the set can verify signatures, or there are none. The second time in a row, all keys are
    /// withdrawn.
    NoUsableKey,
    /// Nobody fetches keys any more: the tokio runtime has ended in which the verifier was built.
    Abandoned,
}

/// Why a verifier could not start; see
/// [`JwtVerifierBuilder::into_future`](crate::jwt::JwtVerifierBuilder#method.into_future).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration would not be safe, or could never work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys of an issuer could not be fetched.
    #[error("the keys of `{issuer}` could not be fetched")]
    Keys {
        /// The issuer.
        issuer: String,
        /// What went wrong.
        source: KeysError,
    },
}

impl KeysError {
    pub(super) const fn new(kind: KeysErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    pub(super) fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    pub(super) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> KeysErrorKind {
        self.kind
    }

    /// Whether there was no answer to speak of.
    pub(super) const fn is_outage(&self) -> bool {
        matches!(self.kind, KeysErrorKind::Unreachable | KeysErrorKind::TimedOut | KeysErrorKind::Status(_))
    }

    /// When the issuer wants to be asked again, if it said so.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl KeysErrorKind {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Redirects => "redirects",
            Self::InsecureUrl => "insecure_url",
            Self::Malformed => "malformed",
            Self::WrongIssuer => "wrong_issuer",
            Self::NoUsableKey => "no_usable_key",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            KeysErrorKind::Unreachable => "there was no answer",
            KeysErrorKind::TimedOut => "there was no answer in time",
            KeysErrorKind::Status(status) => return write!(f, "the answer has the status {}", status.as_u16()),
            KeysErrorKind::TooLarge => "the answer is too long",
            KeysErrorKind::Redirects => "the answer leads elsewhere too often, or nowhere",
            KeysErrorKind::InsecureUrl => "the answer leads to a url that is not https",
            KeysErrorKind::Malformed => "the answer is not the json that it should be",
            KeysErrorKind::WrongIssuer => "the discovery document is of another issuer",
            KeysErrorKind::NoUsableKey => "no key in the set can verify signatures",
            KeysErrorKind::Abandoned => "nobody fetches the keys any more",
        })
    }
}

impl Error for KeysError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
