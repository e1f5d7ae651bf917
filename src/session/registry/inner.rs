use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
    pin::pin,
    sync::Arc,
    thread::available_parallelism,
};

use tokio::sync::Notify;

use super::{
    Filter, Permit, Registration,
    bulk_end::BulkEnd,
    leases::SharedLimits,
    permit::Slot,
    remote::Remote,
    shard::{Shard, TokenHashes},
};
use crate::{
    id::{NodeId, SessionId},
    lock::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        lock,
    },
    session::{AdmissionError, End, Limits, SessionCore, TokenInfo},
    telemetry,
};

pub(crate) struct Registry {
    pub(super) node: NodeId,
    /// The subject decides on the shard, whatever the issuer, so that all sessions of a subject are in one shard. A
    /// session without a subject is in any.
    pub(super) shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    pub(super) limits: Limits,
    /// If limits are shared across nodes.
    pub(super) shared_limits: Option<Arc<SharedLimits>>,
    /// If other nodes are reachable.
    pub(super) remote: Mutex<Option<Arc<Remote>>>,
    /// Whether there is a `remote`. Handshakes look at this without a lock.
    pub(super) is_reachable: AtomicBool,
    /// The bulk ends that are still running.
    pub(super) bulk_ends: Mutex<Vec<Arc<BulkEnd>>>,
    pub(super) has_bulk_ends: AtomicBool,
    /// The number of [`Slot`]s.
    pub(super) connections: AtomicUsize,
    draining: AtomicBool,
    drain_started: Notify,
    /// The last slot was dropped.
    pub(in crate::session) idle: Notify,
    /// Each warning is logged once.
    warned_of_no_subject: AtomicBool,
    pub(in crate::session) warned_of_unwatched: AtomicBool,
    pub(in crate::session) warned_of_dropped: AtomicBool,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            node: NodeId::random(),
            shards: (0..shard_count()).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            shared_limits: SharedLimits::new(&limits).map(Arc::new),
            limits,
            remote: Mutex::default(),
            is_reachable: AtomicBool::new(false),
            bulk_ends: Mutex::default(),
            has_bulk_ends: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            drain_started: Notify::new(),
            idle: Notify::new(),
            warned_of_no_subject: AtomicBool::new(false),
            warned_of_unwatched: AtomicBool::new(false),
            warned_of_dropped: AtomicBool::new(false),
        }
    }

    pub(in crate::session) const fn node(&self) -> NodeId {
        self.node
    }

    /// Takes a slot for a connection.
    pub(in crate::session) fn slot(self: &Arc<Self>) -> Result<Slot, AdmissionError> {
        let more = |count: usize| (count < self.limits.total).then_some(count + 1);
        if self.connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            return Err(AdmissionError::Full { retry_after: self.limits.retry_after });
        }
        // Count first, then check: either the drain waits for this slot, or the check sees the drain.
        let slot = Slot::new(Arc::clone(self));
        self.check_not_draining().map(|()| slot)
    }

    /// Registers a session: from here on, whatever ends sessions finds it. Returns the registry that must
    /// [`admit`](Self::admit) it, if it is a connection.
    pub(in crate::session) fn register(
        session: &Arc<SessionCore>,
        token: &TokenInfo,
        permit: Permit,
    ) -> Option<Arc<Self>> {
        let registry = Arc::clone(permit.registry());
        let is_counted = permit.is_counted();
        registry.start_listening();
        let shard = registry.shard_of_session(session);
        let registration = Registration::new(permit, session.id().number(), shard);
        let token = registry.hashes(token);
        {
            let mut shard = registry.shard(shard);
            shard.insert(Arc::clone(session), token);
            // Under the lock of the shard: who finds the session here and ends it must find its registration there.
            session.set_registration(registration);
        }
        is_counted.then_some(registry)
    }

    /// Admits a registered session, if the limits allow it.
    pub(in crate::session) fn admit(&self, session: &SessionCore) -> Result<(), AdmissionError> {
        self.check_not_draining()?;
        if session.subject().is_none()
            && self.limits.per_subject.is_some()
            && !self.warned_of_no_subject.swap(true, Ordering::Relaxed)
        {
            telemetry::sessions_without_subject();
        }
        let evicted = self.shard(self.shard_of_session(session)).admit(session, &self.limits)?;
        if let Some(evicted) = evicted {
            evicted.end(End::TOO_MANY);
        }
        Ok(())
    }

    /// The session no longer counts as one of its subject's.
    pub(in crate::session) fn session_ended(&self, session: &SessionCore) {
        let has_lease = self.shard(self.shard_of_session(session)).mark_ended(session);
        if has_lease {
            self.release_lease(session);
        }
    }

    /// See [`SessionCore::set_pending_token`].
    pub(in crate::session) fn set_pending_token(&self, session: &SessionCore, token: &TokenInfo) {
        let token = self.hashes(token);
        self.shard(self.shard_of_session(session)).set_pending_token(session, token);
    }

    pub(in crate::session) fn resolve_pending_token(&self, session: &SessionCore, committed: bool) {
        self.shard(self.shard_of_session(session)).resolve_pending_token(session, committed);
    }

    pub(in crate::session) fn connection_count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The connections whose sessions have not ended.
    pub(super) fn live(&self) -> impl Iterator<Item = Arc<SessionCore>> + '_ {
        // Filtered here, without the lock of a shard: `end_reason` ends a session whose deadline has passed.
        self.scan(Filter::All).filter(|session| session.end_reason().is_none() && session.is_counted())
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<SessionCore>> {
        self.shards.iter().find_map(|shard| lock(shard).get(id))
    }

    /// Stops admitting sessions.
    pub(in crate::session) fn start_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.drain_started.notify_waiters();
    }

    /// Resolves when a drain begins.
    pub(in crate::session) async fn draining(&self) -> AdmissionError {
        loop {
            let mut started = pin!(self.drain_started.notified());
            started.as_mut().enable();
            if let Err(error) = self.check_not_draining() {
                return error;
            }
            started.await;
        }
    }

    #[cfg(feature = "streams")]
    pub(in crate::session) const fn retry_after(&self) -> std::time::Duration {
        self.limits.retry_after
    }

    /// Whether another connection would get a slot now.
    pub(in crate::session) fn check_capacity(&self) -> Result<(), AdmissionError> {
        if self.connection_count() >= self.limits.total {
            return Err(AdmissionError::Full { retry_after: self.limits.retry_after });
        }
        self.check_not_draining()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn check_not_draining(&self) -> Result<(), AdmissionError> {
        if self.is_draining() {
            return Err(AdmissionError::Draining { retry_after: self.limits.retry_after });
        }
        Ok(())
    }

    fn hashes(&self, token: &TokenInfo) -> TokenHashes {
        TokenHashes {
            id: token.id.as_deref().map(|id| self.hash_token(id)),
            provider_session: token.provider_session.as_deref().map(|id| self.hash_provider_session(id)),
        }
    }

    pub(super) fn hash_token(&self, id: &str) -> NonZeroU64 {
        // These hashes are odd and those of provider sessions even, so that they are never taken for each other.
        NonZeroU64::MIN | self.hasher.hash_one(id)
    }

    pub(super) fn hash_provider_session(&self, id: &str) -> NonZeroU64 {
        let two = NonZeroU64::MIN.saturating_add(1);
        two | (self.hasher.hash_one(id) & !1)
    }

    pub(super) fn shard_of_session(&self, session: &SessionCore) -> usize {
        session.subject().map_or_else(|| self.index(session.id().number()), |subject| self.shard_of_subject(subject))
    }

    pub(super) fn shard_of_subject(&self, subject: &str) -> usize {
        self.index(self.hasher.hash_one(subject))
    }

    fn index(&self, number: u64) -> usize {
        // The number of shards is a power of two.
        let mask = self.shards.len() - 1;
        usize::try_from(number & mask as u64).unwrap_or_default()
    }

    pub(super) fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        lock(self.shards.get(index).expect("an index of a shard"))
    }
}

/// A power of two: several for each thread, so that two threads rarely meet, and enough that none gets large. The
/// models in `tests/races` have one, because each lock is a place at which their orders differ.
fn shard_count() -> usize {
    const MIN: usize = 256;
    if cfg!(shuttle) {
        return 1;
    }
    (available_parallelism().map_or(8, usize::from) * 8).max(MIN).next_power_of_two()
}
