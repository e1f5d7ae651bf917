use std::{error::Error, fmt, sync::Arc};

use crate::store::{StoreError, StoreErrorKind};

/// Why no ticket was issued. Holds neither claims nor ticket.
#[derive(Clone, Debug)]
pub struct TicketError {
    kind: TicketErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The class of a [`TicketError`].
///
/// | kind | [`as_str`](Self::as_str) | status |
/// | --- | --- | --- |
/// | [`Expired`](Self::Expired) | `invalid_token` | 401 |
/// | [`NoOrigin`](Self::NoOrigin) | `origin_not_allowed` | 403 |
/// | [`TooMany`](Self::TooMany) | `too_many_tickets` | 429 and `Retry-After` |
/// | [`UnwritableClaims`](Self::UnwritableClaims) | `internal` | 500 |
/// | [`Store`](Self::Store) | `unavailable` | 503 and `Retry-After` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TicketErrorKind {
    /// The session has ended, or its token has expired.
    Expired,
    /// The ticket was to be bound to the [origin of the request](crate::TicketOptions::asking_origin), which has none.
    NoOrigin,
    /// The claims cannot be serialized as JSON.
    UnwritableClaims,
    /// The subject ([`Tickets::max_per_subject`](crate::Tickets::max_per_subject)) or the key
    /// ([`TicketOptions::max_per_key`](crate::TicketOptions::max_per_key)) has too many outstanding tickets.
    TooMany,
    /// The store is full or unavailable, or the operating system provides no random numbers.
    Store(StoreErrorKind),
}

impl TicketError {
    pub(super) const fn of(kind: TicketErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// The class of the error.
    #[must_use]
    pub const fn kind(&self) -> TicketErrorKind {
        self.kind
    }
}

impl TicketErrorKind {
    /// A stable name. [`Tickets::route`](crate::Tickets::route) sends it as `error` in its problem document (RFC 9457).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "invalid_token",
            Self::NoOrigin => "origin_not_allowed",
            Self::UnwritableClaims => "internal",
            Self::TooMany => "too_many_tickets",
            Self::Store(_) => "unavailable",
        }
    }
}

impl From<StoreError> for TicketError {
    fn from(error: StoreError) -> Self {
        Self::of(TicketErrorKind::Store(error.kind())).with_source(error)
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TicketErrorKind::Expired => "the session has ended, or its token has expired",
            TicketErrorKind::NoOrigin => "the request has no origin to bind the ticket to",
            TicketErrorKind::UnwritableClaims => "the claims cannot be serialized as json",
            TicketErrorKind::TooMany => "the subject or key has too many outstanding tickets",
            TicketErrorKind::Store(_) => "the ticket cannot be stored",
        })?;
        // A store's error holds no claims; serde's may.
        match (self.kind, &self.source) {
            (TicketErrorKind::Store(_), Some(cause)) => write!(f, ": {cause}"),
            _ => Ok(()),
        }
    }
}

impl Error for TicketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
