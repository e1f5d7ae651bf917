//! How the sessions of each subject are counted on all nodes: a lease for each in a store.
//!
//! A session is leased when it was admitted here, so that this node's own count stands where the store does not answer.

mod health;
mod released;
mod task;

use std::{
    future::Future,
    mem,
    num::NonZeroUsize,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout},
};

use self::{health::Health, released::Released};
use super::Registry;
use crate::{
    id::SessionId,
    lock::lock,
    session::{AdmissionError, End, SessionCore, limits::Limits},
    store::{Acquire, Acquired, AtLimit, DynLimitStore, SessionLease, StoreError},
    telemetry,
};

/// What a registry needs to count with others.
pub(super) struct Sharing {
    store: Arc<dyn DynLimitStore>,
    most: NonZeroUsize,
    at_limit: AtLimit,
    lifetime: Duration,
    retry_after: Duration,
    released: Mutex<Released>,
    /// Something is to be released.
    queued: Notify,
    /// Nothing is, any more.
    settled: Notify,
    /// Whom the store has failed lately.
    health: Arc<Health>,
    task: Mutex<Option<AbortHandle>>,
}

/// How long a handshake waits.
const ANSWER: Duration = Duration::from_secs(2);

/// One that asks for a lease, and may go away before it knows whether it has one: then it is released.
struct Unsettled<'a> {
    registry: &'a Registry,
    core: &'a SessionCore,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.registry.release(self.core);
    }
}

impl Registry {
    /// Whether sessions are counted on all nodes.
    pub(in crate::session) const fn is_shared(&self) -> bool {
        self.sharing.is_some()
    }

    /// Begins to keep up what is leased, where there is a runtime and nobody does.
    pub(super) fn keep_up(self: &Arc<Self>) {
        let Some(sharing) = &self.sharing else { return };
        let mut task = lock(&sharing.task);
        if task.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let keeping = task::keep_up(Arc::clone(sharing), Arc::downgrade(self));
            *task = Some(runtime.spawn(keeping).abort_handle());
        }
    }

    /// Takes a lease for an admitted session, where sessions are counted on all nodes.
    pub(in crate::session) async fn share(self: &Arc<Self>, core: &SessionCore) -> Result<(), AdmissionError> {
        let (Some(sharing), Some(lease)) = (&self.sharing, core.session_lease()) else { return Ok(()) };
        self.keep_up();
        let unsettled = Unsettled { registry: self, core };
        let acquired = sharing.acquire(&lease).await;
        if let Some(Acquired::Full) = acquired {
            // There is none.
            mem::forget(unsettled);
            return Err(AdmissionError::TooManySessions { retry_after: sharing.retry_after });
        }
        // Without an answer, it is told that there is one when leases are renewed.
        if self.note_shared(core) {
            mem::forget(unsettled);
        }
        if let Some(Acquired::Taken { evicted }) = acquired {
            self.evict(&evicted);
        }
        Ok(())
    }

    /// Ends those of this node that had to go for others.
    fn evict(&self, sessions: &[SessionId]) {
        let own = sessions.iter().filter(|id| id.is_of_this_process());
        End::TOO_MANY.apply(own.filter_map(|id| self.get(*id)));
    }

    /// Waits until the store knows of all that has ended, if somebody tells it.
    pub(in crate::session) async fn told(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.settled().await;
        }
    }

    pub(super) fn release(&self, core: &SessionCore) {
        if let (Some(sharing), Some(lease)) = (&self.sharing, core.session_lease()) {
            lock(&sharing.released).add(lease);
            sharing.queued.notify_one();
        }
    }
}

impl Sharing {
    pub(super) fn of(limits: &Limits) -> Option<Self> {
        let (store, (most, at_limit)) = (limits.store.as_ref()?, limits.per_subject?);
        Some(Self {
            store: Arc::clone(&store.0),
            most,
            at_limit,
            lifetime: limits.lease_lifetime,
            retry_after: limits.retry_after,
            released: Mutex::default(),
            queued: Notify::new(),
            settled: Notify::new(),
            health: Arc::default(),
            task: Mutex::default(),
        })
    }

    /// `None` if the store is not asked, or does not answer.
    async fn acquire(&self, lease: &SessionLease) -> Option<Acquired> {
        if !self.health.may_ask(&lease.subject).await {
            return None;
        }
        let asked = Instant::now();
        // Who closes and comes back at once is not held up by what was not told yet.
        let released = lock(&self.released).of_subject(&lease.subject);
        let request = Acquire::new(lease, self.most, self.at_limit, self.lifetime).releasing(&released);
        match in_time(ANSWER, self.store.acquire_boxed(request)).await {
            Ok(acquired) => {
                self.health.has_answered(&lease.subject);
                Some(acquired)
            }
            Err(error) => {
                telemetry::limit_store_unavailable(&error);
                self.health.has_failed(&lease.subject, asked, &self.store);
                None
            }
        }
    }

    async fn settled(&self) {
        loop {
            let mut settled = pin!(self.settled.notified());
            // From here on it is not missed.
            settled.as_mut().enable();
            if lock(&self.released).is_empty() || lock(&self.task).as_ref().is_none_or(AbortHandle::is_finished) {
                return;
            }
            settled.await;
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Nobody is left whose lease could be kept up.
        if let Some(task) = self.sharing.as_ref().and_then(|sharing| lock(&sharing.task).take()) {
            task.abort();
        }
    }
}

impl SessionCore {
    /// Of one without a subject there is none.
    pub(super) fn session_lease(&self) -> Option<SessionLease> {
        Some(SessionLease::new(self.scoped_subject()?, self.id(), self.connected_at()))
    }
}

async fn in_time<T>(limit: Duration, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(limit, operation).await.unwrap_or_else(|_| Err(StoreError::unavailable()))
}
