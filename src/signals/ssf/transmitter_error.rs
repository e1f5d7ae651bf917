use std::{error::Error, fmt, sync::Arc};

use http::StatusCode;

use crate::signals::resolve::BoxError;

/// Why a transmitter did not do what it was asked to. It never contains a token.
#[derive(Clone, Debug)]
pub struct TransmitterError {
    kind: TransmitterErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`TransmitterError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransmitterErrorKind {
    /// There was no response.
    Unreachable,
    /// There was no response in time.
    TimedOut,
    /// There is no access token.
    NoToken,
    /// The response has an unexpected status.
    Status(StatusCode),
    /// The response is not the expected JSON, or is too long.
    Malformed,
    /// The configuration or the stream is that of another issuer.
    WrongIssuer,
    /// A URL of the transmitter is not `https`.
    InsecureUrl,
    /// The transmitter has no endpoint for this.
    Unsupported,
    /// The transmitter did not send the verification event in time.
    NotVerified,
}

impl TransmitterErrorKind {
    pub(super) const fn error(self) -> TransmitterError {
        TransmitterError { kind: self, source: None }
    }

    pub(super) fn with(self, source: impl Into<BoxError>) -> TransmitterError {
        TransmitterError { kind: self, source: Some(Arc::from(source.into())) }
    }
}

impl TransmitterError {
    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> TransmitterErrorKind {
        self.kind
    }
}

impl fmt::Display for TransmitterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransmitterErrorKind::Unreachable => "the transmitter is unreachable",
            TransmitterErrorKind::TimedOut => "the transmitter did not respond in time",
            TransmitterErrorKind::NoToken => "there is no access token for the transmitter",
            TransmitterErrorKind::Status(status) => {
                return write!(f, "the transmitter responded with status {}", status.as_u16());
            }
            TransmitterErrorKind::Malformed => "the response of the transmitter is not the expected json",
            TransmitterErrorKind::WrongIssuer => "the transmitter names another issuer",
            TransmitterErrorKind::InsecureUrl => "a url of the transmitter is not https",
            TransmitterErrorKind::Unsupported => "the transmitter does not support this",
            TransmitterErrorKind::NotVerified => "the transmitter did not send the verification event in time",
        })
    }
}

impl Error for TransmitterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
