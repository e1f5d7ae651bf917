use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{StoreError, StoreFuture};
use crate::id::{ScopedId, SessionId};

/// A log of revocations, which each node reads from the beginning and then follows.
///
/// [`MemoryRevocations`](crate::MemoryRevocations) is an implementation for a single process. Others must pass
/// [`test_util::conformance::revocations`](crate::test_util::conformance::revocations).
///
/// # Safety rules
///
/// - Once [`add`](Self::add) has returned `Ok`, every later [`load`](Self::load) returns the revocation until it
///   expires, and so does every [`next`](Self::next) with an older cursor. A store that loses it is unsafe. One that
///   keeps it longer, or returns it twice, is only slow.
/// - An empty batch means that nothing was added. A store that cannot be sure returns an error instead: the node's data
///   then becomes stale, and after a while the node admits nobody.
/// - A cursor identifies both the log and the entry. A cursor that is not in the log is an error, preferably
///   [`StoreError::lost`]: the node then loads everything again, and adds what the store has lost. A number alone is
///   not enough: a log that was restored from a backup gives the same numbers to other entries.
/// - Every operation is carried out by the authority for the log, never by a replica that may have lost its connection
///   to it.
/// - Callers that revoke wait for [`add`](Self::add), so a store that calls a server sets its own timeout.
pub trait RevocationStore: Send + Sync + 'static {
    /// Adds a revocation, to be kept for this long.
    ///
    /// # Errors
    ///
    /// If the store does not know whether it was added.
    fn add(&self, revocation: &Revocation, keep_for: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds revocations that the store has lost or never confirmed. Returns the outcome of each, in the same order. A
    /// revocation that fails does not stop the others.
    ///
    /// With `more`, another batch follows soon. Until the last batch, or until none has come for half a minute, a store
    /// that can marks its answers as [incomplete](RevocationBatch::incomplete). Two equal revocations are one.
    ///
    /// The default adds one after the other, and marks nothing.
    fn add_many(
        &self,
        revocations: &[(Revocation, Duration)],
        more: bool,
    ) -> impl Future<Output = Vec<Result<(), StoreError>>> + Send {
        let _ = more;
        async move {
            let mut outcomes = Vec::with_capacity(revocations.len());
            for (revocation, keep_for) in revocations {
                outcomes.push(self.add(revocation, *keep_for).await);
            }
            outcomes
        }
    }

    /// Returns all revocations that have not expired.
    ///
    /// # Errors
    ///
    /// If the store does not know them all.
    fn load(&self) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send;

    /// Waits for revocations that were added after this cursor. If there are none, returns an empty batch after about
    /// five seconds, so that the node knows that it is up to date.
    ///
    /// # Errors
    ///
    /// If the store does not know them all, or no longer has the entry of the cursor.
    fn next(&self, after: Cursor) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send;

    /// Whether other nodes may use this store too. If so, there may be sessions that only they know.
    ///
    /// Defaults to `true`.
    fn is_shared(&self) -> bool {
        true
    }
}

/// What is revoked: live sessions end, and handshakes and refreshes are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Revocation {
    /// The tokens with this id (`jti`), and their sessions.
    Token(ScopedId),
    /// One session. Its token stays valid.
    Session(SessionId),
    /// The tokens of a user's session at the identity provider (`sid`), and the sessions that use them.
    ProviderSession(ScopedId),
    /// Everything that was issued to a subject (`sub`) up to a time, and every session of the subject that was accepted
    /// by then. A token counts as issued by then if its `iat` is later by no more than the [clock
    /// skew](crate::RevocationOptions::clock_skew), or if it has no `iat`.
    Subject {
        /// The subject.
        subject: ScopedId,
        /// The time.
        until: SystemTime,
    },
    /// Everything that was issued to anybody up to this time, by the same rules.
    IssuedUntil(SystemTime),
}

impl Revocation {
    /// A label of the metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Session(_) => "session",
            Self::ProviderSession(_) => "provider_session",
            Self::Subject { .. } => "subject",
            Self::IssuedUntil(_) => "issued_until",
        }
    }

    /// Moves a time before 1970 to 1970: nothing was issued earlier, and stores need not be able to write such a time.
    pub(crate) fn clamped_to_epoch(self) -> Self {
        match self {
            Self::Subject { subject, until } => Self::Subject { subject, until: until.max(SystemTime::UNIX_EPOCH) },
            Self::IssuedUntil(until) => Self::IssuedUntil(until.max(SystemTime::UNIX_EPOCH)),
            other => other,
        }
    }
}

/// A place in the log of a [`RevocationStore`]. Only that store understands the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Cursor(pub String);

/// What [`RevocationStore::load`] and [`RevocationStore::next`] return.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RevocationBatch {
    /// The place in the log after the last revocation of the batch.
    pub cursor: Cursor,
    /// The revocations, each with how much longer to keep it.
    pub revocations: Vec<(Revocation, Duration)>,
    /// Whether a node is still restoring what the store has lost. A node that starts meanwhile does not know enough: it
    /// admits nobody until a batch is complete.
    pub is_incomplete: bool,
}

impl RevocationBatch {
    /// A complete batch.
    #[must_use]
    pub const fn new(cursor: Cursor, revocations: Vec<(Revocation, Duration)>) -> Self {
        Self { cursor, revocations, is_incomplete: false }
    }

    /// Marks the batch as [incomplete](Self::is_incomplete).
    #[must_use]
    pub fn incomplete(self) -> Self {
        Self { is_incomplete: true, ..self }
    }
}

/// Several nodes in one process can share a store.
impl<S: RevocationStore> RevocationStore for Arc<S> {
    fn add(&self, revocation: &Revocation, keep_for: Duration) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::add(self, revocation, keep_for)
    }

    fn add_many(
        &self,
        revocations: &[(Revocation, Duration)],
        more: bool,
    ) -> impl Future<Output = Vec<Result<(), StoreError>>> + Send {
        S::add_many(self, revocations, more)
    }

    fn load(&self) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send {
        S::load(self)
    }

    fn next(&self, after: Cursor) -> impl Future<Output = Result<RevocationBatch, StoreError>> + Send {
        S::next(self, after)
    }

    /// Always: that is what it is for.
    fn is_shared(&self) -> bool {
        true
    }
}

type Outcomes<'a> = Pin<Box<dyn Future<Output = Vec<Result<(), StoreError>>> + Send + 'a>>;

/// The object-safe twin of [`RevocationStore`].
pub(crate) trait DynRevocationStore: Send + Sync {
    fn add_boxed<'a>(&'a self, revocation: &'a Revocation, keep_for: Duration) -> StoreFuture<'a, ()>;
    fn add_many_boxed<'a>(&'a self, revocations: &'a [(Revocation, Duration)], more: bool) -> Outcomes<'a>;
    fn load_boxed(&self) -> StoreFuture<'_, RevocationBatch>;
    fn next_boxed(&self, after: Cursor) -> StoreFuture<'_, RevocationBatch>;
    #[cfg(feature = "signals")]
    fn is_shared(&self) -> bool;
}

impl<S: RevocationStore> DynRevocationStore for S {
    fn add_boxed<'a>(&'a self, revocation: &'a Revocation, keep_for: Duration) -> StoreFuture<'a, ()> {
        Box::pin(self.add(revocation, keep_for))
    }

    fn add_many_boxed<'a>(&'a self, revocations: &'a [(Revocation, Duration)], more: bool) -> Outcomes<'a> {
        Box::pin(self.add_many(revocations, more))
    }

    fn load_boxed(&self) -> StoreFuture<'_, RevocationBatch> {
        Box::pin(self.load())
    }

    fn next_boxed(&self, after: Cursor) -> StoreFuture<'_, RevocationBatch> {
        Box::pin(self.next(after))
    }

    #[cfg(feature = "signals")]
    fn is_shared(&self) -> bool {
        RevocationStore::is_shared(self)
    }
}
