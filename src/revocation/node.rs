//! The revocations that one node knows, and the live sessions that they end.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::{self, Duration},
};

use tokio::{task::yield_now, time::Instant};

use super::{
    RevocationOptions, RevocationStatus,
    freshness::Freshness,
    set::RevocationSet,
    sync::{LoadId, NEVER_LOADED, SyncState},
    target::Target,
};
use crate::{
    lock::{
        Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
        lock,
    },
    store::{DynRevocationStore, Revocation, RevocationStore},
};

pub(super) struct Node {
    pub(super) store: Box<dyn DynRevocationStore>,
    pub(super) options: RevocationOptions,
    pub(super) freshness: Freshness,
    pub(super) sync: SyncState,
    set: RwLock<RevocationSet>,
    registries: Mutex<Vec<Weak<dyn LiveSessions>>>,
    admitted_when_stale: AtomicU64,
    /// When the task that follows the store was last polled.
    polled: Mutex<Instant>,
}

/// Up to this many new revocations are matched one by one, each against the sessions that it names. More are matched
/// together, against all sessions.
const MAX_SINGLE_MATCHES: usize = 16;
/// How long a task works on many revocations before it yields. The models in `tests/races` yield wherever that is
/// possible.
const TIME_SLICE: Duration = Duration::from_millis(if cfg!(shuttle) { 0 } else { 1 });
/// How many revocations are added before the clock is read again.
const ADDED_PER_CLOCK_READING: usize = if cfg!(shuttle) { 1 } else { 64 };

/// The live sessions of a registry.
pub(crate) trait LiveSessions: Send + Sync {
    /// Ends the sessions that this revocation names.
    fn end_revoked(&self, revocation: &Revocation, clock_skew: Duration);

    /// Ends the sessions for which the predicate is true.
    fn end_matching(&self, is_revoked: &dyn Fn(Target<'_>) -> bool);
}

/// Why a session may not begin, or go on with a new token.
#[derive(Clone, Copy)]
pub(crate) enum CheckError {
    Revoked,
    /// The node's copy of the store is too old.
    Stale,
}

impl Node {
    pub(super) fn new(store: impl RevocationStore, options: RevocationOptions) -> Self {
        Self {
            store: Box::new(store),
            options,
            freshness: Freshness::new(options.max_staleness),
            sync: SyncState::default(),
            set: RwLock::default(),
            registries: Mutex::default(),
            admitted_when_stale: AtomicU64::new(0),
            polled: Mutex::new(Instant::now()),
        }
    }

    /// Whether a session may begin, or go on, with these properties. It must be registered already.
    pub(super) fn check(&self, target: Target<'_>) -> Result<(), CheckError> {
        if self.is_revoked(target) {
            return Err(CheckError::Revoked);
        }
        if self.freshness.is_current() {
            return Ok(());
        }
        if !self.options.admit_when_stale {
            return Err(CheckError::Stale);
        }
        self.admitted_when_stale.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the sessions of this registry when they are revoked.
    pub(super) fn attach(&self, sessions: &Arc<dyn LiveSessions>) {
        let mut registries = lock(&self.registries);
        registries.retain(|other| other.strong_count() > 0);
        if !registries.iter().any(|other| std::ptr::addr_eq(other.as_ptr(), Arc::as_ptr(sessions))) {
            registries.push(Arc::downgrade(sessions));
        }
    }

    /// Whether no other registry has sessions that these revocations end.
    #[cfg(feature = "signals")]
    pub(super) fn is_only_registry(&self, sessions: &Arc<dyn LiveSessions>) -> bool {
        self.live_sessions().iter().all(|other| std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(sessions)))
    }

    pub(super) fn status(&self) -> RevocationStatus {
        RevocationStatus {
            entries: self.read().len(),
            age: self.freshness.age(),
            is_current: self.freshness.is_current(),
            admits_when_stale: self.options.admit_when_stale,
            admitted_when_stale: self.admitted_when_stale.load(Ordering::Relaxed),
        }
    }

    /// Records a revocation from this node, and then ends its sessions: one that is registered in between is refused by
    /// its check. A known revocation ends sessions too: the task that recorded it may not have ended them yet.
    pub(super) fn apply_own(&self, revocation: &Revocation) {
        self.write().add(revocation, self.options.keep_for, NEVER_LOADED);
        self.live_sessions().iter().for_each(|live| live.end_revoked(revocation, self.options.clock_skew));
    }

    /// Records what the store has returned, in short steps, and then ends the sessions. Known revocations are only
    /// marked as seen in this load.
    pub(super) async fn apply(&self, revocations: Vec<(Revocation, Duration)>, load: LoadId) {
        let mut revocations = revocations.into_iter();
        let mut new = NewRevocations { node: self, count: 0, first: Vec::new() };
        while !revocations.as_slice().is_empty() {
            let slice = TimeSlice::begin();
            {
                let mut set = self.write();
                for (number, (revocation, keep_for)) in revocations.by_ref().enumerate() {
                    if set.add(&revocation, keep_for, load) {
                        new.push(revocation);
                    }
                    if number % ADDED_PER_CLOCK_READING == ADDED_PER_CLOCK_READING - 1 && slice.is_over() {
                        break;
                    }
                }
            }
            if !revocations.as_slice().is_empty() {
                yield_now().await;
            }
        }
    }

    /// Whether the store has by now returned the oldest confirmed revocations, this many. Forgets them.
    pub(super) fn check_confirmed(&self, count: usize) -> bool {
        let confirmed = self.sync.take_confirmed(count);
        let (set, load) = (self.read(), self.sync.last_load());
        confirmed.iter().all(|revocation| set.was_seen_since(revocation, load))
    }

    /// Marks a revocation that the store has confirmed as seen in this load.
    pub(super) fn mark_seen(&self, revocation: &Revocation, keep_for: Duration, load: LoadId) {
        self.write().add(revocation, keep_for, load);
    }

    /// The task that follows the store was polled.
    pub(super) fn note_polled(&self) {
        *lock(&self.polled) = Instant::now();
    }

    pub(super) fn since_polled(&self) -> Duration {
        lock(&self.polled).elapsed()
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, RevocationSet> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, RevocationSet> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_revoked(&self, target: Target<'_>) -> bool {
        self.read().is_revoked(target, self.options.clock_skew)
    }

    fn live_sessions(&self) -> Vec<Arc<dyn LiveSessions>> {
        lock(&self.registries).iter().filter_map(Weak::upgrade).collect()
    }
}

/// What was recorded and was not known. Ends the sessions when it is dropped, also because the task was aborted: the
/// next task takes for known what this one has recorded.
struct NewRevocations<'a> {
    node: &'a Node,
    count: usize,
    /// At most [`MAX_SINGLE_MATCHES`].
    first: Vec<Revocation>,
}

impl NewRevocations<'_> {
    fn push(&mut self, revocation: Revocation) {
        self.count += 1;
        if self.count <= MAX_SINGLE_MATCHES {
            self.first.push(revocation);
        }
    }
}

impl Drop for NewRevocations<'_> {
    fn drop(&mut self) {
        for live in self.node.live_sessions() {
            if self.count <= MAX_SINGLE_MATCHES {
                self.first.iter().for_each(|revocation| live.end_revoked(revocation, self.node.options.clock_skew));
            } else {
                live.end_matching(&|target| self.node.is_revoked(target));
            }
        }
    }
}

/// Limits how long a task keeps a thread that other tasks need too.
pub(super) struct TimeSlice(time::Instant);

impl TimeSlice {
    pub(super) fn begin() -> Self {
        Self(time::Instant::now())
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.elapsed() >= TIME_SLICE
    }
}
