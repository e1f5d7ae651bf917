use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use crate::id::{ScopedId, SessionId};

/// The place that a session takes among those of its subject, for as long as its node says that it lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionLease {
    /// Whose session it is: the subject (`sub`) together with its issuer.
    pub subject: ScopedId,
    /// Which one.
    pub session: SessionId,
    /// Since when there is one, by the clock of its node. The oldest is evicted first.
    pub accepted: SystemTime,
}

/// What a node asks a [`LimitStore`](super::LimitStore) for when a session begins.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Acquire<'a> {
    /// For the new session.
    pub lease: &'a SessionLease,
    /// How many leases the subject may have, this one included.
    pub most: NonZeroUsize,
    /// What to do where it has as many.
    pub at_limit: AtLimit,
    /// How long the lease is good for unless it is renewed.
    pub lifetime: Duration,
    /// Of the same subject, and over: to be released first, in the same step.
    pub released: &'a [SessionLease],
}

/// What happens when a subject with as many sessions as it may have opens another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AtLimit {
    /// The new one is refused: 429 and `Retry-After`.
    RefuseNew,
    /// The oldest one is ended, with [`EndReason::TooManySessions`](crate::EndReason::TooManySessions).
    EvictOldest,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquired {
    /// The lease is taken. These had to go for it.
    Taken {
        /// The oldest ones, on whatever node.
        evicted: Vec<SessionId>,
    },
    /// There are as many as there may be, and this one is not among them.
    Full,
}

impl SessionLease {
    /// The lease of a session of this subject that was accepted then.
    #[must_use]
    pub fn new(subject: impl Into<ScopedId>, session: SessionId, accepted: SystemTime) -> Self {
        Self { subject: subject.into(), session, accepted }
    }
}

impl<'a> Acquire<'a> {
    /// Asks for a lease of this lifetime, where the subject may have so many.
    #[must_use]
    pub const fn new(lease: &'a SessionLease, most: NonZeroUsize, at_limit: AtLimit, lifetime: Duration) -> Self {
        Self { lease, most, at_limit, lifetime, released: &[] }
    }

    /// Has these released first.
    #[must_use]
    pub const fn releasing(mut self, released: &'a [SessionLease]) -> Self {
        self.released = released;
        self
    }
}
