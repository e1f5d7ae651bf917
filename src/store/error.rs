//! What stores of tickets, revocations and limits have in common.

use std::{error::Error, fmt, sync::Arc};

/// Why a store did not do what it was asked to. It never holds what was to be stored.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kept a store from doing something; see [`StoreError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It cannot be reached, does not answer in time, or answers with an error.
    Unavailable,
    /// It has no room.
    Full,
    /// It does not have what the request refers to any more; see [`RevocationStore::next`](crate::store::RevocationStore::next).
    Lost,
}

impl StoreError {
    /// The store cannot be reached, does not answer in time, or answers with an error.
    #[must_use]
    pub const fn unavailable() -> Self {
        Self { kind: StoreErrorKind::Unavailable, source: None }
    }

    /// The store has no room.
    #[must_use]
    pub const fn full() -> Self {
        Self { kind: StoreErrorKind::Full, source: None }
    }

    /// The store does not have what the request refers to any more, such as a
    /// [position](crate::store::Cursor) in a log that was cut off or replaced.
    #[must_use]
    pub const fn lost() -> Self {
        Self { kind: StoreErrorKind::Lost, source: None }
    }

    /// Adds what lies beneath, for logs. It must not hold what was to be stored.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// What the reason is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Full => "the store has no room",
            StoreErrorKind::Lost => "the store has lost what it is asked about",
        })?;
        match &self.source {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
