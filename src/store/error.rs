use std::{error::Error, fmt, sync::Arc};

/// Why a store did not carry out an operation. Never holds what was to be stored.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The class of a [`StoreError`].
///
/// | kind | [`as_str`](Self::as_str) | what it means |
/// | --- | --- | --- |
/// | [`Unavailable`](Self::Unavailable) | `unavailable` | the operation may succeed later |
/// | [`Full`](Self::Full) | `full` | nothing can be added before something expires |
/// | [`Lost`](Self::Lost) | `lost` | a node loads all revocations again, and restores those that the store has lost |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, does not answer in time, or answers with an error.
    Unavailable,
    /// The store has reached its capacity.
    Full,
    /// The store no longer has the entry that a [`Cursor`](super::Cursor) refers to; see
    /// [`RevocationStore::next`](super::RevocationStore::next).
    Lost,
}

impl StoreError {
    /// The store cannot be reached, does not answer in time, or answers with an error.
    #[must_use]
    pub const fn unavailable() -> Self {
        Self { kind: StoreErrorKind::Unavailable, source: None }
    }

    /// The store has reached its capacity.
    #[must_use]
    pub const fn full() -> Self {
        Self { kind: StoreErrorKind::Full, source: None }
    }

    /// The store no longer has the entry that a [`Cursor`](super::Cursor) refers to, because its log was truncated or
    /// replaced.
    #[must_use]
    pub const fn lost() -> Self {
        Self { kind: StoreErrorKind::Lost, source: None }
    }

    /// Adds the cause, for logs. It must not hold what was to be stored.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// The class of the error.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl StoreErrorKind {
    /// A stable name, for logs and metrics of the application. This crate shows it nowhere: clients are told
    /// `unavailable` whatever the kind is, and events have the text of the [`StoreError`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Full => "the store is full",
            StoreErrorKind::Lost => "the store has lost the entry of the cursor",
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
