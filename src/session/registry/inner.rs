use std::{
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    shard::Shard,
    sharing::Sharing,
    sweep::{Order, Which},
};
use crate::{
    id::SessionId,
    lock::lock,
    revocation::{LiveSessions, Target},
    session::{
        End, SessionCore,
        limits::{AdmissionError, Limits},
    },
    store::{Revocation, SessionLease},
    telemetry,
};

pub(crate) struct Registry {
    /// A session is in the shard of its `sub`, so that all of a subject's are in one, and all of its namesakes at other
    /// issuers too; without a subject, in any.
    pub(super) shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    pub(super) limits: Limits,
    /// Where the limits go for other nodes too.
    pub(super) sharing: Option<Arc<Sharing>>,
    /// Orders that are being carried out.
    pub(super) orders: Mutex<Vec<Arc<Order>>>,
    pub(super) has_orders: AtomicBool,
    /// How many [`Slot`]s there are.
    held: AtomicUsize,
    draining: AtomicBool,
    /// What is said once.
    warned_of_limits: AtomicBool,
    pub(in crate::session) warned_of_unwatched: AtomicBool,
    pub(in crate::session) warned_of_dropped: AtomicBool,
    /// From now on it drains.
    closing: Notify,
    /// The last slot was given back.
    pub(in crate::session) vacated: Notify,
}

/// One of the connections that there may be in all. It lives as long as the connection.
pub(crate) struct Slot(Arc<Registry>);

/// How a session is registered.
pub(crate) enum Permit {
    /// It holds a connection.
    Counted(Slot),
    /// It belongs to a request that is no handshake, and lives for as long as somebody holds it.
    Uncounted(Arc<Registry>),
}

const LEAST_SHARDS: usize = 256;

/// Keeps a session registered for as long as it lives.
pub(in crate::session) struct Registration {
    place: Permit,
    number: u64,
    shard: usize,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        // Several for each thread, so that two rarely meet; and so many that none gets large.
        let shards = (available_parallelism().map_or(8, usize::from) * 8).max(LEAST_SHARDS).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            sharing: Sharing::of(&limits).map(Arc::new),
            limits,
            orders: Mutex::default(),
            has_orders: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            warned_of_limits: AtomicBool::new(false),
            warned_of_unwatched: AtomicBool::new(false),
            warned_of_dropped: AtomicBool::new(false),
            closing: Notify::new(),
            vacated: Notify::new(),
        }
    }

    /// Takes one of the connections that there may be.
    pub(crate) fn slot(self: &Arc<Self>) -> Result<Slot, AdmissionError> {
        let more = |held: usize| (held < self.limits.total).then_some(held + 1);
        if self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            return Err(AdmissionError::Full { retry_after: self.limits.retry_after });
        }
        // From here on the slot is counted, so that who drains waits for it, or this sees that somebody drains.
        let slot = Slot(Arc::clone(self));
        self.open().map(|()| slot)
    }

    /// Registers a session: from here on it is found by whoever ends it. It is not admitted yet. Returns where it is to be,
    /// if it is to be counted.
    pub(in crate::session) fn register(
        core: &Arc<SessionCore>,
        token_id: Option<&str>,
        place: Permit,
    ) -> Option<Arc<Self>> {
        let registry = Arc::clone(place.registry());
        let uncounted = matches!(place, Permit::Uncounted(_));
        let shard = registry.shard_of_life(core);
        let registration = Registration { place, number: core.id().number(), shard };
        let token = token_id.map(|id| registry.hash(id));
        {
            let mut shard = registry.shard(shard);
            shard.insert(Arc::clone(core), token);
            // Under the lock: who finds the session here and ends it must find this there.
            core.hold(registration);
        }
        (!uncounted).then_some(registry)
    }

    /// Admits a registered session, if the limits allow it.
    pub(in crate::session) fn admit(&self, core: &SessionCore) -> Result<(), AdmissionError> {
        self.open()?;
        if core.subject().is_none()
            && self.limits.per_subject.is_some()
            && !self.warned_of_limits.swap(true, Ordering::Relaxed)
        {
            telemetry::sessions_without_subject();
        }
        let evicted = self.shard(self.shard_of_life(core)).admit(core, &self.limits)?;
        if let Some(evicted) = evicted {
            evicted.end(End::TOO_MANY);
        }
        Ok(())
    }

    /// An ended session no longer counts as one of its subject's.
    pub(in crate::session) fn retire(&self, core: &SessionCore) {
        let is_shared = self.shard(self.shard_of_life(core)).retire(core);
        if is_shared {
            self.release(core);
        }
    }

    /// Has an admitted session counted on all nodes for as long as it lives. `false` if it has ended.
    pub(super) fn note_shared(&self, core: &SessionCore) -> bool {
        self.shard(self.shard_of_life(core)).note_shared(core)
    }

    /// The leases of a part of those that are counted on all nodes; of one subject they stand together. `None` if there is
    /// no such part.
    pub(super) fn shared(&self, part: usize) -> Option<Vec<SessionLease>> {
        self.shards.get(part).map(|shard| lock(shard).shared())
    }

    pub(in crate::session) fn note_next_token(&self, core: &SessionCore, token_id: Option<&str>) {
        let token = token_id.map(|id| self.hash(id));
        self.shard(self.shard_of_life(core)).note_next_token(core, token);
    }

    pub(in crate::session) fn settle_token(&self, core: &SessionCore, is_taken: bool) {
        self.shard(self.shard_of_life(core)).settle_token(core, is_taken);
    }

    pub(in crate::session) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// The connections whose sessions have not ended.
    pub(in crate::session) fn live(&self) -> impl Iterator<Item = Arc<SessionCore>> + '_ {
        // Asked when the shard is no longer locked: a deadline that has come ends the session there and then.
        self.those(Which::All).filter(|core| core.end_reason().is_none() && core.is_counted())
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<SessionCore>> {
        self.shards.iter().find_map(|shard| lock(shard).get(id))
    }

    /// Admits nobody any more.
    pub(in crate::session) fn close(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.closing.notify_waiters();
    }

    /// Waits until nobody is admitted any more.
    pub(in crate::session) async fn draining(&self) -> AdmissionError {
        loop {
            let mut closing = pin!(self.closing.notified());
            closing.as_mut().enable();
            if let Err(error) = self.open() {
                return error;
            }
            closing.await;
        }
    }

    /// Whether there is room for another session, as things stand.
    pub(in crate::session) fn check_capacity(&self) -> Result<(), AdmissionError> {
        if self.held() >= self.limits.total {
            return Err(AdmissionError::Full { retry_after: self.limits.retry_after });
        }
        self.open()
    }

    fn open(&self) -> Result<(), AdmissionError> {
        if self.draining.load(Ordering::SeqCst) {
            return Err(AdmissionError::Draining { retry_after: self.limits.retry_after });
        }
        Ok(())
    }

    pub(super) fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }

    fn shard_of_life(&self, core: &SessionCore) -> usize {
        core.subject().map_or_else(|| self.index(core.id().number()), |subject| self.shard_of(subject))
    }

    pub(super) fn shard_of(&self, subject: &str) -> usize {
        self.index(self.hash(subject))
    }

    fn index(&self, number: u64) -> usize {
        // Their number is a power of two.
        let mask = self.shards.len() - 1;
        usize::try_from(number & mask as u64).unwrap_or_default()
    }

    pub(super) fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        lock(self.shards.get(index).expect("an index of a shard"))
    }
}

impl LiveSessions for Registry {
    fn end_revoked(&self, revocation: &Revocation, clock_skew: Duration) {
        let those = |which| self.those(which);
        match revocation {
            Revocation::Token(id) => End::REVOKED.apply(those(Which::OfToken(id.clone()))),
            Revocation::Session(id) => End::REVOKED.apply(self.get(*id)),
            Revocation::Subject { subject, until } => {
                let was_issued = |target: Target<'_>| target.was_issued_by(*until, clock_skew);
                let lives = those(Which::OfSubject(subject.clone()));
                End::REVOKED.apply(lives.filter(|core| core.matches(&was_issued)))
            }
            Revocation::IssuedUntil(moment) => {
                let was_issued = |target: Target<'_>| target.was_issued_by(*moment, clock_skew);
                End::REVOKED.apply(those(Which::All).filter(|core| core.matches(&was_issued)))
            }
        };
    }

    fn end_matching(&self, is_revoked: &dyn Fn(Target<'_>) -> bool) {
        End::REVOKED.apply(self.those(Which::All).filter(|core| core.matches(is_revoked)));
    }
}

impl Permit {
    fn registry(&self) -> &Arc<Registry> {
        match self {
            Self::Counted(slot) => &slot.0,
            Self::Uncounted(registry) => registry,
        }
    }
}

impl Registration {
    pub(in crate::session) fn registry(&self) -> Arc<Registry> {
        Arc::clone(self.place.registry())
    }

    pub(in crate::session) const fn is_counted(&self) -> bool {
        matches!(self.place, Permit::Counted(_))
    }

    /// See [`Registry::ordered`].
    pub(in crate::session) fn ordered(&self, core: &SessionCore, token_id: Option<&str>) -> Option<End> {
        self.place.registry().ordered(core, token_id)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let registry = self.place.registry();
        // Bound first, so that the shard is not locked any more.
        let removed = registry.shard(self.shard).remove(self.number);
        // Whoever ends the session may not have come so far, and finds nothing now.
        if let Some((core, true)) = removed {
            registry.release(&core);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.0.held.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.vacated.notify_waiters();
        }
    }
}
