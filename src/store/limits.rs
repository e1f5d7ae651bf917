use std::{future::Future, sync::Arc, time::Duration};

use super::{Acquire, Acquired, LeaseQuery, SessionLease, StoreError, StoreFuture};
use crate::id::SessionId;

/// Counts and lists the sessions of each subject on all nodes, by leases. Nodes renew the leases of their sessions;
/// those of a dead node expire. See [`Limits::across_nodes`](crate::Limits::across_nodes).
///
/// An implementation must pass [`test_util::conformance::limits`](crate::test_util::conformance::limits).
///
/// # Safety rules
///
/// - A subject is the whole [`ScopedId`](crate::ScopedId). A store that compares only the id is unsafe: users of one
///   issuer evict those of another.
/// - [`acquire`](Self::acquire) is atomic: of several concurrent calls for the last lease, one succeeds. A store that
///   counts first and writes later is unsafe: a subject can exceed its limit.
/// - A missing lease was lost, not evicted: [`renew`](Self::renew) adds it again. A store that reports missing leases
///   as evicted is unsafe: when it is emptied, it ends all live sessions.
/// - The store remembers an eviction until the lease is released, or for one lifetime. No renewal restores an evicted
///   lease.
/// - [`list`](Self::list) shows the leases of the subject alone: what it returns is shown to users. A store that shows
///   those of another subject is unsafe. One that shows a lease a little too long is only late.
/// - Leases expire by one clock, the store's. A late expiry or a late release is only slow: the subject waits for a
///   lease.
/// - A caller may drop the future of [`acquire`](Self::acquire). The operation then takes effect or not, but never
///   after a later [`release`](Self::release). A store that breaks this is only slow: the lease counts until it
///   expires.
/// - A store that calls a server sets its own timeout. In a handshake, a node waits for at most two seconds, and then
///   counts its own sessions only.
pub trait LimitStore: Send + Sync + 'static {
    /// Takes a lease. If the subject has reached its limit, [`AtLimit`](crate::AtLimit) decides: the lease is refused,
    /// or as many of the oldest ones are evicted as exceed the limit. A lease that exists is taken again, and counts
    /// once.
    ///
    /// # Errors
    ///
    /// If the store does not know whether the lease was taken.
    fn acquire(&self, request: Acquire<'_>) -> impl Future<Output = Result<Acquired, StoreError>> + Send;

    /// Renews leases: each now lasts for this lifetime, and has these [details](SessionLease::details). Missing ones
    /// are added, even beyond the limit. Leases of one subject are adjacent. Returns the sessions whose leases were
    /// evicted.
    ///
    /// # Errors
    ///
    /// If some leases may not have been renewed.
    fn renew(
        &self,
        leases: &[SessionLease],
        lifetime: Duration,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Releases leases. Leases of one subject are adjacent.
    ///
    /// # Errors
    ///
    /// If some leases may not have been released.
    fn release(&self, leases: &[SessionLease]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Lists the leases that are neither released, evicted nor expired, in the order of their
    /// [cursors](SessionLease::cursor). Returns fewer than [`max`](LeaseQuery::max) only if there are no more.
    ///
    /// # Errors
    ///
    /// If the store does not know all leases that the query asks for.
    fn list(&self, query: LeaseQuery<'_>) -> impl Future<Output = Result<Vec<SessionLease>, StoreError>> + Send;

    /// Waits for evictions on any node, of any session. An eviction between two calls may be missed: the session's node
    /// then learns of it at the next renewal.
    ///
    /// # Errors
    ///
    /// If the store cannot wait. The node calls again after a while.
    fn evicted(&self) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;
}

/// Several nodes in one process can share a store.
impl<S: LimitStore> LimitStore for Arc<S> {
    fn acquire(&self, request: Acquire<'_>) -> impl Future<Output = Result<Acquired, StoreError>> + Send {
        S::acquire(self, request)
    }

    fn renew(
        &self,
        leases: &[SessionLease],
        lifetime: Duration,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        S::renew(self, leases, lifetime)
    }

    fn release(&self, leases: &[SessionLease]) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::release(self, leases)
    }

    fn list(&self, query: LeaseQuery<'_>) -> impl Future<Output = Result<Vec<SessionLease>, StoreError>> + Send {
        S::list(self, query)
    }

    fn evicted(&self) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        S::evicted(self)
    }
}

/// The object-safe twin of [`LimitStore`].
pub(crate) trait DynLimitStore: Send + Sync {
    fn acquire_boxed<'a>(&'a self, request: Acquire<'a>) -> StoreFuture<'a, Acquired>;
    fn renew_boxed<'a>(&'a self, leases: &'a [SessionLease], lifetime: Duration) -> StoreFuture<'a, Vec<SessionId>>;
    fn release_boxed<'a>(&'a self, leases: &'a [SessionLease]) -> StoreFuture<'a, ()>;
    fn list_boxed<'a>(&'a self, query: LeaseQuery<'a>) -> StoreFuture<'a, Vec<SessionLease>>;
    fn evicted_boxed(&self) -> StoreFuture<'_, Vec<SessionId>>;
}

impl<S: LimitStore> DynLimitStore for S {
    fn acquire_boxed<'a>(&'a self, request: Acquire<'a>) -> StoreFuture<'a, Acquired> {
        Box::pin(self.acquire(request))
    }

    fn renew_boxed<'a>(&'a self, leases: &'a [SessionLease], lifetime: Duration) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(self.renew(leases, lifetime))
    }

    fn release_boxed<'a>(&'a self, leases: &'a [SessionLease]) -> StoreFuture<'a, ()> {
        Box::pin(self.release(leases))
    }

    fn list_boxed<'a>(&'a self, query: LeaseQuery<'a>) -> StoreFuture<'a, Vec<SessionLease>> {
        Box::pin(self.list(query))
    }

    fn evicted_boxed(&self) -> StoreFuture<'_, Vec<SessionId>> {
        Box::pin(self.evicted())
    }
}
