use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::id::{ScopedId, SessionCursor, SessionId};

/// What a store knows of a live session, and its share of the limit of its subject. The session's node renews it until
/// the session ends.
///
/// Two leases of one session are the same lease, whatever their [details](Self::details).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionLease {
    /// The subject (`sub`) of the session, together with its issuer.
    pub subject: ScopedId,
    /// The id of the session.
    pub session: SessionId,
    /// When the session was accepted, by the clock of its node. The oldest session is evicted first.
    pub accepted: SystemTime,
    /// What nodes tell each other about the session, as a text of at most 640 bytes. A store keeps it as it is. It is
    /// empty in leases that are [released](super::LimitStore::release).
    pub details: Arc<str>,
}

/// What a node asks of a [`LimitStore`](super::LimitStore) when a session begins.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Acquire<'a> {
    /// The lease of the new session.
    pub lease: &'a SessionLease,
    /// How many leases the subject may have, including this one.
    pub limit: NonZeroUsize,
    /// What to do if the subject has that many already.
    pub at_limit: AtLimit,
    /// How long the lease lasts unless it is renewed.
    pub lifetime: Duration,
    /// Leases of the same subject whose sessions have ended. The store releases them first, in the same step.
    pub released: &'a [SessionLease],
}

/// What happens to a new session whose subject has reached its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AtLimit {
    /// Refuses the new session: 429 and `Retry-After`.
    RefuseNew,
    /// Ends the oldest session, with [`EndReason::TooManySessions`](crate::EndReason::TooManySessions).
    EvictOldest,
}

/// The answer to an [`Acquire`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquired {
    /// The session has its lease.
    Taken {
        /// The sessions that were evicted for it, on any node: the oldest ones of the subject.
        evicted: Vec<SessionId>,
    },
    /// The subject has reached its limit, and this session has no lease.
    Full,
}

/// What a node asks of a [`LimitStore`](super::LimitStore) to list the leases of a subject.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LeaseQuery<'a> {
    /// The subject, of one issuer or of any; see [`ScopedId::matches`].
    pub subject: &'a ScopedId,
    /// Where to begin: with the first lease after this place. `None` is the beginning of the list.
    pub after: Option<SessionCursor>,
    /// How many leases to return at most.
    pub max: usize,
}

impl SessionLease {
    /// The lease of a session of this subject that was accepted at this time.
    #[must_use]
    pub fn new(subject: impl Into<ScopedId>, session: SessionId, accepted: SystemTime) -> Self {
        Self { subject: subject.into(), session, accepted, details: Arc::default() }
    }

    /// Sets the details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<Arc<str>>) -> Self {
        self.details = details.into();
        self
    }

    /// The place of the session in lists, which begin with the oldest session.
    #[must_use]
    pub fn cursor(&self) -> SessionCursor {
        SessionCursor::new(self.accepted, self.session)
    }
}

impl<'a> Acquire<'a> {
    /// Asks for a lease that lasts for this lifetime, if the subject is below its limit.
    #[must_use]
    pub const fn new(lease: &'a SessionLease, limit: NonZeroUsize, at_limit: AtLimit, lifetime: Duration) -> Self {
        Self { lease, limit, at_limit, lifetime, released: &[] }
    }

    /// Sets the leases that the store releases first.
    #[must_use]
    pub const fn releasing(mut self, released: &'a [SessionLease]) -> Self {
        self.released = released;
        self
    }
}

impl<'a> LeaseQuery<'a> {
    /// Asks for the oldest leases of a subject, and for no more than this many.
    #[must_use]
    pub const fn new(subject: &'a ScopedId, max: usize) -> Self {
        Self { subject, after: None, max }
    }

    /// Sets the place after which the list begins.
    #[must_use]
    pub const fn after(mut self, cursor: Option<SessionCursor>) -> Self {
        self.after = cursor;
        self
    }
}
