use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{Acquire, Acquired, SessionLease};
use crate::{id::SessionId, store::StoreError};

/// Where nodes count the sessions of each subject together: leases, which their nodes renew and which run out when a node is
/// gone. See [`Limits::across_nodes`](crate::Limits::across_nodes).
///
/// A store of one's own must pass [`test_util::conformance::limits`](crate::test_util::conformance::limits).
///
/// # Safety rules
///
/// - A subject is the whole [`ScopedId`](crate::ScopedId). A store that looks at the id alone is unsafe: the users of one issuer
///   evict those of another.
/// - [`acquire`](Self::acquire) looks and takes in one step: of any number that ask at once for the last place, one gets it.
///   A store that counts first and then writes is unsafe, for a subject gets around its limit.
/// - A lease that is not there was lost, and is never taken for an evicted one: [`renew`](Self::renew) puts it back. A
///   store that was emptied and reports live sessions as evicted is unsafe, for it ends them all.
/// - An evicted lease is remembered as such until it is released, or a lifetime is over: no renewal brings it back.
/// - A lease runs out by one clock, that of the store. One that runs out late, or a release that is late, is only slow:
///   the subject waits for its place.
/// - Who asks may go away before there is an answer. What was asked for then happens or not, and not after a
///   [`release`](Self::release) that came later. Where it does all the same, it counts until it runs out: that is only slow.
/// - A store that asks somebody else sets a limit of its own to how long that takes. A node waits for no more than two
///   seconds in a handshake; then it counts for itself.
pub trait LimitStore: Send + Sync + 'static {
    /// Takes a lease, where the limit allows it or by what is to happen [at the limit](crate::AtLimit): as many of the oldest
    /// ones go as are too many. One that is there already is taken anew, and counts once.
    ///
    /// # Errors
    ///
    /// If it cannot be told whether it was taken.
    fn acquire(&self, request: Acquire<'_>) -> impl Future<Output = Result<Acquired, StoreError>> + Send;

    /// Makes leases good for this long from now; also those that are not there any more, whatever the limit. Those of one
    /// subject stand together. Returns those that were evicted.
    ///
    /// # Errors
    ///
    /// If some may not have been renewed.
    fn renew(
        &self,
        leases: &[SessionLease],
        lifetime: Duration,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Gives leases back. Those of one subject stand together.
    ///
    /// # Errors
    ///
    /// If some may not have been released.
    fn release(&self, leases: &[SessionLease]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for evictions, by whatever node and of whatever session. One that happens between two calls may be missed:
    /// then the session learns of it when it is next renewed.
    ///
    /// # Errors
    ///
    /// If it cannot wait. It is called again after a while.
    fn evicted(&self) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;
}

/// One store for several nodes in a process.
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

    fn evicted(&self) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        S::evicted(self)
    }
}

type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Any [`LimitStore`].
pub(crate) trait DynLimitStore: Send + Sync {
    fn acquire_boxed<'a>(&'a self, request: Acquire<'a>) -> Operation<'a, Acquired>;
    fn renew_boxed<'a>(&'a self, leases: &'a [SessionLease], lifetime: Duration) -> Operation<'a, Vec<SessionId>>;
    fn release_boxed<'a>(&'a self, leases: &'a [SessionLease]) -> Operation<'a, ()>;
    fn evicted_boxed(&self) -> Operation<'_, Vec<SessionId>>;
}

impl<S: LimitStore> DynLimitStore for S {
    fn acquire_boxed<'a>(&'a self, request: Acquire<'a>) -> Operation<'a, Acquired> {
        Box::pin(self.acquire(request))
    }

    fn renew_boxed<'a>(&'a self, leases: &'a [SessionLease], lifetime: Duration) -> Operation<'a, Vec<SessionId>> {
        Box::pin(self.renew(leases, lifetime))
    }

    fn release_boxed<'a>(&'a self, leases: &'a [SessionLease]) -> Operation<'a, ()> {
        Box::pin(self.release(leases))
    }

    fn evicted_boxed(&self) -> Operation<'_, Vec<SessionId>> {
        Box::pin(self.evicted())
    }
}
