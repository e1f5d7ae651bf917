use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use crate::id::{ScopedId, SessionId};

/// A session's share of the limit of its subject. The session's node renews it until the session ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionLease {
    /// The subject (`sub`) of the session, together with its issuer.
    pub subject: ScopedId,
    /// The id of the session.
    pub session: SessionId,
    /// When the session was accepted, by the clock of its node. The oldest session is evicted first.
    pub accepted: SystemTime,
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

impl SessionLease {
    /// The lease of a session of this subject that was accepted at this time.
    #[must_use]
    pub fn new(subject: impl Into<ScopedId>, session: SessionId, accepted: SystemTime) -> Self {
        Self { subject: subject.into(), session, accepted }
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
