use std::fmt;

/// Why an `Origin` was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    kind: OriginErrorKind,
}

/// What was wrong with the `Origin`; see [`OriginError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginErrorKind {
    /// A cookie came without an `Origin`, so no browser sent it.
    Missing,
    /// There is more than one `Origin`, or it is not ASCII.
    Malformed,
    /// The policy does not allow it.
    NotAllowed,
}

impl OriginError {
    /// What was wrong.
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
            OriginErrorKind::Missing => "a cookie without an origin",
            OriginErrorKind::Malformed => "the origin is malformed",
            OriginErrorKind::NotAllowed => "the origin is not allowed",
        })
    }
}

impl std::error::Error for OriginError {}
