//! What a registry does with leases.

use std::{mem, sync::Arc};

use tokio::{runtime::Handle, task::AbortHandle};

use super::{Details, task};
use crate::{
    id::SessionId,
    lock::lock,
    session::{AdmissionError, End, Registry, SessionCore},
    store::{Acquired, SessionLease},
};

/// Releases the lease of a session when dropped: a handshake may be dropped before it knows whether it has one.
struct ReleaseOnDrop<'a> {
    registry: &'a Registry,
    session: &'a SessionCore,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        self.registry.release_lease(self.session);
    }
}

impl Registry {
    pub(in crate::session) const fn shares_limits(&self) -> bool {
        self.shared_limits.is_some()
    }

    /// Starts the task that maintains the leases, if there is a runtime and the task is not running.
    pub(in crate::session::registry) fn start_lease_task(self: &Arc<Self>) {
        let Some(limits) = &self.shared_limits else { return };
        let mut task = lock(&limits.task);
        if task.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let run = task::run(Arc::clone(limits), Arc::downgrade(self));
            *task = Some(runtime.spawn(run).abort_handle());
        }
    }

    /// Takes a lease for an admitted session, if limits are shared.
    pub(in crate::session) async fn acquire_lease(
        self: &Arc<Self>,
        session: &SessionCore,
    ) -> Result<(), AdmissionError> {
        let (Some(limits), Some(lease)) = (&self.shared_limits, session.detailed_lease()) else { return Ok(()) };
        self.start_lease_task();
        let guard = ReleaseOnDrop { registry: self, session };
        let acquired = limits.acquire(&lease).await;
        if let Some(Acquired::Full) = acquired {
            // There is no lease to release.
            mem::forget(guard);
            return Err(AdmissionError::TooManySessions { retry_after: limits.retry_after });
        }
        // If the store is unavailable, the next renewal puts the lease there.
        if self.mark_leased(session) {
            mem::forget(guard);
        }
        if let Some(Acquired::Taken { evicted }) = acquired {
            self.evict(&evicted);
        }
        Ok(())
    }

    /// Returns `false` if the session has ended.
    fn mark_leased(&self, session: &SessionCore) -> bool {
        self.shard(self.shard_of_session(session)).mark_leased(session)
    }

    /// The leases in this shard; those of one subject are adjacent. `None` if there is no such shard.
    pub(super) fn leases(&self, shard: usize) -> Option<Vec<SessionLease>> {
        // In a statement of its own, so that the shard is unlocked again.
        let sessions = self.shards.get(shard).map(|shard| lock(shard).leased())?;
        Some(sessions.iter().filter_map(|session| session.detailed_lease()).collect())
    }

    /// Ends the sessions of this node among those that were evicted.
    pub(super) fn evict(&self, sessions: &[SessionId]) {
        let own = sessions.iter().filter(|id| id.node() == self.node);
        End::TOO_MANY.apply(own.filter_map(|id| self.get(*id)));
    }

    /// Queues the lease of a session for release.
    pub(in crate::session::registry) fn release_lease(&self, session: &SessionCore) {
        if let (Some(limits), Some(lease)) = (&self.shared_limits, session.lease()) {
            lock(&limits.release_queue).push(lease);
            limits.release_queued.notify_one();
        }
    }

    /// Waits until the leases of ended sessions are released, or nothing releases them.
    pub(in crate::session) async fn leases_released(&self) {
        if let Some(limits) = &self.shared_limits {
            limits.all_released().await;
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // No session is left whose lease could be renewed.
        if let Some(task) = self.shared_limits.as_ref().and_then(|limits| lock(&limits.task).take()) {
            task.abort();
        }
        self.stop_listening();
    }
}

impl SessionCore {
    /// The lease that is taken and renewed, with what is true of the session now. `None` without a subject.
    fn detailed_lease(&self) -> Option<SessionLease> {
        Some(self.lease()?.with_details(Details::of(self).to_text()))
    }

    /// The lease that is released.
    fn lease(&self) -> Option<SessionLease> {
        Some(SessionLease::new(self.scoped_subject()?, self.id(), self.connected_at()))
    }
}
