use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::id::{ScopedId, SessionId};

/// Where revocations go that all nodes must know of: a log, which each node reads from its beginning and then follows.
///
/// [`MemoryRevocations`](crate::MemoryRevocations) is one for a single process. A store of one's own must pass
/// [`test_util::conformance::revocations`](crate::test_util::conformance::revocations).
///
/// # Safety rules
///
/// - What [`add`](Self::add) has said `Ok` to is in every later answer of [`load`](Self::load), until its time is over, and in
///   the answer to every [`next`](Self::next) after a position from before. A store that loses it is unsafe. One that keeps it
///   for longer, or reports it twice, is only slow.
/// - An answer without news means that there are none. A store that cannot tell says so by an error: then the node's
///   knowledge grows old, and after a while it admits nobody.
/// - A position identifies the log that it is a position in, and the entry. One that is not in the log is an error, best
///   [`StoreError::lost`]: the node then loads all again, and adds what the store has lost. A number alone is not enough: a log
///   that was restored from a copy gives the same numbers to other entries.
/// - All three operations are carried out by whoever has the log, not by a copy that may have lost touch with it.
/// - Who revokes waits for [`add`](Self::add): a store that asks somebody else sets a limit of its own.
pub trait RevocationStore: Send + Sync + 'static {
    /// Adds a revocation, to be kept for so long.
    ///
    /// # Errors
    ///
    /// If it cannot be told that it was added.
    fn add(&self, revocation: &Revocation, keep_for: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds many that the store has lost or never confirmed. Returns the outcome of each, in the same order. One that is
    /// refused does not keep the others from being added.
    ///
    /// With `more`, another batch follows soon: a store that can then marks its answers as
    /// [incomplete](RevocationBatch::incomplete) until the last batch, or until none has come for half a minute. Two of the same are
    /// one.
    ///
    /// The default adds one after the other, and marks nothing.
    fn add_many(
        &self,
        orders: &[(Revocation, Duration)],
        more: bool,
    ) -> impl Future<Output = Vec<Result<(), StoreError>>> + Send {
        let _ = more;
        async move {
            let mut outcomes = Vec::with_capacity(orders.len());
            for (order, keep_for) in orders {
                outcomes.push(self.add(order, *keep_for).await);
            }
            outcomes
        }
    }

    /// All that there are now.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    fn load(&self) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send;

    /// Waits for what was added after this position. With nothing new it returns nothing, after five seconds or so: a
    /// node takes that for a sign that it knows all there is.
    ///
    /// # Errors
    ///
    /// If that cannot be told, or the position is no longer known.
    fn next(&self, after: Cursor) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send;
}

/// What is revoked: live sessions end, and handshakes and refreshes are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Revocation {
    /// The tokens with this id (`jti`), and their sessions.
    Token(ScopedId),
    /// One session. Its token stays good for another one.
    Session(SessionId),
    /// What was issued to a subject (`sub`) by this moment, and what was in use by then. A token whose issue time (`iat`) is
    /// later by no more than the [clock skew](crate::RevocationOptions::clock_skew) counts as issued by this moment, and so
    /// does one without an issue time.
    Subject {
        /// The subject.
        subject: ScopedId,
        /// The moment.
        until: SystemTime,
    },
    /// What was issued to anybody by this moment, reckoned in the same way.
    IssuedUntil(SystemTime),
}

impl Revocation {
    /// Nothing was issued before 1970, and no store need be able to write such a time.
    pub(crate) fn since_epoch(self) -> Self {
        match self {
            Self::Subject { subject, until } => Self::Subject { subject, until: until.max(SystemTime::UNIX_EPOCH) },
            Self::IssuedUntil(moment) => Self::IssuedUntil(moment.max(SystemTime::UNIX_EPOCH)),
            other => other,
        }
    }
}

/// A place in the log of a [`RevocationStore`], which means something to that store alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Cursor(pub String);

/// What a [`RevocationStore`] has to report.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RevocationBatch {
    /// Behind all that is reported.
    pub cursor: Cursor,
    /// Each with how long it is still to be kept.
    pub revocations: Vec<(Revocation, Duration)>,
    /// Whether some node is still adding what the store has lost. A node that starts meanwhile knows too little, and admits
    /// nobody until an answer is complete.
    pub is_incomplete: bool,
}

impl RevocationBatch {
    /// What is reported, and the position behind it.
    #[must_use]
    pub const fn new(cursor: Cursor, revocations: Vec<(Revocation, Duration)>) -> Self {
        Self { cursor, revocations, is_incomplete: false }
    }

    /// Marks the answer as [incomplete](Self::is_incomplete).
    #[must_use]
    pub fn incomplete(self) -> Self {
        Self { is_incomplete: true, ..self }
    }
}

/// One store for several nodes in a process.
impl<S: RevocationStore> RevocationStore for Arc<S> {
    fn add(&self, revocation: &Revocation, keep_for: Duration) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::add(self, revocation, keep_for)
    }

    fn add_many(
        &self,
        orders: &[(Revocation, Duration)],
        more: bool,
    ) -> impl Future<Output = Vec<Result<(), StoreError>>> + Send {
        S::add_many(self, orders, more)
    }

    fn load(&self) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send {
        S::load(self)
    }

    fn next(&self, after: Cursor) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send {
        S::next(self, after)
    }
}

type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;
type Outcomes<'a> = Pin<Box<dyn Future<Output = Vec<Result<(), StoreError>>> + Send + 'a>>;

/// Any [`RevocationStore`].
pub(crate) trait DynRevocationStore: Send + Sync {
    fn add_boxed<'a>(&'a self, revocation: &'a Revocation, keep_for: Duration) -> Operation<'a, ()>;
    fn add_many_boxed<'a>(&'a self, orders: &'a [(Revocation, Duration)], more: bool) -> Outcomes<'a>;
    fn load_boxed(&self) -> Operation<'_, RevocationBatch>;
    fn next_boxed(&self, after: Cursor) -> Operation<'_, RevocationBatch>;
}

impl<S: RevocationStore> DynRevocationStore for S {
    fn add_boxed<'a>(&'a self, revocation: &'a Revocation, keep_for: Duration) -> Operation<'a, ()> {
        Box::pin(self.add(revocation, keep_for))
    }

    fn add_many_boxed<'a>(&'a self, orders: &'a [(Revocation, Duration)], more: bool) -> Outcomes<'a> {
        Box::pin(self.add_many(orders, more))
    }

    fn load_boxed(&self) -> Operation<'_, RevocationBatch> {
        Box::pin(self.load())
    }

    fn next_boxed(&self, after: Cursor) -> Operation<'_, RevocationBatch> {
        Box::pin(self.next(after))
    }
}
