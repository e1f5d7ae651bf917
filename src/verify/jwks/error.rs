use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::error::ConfigError;

/// Why the keys of an issuer, or its discovery document, could not be fetched; see
/// [`IssuerStatus::last_error`](super::IssuerStatus::last_error).
///
/// The previous keys stay in use, except after [`NoUsableKey`](KeysErrorKind::NoUsableKey).
#[derive(Clone, Debug)]
pub struct KeysError {
    kind: KeysErrorKind,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`KeysError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeysErrorKind {
    /// There was no response: the connection or the TLS handshake failed, or the HTTP client returned an error.
    Unreachable,
    /// There was no response within the [timeout](super::IssuerKeys::timeout).
    TimedOut,
    /// The response has a status other than 200.
    Status(StatusCode),
    /// The response is longer than 1 MiB, or the set has more than 100 keys.
    TooLarge,
    /// There were more than three redirects, or one without a valid `Location`.
    Redirects,
    /// A redirect or the discovery document names a URL that is not `https`.
    InsecureUrl,
    /// The response is not the expected JSON.
    Malformed,
    /// The discovery document names another issuer (OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3).
    WrongIssuer,
    /// The set is empty, or none of its keys can verify signatures. The second time in a row, all keys are withdrawn.
    NoUsableKey,
    /// The closure of an [`IssuerRule`](super::IssuerRule) returned unusable keys, or those of another issuer.
    Misconfigured,
    /// The background task is gone, because the tokio runtime in which the verifier was built has shut down.
    Abandoned,
}

/// Why a verifier could not start; see
/// [`JwtVerifierBuilder::into_future`](crate::jwt::JwtVerifierBuilder#method.into_future).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is unsafe, or could never work.
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
    /// The discovery document of an issuer could not be fetched, or lacks an endpoint.
    #[error("the endpoints of `{issuer}` could not be discovered")]
    Discovery {
        /// The issuer.
        issuer: String,
        /// What went wrong.
        source: KeysError,
    },
}

impl KeysError {
    pub(crate) const fn new(kind: KeysErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    pub(super) fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    pub(super) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// What went wrong, for programs to match on.
    #[must_use]
    pub const fn kind(&self) -> KeysErrorKind {
        self.kind
    }

    /// Whether the issuer was unavailable, rather than answering with something wrong.
    pub(super) const fn is_outage(&self) -> bool {
        matches!(self.kind, KeysErrorKind::Unreachable | KeysErrorKind::TimedOut | KeysErrorKind::Status(_))
    }

    /// The `Retry-After` of the response, if present.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
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
            Self::Misconfigured => "misconfigured",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            KeysErrorKind::Unreachable => "the issuer is unreachable",
            KeysErrorKind::TimedOut => "the issuer did not respond in time",
            KeysErrorKind::Status(status) => return write!(f, "the issuer responded with status {}", status.as_u16()),
            KeysErrorKind::TooLarge => "the response is too large",
            KeysErrorKind::Redirects => "too many redirects, or one without a valid location",
            KeysErrorKind::InsecureUrl => "a redirect or the discovery document names a url that is not https",
            KeysErrorKind::Malformed => "the response is not the expected json",
            KeysErrorKind::WrongIssuer => "the discovery document names another issuer",
            KeysErrorKind::NoUsableKey => "no key in the set can verify signatures",
            KeysErrorKind::Misconfigured => "the rule for the issuer returned unusable keys",
            KeysErrorKind::Abandoned => "the runtime that fetched the keys has shut down",
        })
    }
}

impl Error for KeysError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
