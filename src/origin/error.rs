use std::fmt;

/// Why a request was refused for its `Origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    kind: OriginErrorKind,
}

/// The kind of an [`OriginError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginErrorKind {
    /// The token is in a cookie, but there is no `Origin`. Browsers send one with every handshake.
    Missing,
    /// There are several `Origin` headers, or one that is not ASCII.
    Malformed,
    /// The policy does not allow the origin.
    NotAllowed,
    /// A [trusted proxy](crate::TrustedProxies) named a host or a scheme that cannot be read, so there is nothing to
    /// compare the origin with.
    ForwardedMalformed,
}

impl OriginError {
    /// What was wrong, for programs to match on.
    #[must_use]
    pub const fn kind(&self) -> OriginErrorKind {
        self.kind
    }
}

impl OriginErrorKind {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "origin_missing",
            Self::Malformed => "origin_malformed",
            Self::NotAllowed => "origin_not_allowed",
            Self::ForwardedMalformed => "forwarded_malformed",
        }
    }
}

impl From<OriginErrorKind> for OriginError {
    fn from(kind: OriginErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            OriginErrorKind::Missing => "the request has a cookie but no origin",
            OriginErrorKind::Malformed => "the origin is malformed",
            OriginErrorKind::NotAllowed => "the origin is not allowed",
            OriginErrorKind::ForwardedMalformed => "a proxy named a host or scheme that cannot be read",
        })
    }
}

impl std::error::Error for OriginError {}
