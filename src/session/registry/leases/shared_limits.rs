use std::{num::NonZeroUsize, pin::pin, sync::Arc, time::Duration};

use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use super::{breaker::CircuitBreaker, release_queue::ReleaseQueue, with_timeout};
use crate::{
    lock::{Mutex, lock},
    session::Limits,
    store::{Acquire, Acquired, AtLimit, DynLimitStore, LeaseQuery, SessionLease, StoreError},
    telemetry,
};

/// The store of a registry whose limits are shared, and the state of its lease task.
pub(in crate::session::registry) struct SharedLimits {
    pub(super) store: Arc<dyn DynLimitStore>,
    limit: (NonZeroUsize, AtLimit),
    pub(super) lease_lifetime: Duration,
    pub(super) retry_after: Duration,
    pub(super) release_queue: Mutex<ReleaseQueue>,
    /// There is a lease to be released.
    pub(super) release_queued: Notify,
    /// The queue is empty.
    pub(super) all_released: Notify,
    pub(super) breaker: Arc<CircuitBreaker>,
    pub(super) task: Mutex<Option<AbortHandle>>,
}

/// How long a handshake waits for the store.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the store has to list leases.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

impl SharedLimits {
    /// `None` if there is no store.
    pub(in crate::session::registry) fn new(limits: &Limits) -> Option<Self> {
        let store = limits.store.as_ref()?;
        Some(Self {
            store: Arc::clone(&store.0),
            // Without a limit, leases only show other nodes which sessions there are.
            limit: limits.per_subject.unwrap_or((NonZeroUsize::MAX, AtLimit::RefuseNew)),
            lease_lifetime: limits.lease_lifetime,
            retry_after: limits.retry_after,
            release_queue: Mutex::default(),
            release_queued: Notify::new(),
            all_released: Notify::new(),
            breaker: Arc::default(),
            task: Mutex::default(),
        })
    }

    /// `None` if the store is unavailable.
    pub(super) async fn acquire(&self, lease: &SessionLease) -> Option<Acquired> {
        if !self.breaker.allows(&lease.subject).await {
            return None;
        }
        let called_at = Instant::now();
        // A client that reconnects at once must not count twice because its old lease is still in the queue.
        let released = lock(&self.release_queue).of_subject(&lease.subject);
        let (max, at_limit) = self.limit;
        let request = Acquire::new(lease, max, at_limit, self.lease_lifetime).releasing(&released);
        match with_timeout(ACQUIRE_TIMEOUT, self.store.acquire_boxed(request)).await {
            Ok(acquired) => {
                self.breaker.subject_succeeded(&lease.subject);
                Some(acquired)
            }
            Err(error) => {
                telemetry::limit_store_unavailable(&error);
                self.breaker.subject_failed(&lease.subject, called_at, &self.store);
                None
            }
        }
    }

    /// Lists leases.
    pub(in crate::session::registry) async fn list(
        &self,
        query: LeaseQuery<'_>,
    ) -> Result<Vec<SessionLease>, StoreError> {
        with_timeout(LIST_TIMEOUT, self.store.list_boxed(query)).await
    }

    /// Waits until all leases in the queue are released, or the task has stopped.
    pub(super) async fn all_released(&self) {
        loop {
            let mut all_released = pin!(self.all_released.notified());
            // From here on no notification is missed.
            all_released.as_mut().enable();
            if lock(&self.release_queue).is_empty() || lock(&self.task).as_ref().is_none_or(AbortHandle::is_finished) {
                return;
            }
            all_released.await;
        }
    }
}
