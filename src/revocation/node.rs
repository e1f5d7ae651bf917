//! What one node knows of revocations, and the live sessions that it ends.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{self, Duration, SystemTime},
};

use tokio::{sync::watch, task::yield_now, time::Instant};

use super::{
    RevocationOptions, RevocationStatus,
    order::Target,
    set::{Load, NEVER, Set},
};
use crate::{
    lock::lock,
    store::{DynRevocationStore, Revocation, RevocationStore},
    time::TimeSource,
};

/// What a node knows.
pub(super) struct Node {
    pub(super) store: Box<dyn DynRevocationStore>,
    pub(super) options: RevocationOptions,
    set: RwLock<Set>,
    /// When the node last knew all that there was.
    pub(super) known: watch::Sender<Option<Known>>,
    live: Mutex<Vec<Weak<dyn LiveSessions>>>,
    admitted_when_stale: AtomicU64,
    /// The last load of the store that was applied, and the last one that was begun.
    load: AtomicU64,
    last_load: AtomicU64,
    /// Orders that the store confirmed, and that must therefore be in its next answer.
    confirmed: Mutex<Vec<Revocation>>,
    /// The store may not have all that this node knows.
    untold: AtomicBool,
    /// When the task that follows the store was last polled.
    beat: Mutex<Instant>,
    pub(super) time: TimeSource,
}

/// A moment on both clocks: the monotonic one may stand still while a machine sleeps.
#[derive(Clone, Copy)]
pub(super) struct Known {
    monotonic: Instant,
    wall: SystemTime,
}

impl Known {
    fn age(&self, now: &Self) -> Duration {
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        wall.max(now.monotonic.saturating_duration_since(self.monotonic))
    }
}

/// How many orders are looked for one by one.
const FEW: usize = 16;
/// For how long a task works on many orders before it lets others run.
const STRETCH: Duration = Duration::from_millis(1);
/// How many orders are noted before the clock is read again.
const CLOCK_EVERY: usize = 64;

/// The live sessions that a node ends.
pub(crate) trait LiveSessions: Send + Sync {
    /// Ends those that the order is about.
    fn revoke(&self, order: &Revocation, clock_skew: Duration);

    /// Ends those that stand on one of these.
    fn revoke_those(&self, is_revoked: &dyn Fn(Target<'_>) -> bool);
}

/// Why a session does not begin, or go on with another token.
#[derive(Clone, Copy)]
pub(crate) enum Refused {
    Revoked,
    /// It cannot be told.
    Stale,
}

/// An order that the store has yet to confirm. Dropped, it has not, and is to be told again.
pub(super) struct Unconfirmed<'a>(pub(super) &'a Node);

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        self.0.note_untold();
    }
}

impl Node {
    pub(super) fn new(store: impl RevocationStore, options: RevocationOptions) -> Self {
        Self {
            store: Box::new(store),
            options,
            set: RwLock::default(),
            known: watch::Sender::new(None),
            live: Mutex::default(),
            admitted_when_stale: AtomicU64::new(0),
            load: AtomicU64::new(NEVER),
            last_load: AtomicU64::new(NEVER),
            confirmed: Mutex::default(),
            untold: AtomicBool::new(false),
            beat: Mutex::new(Instant::now()),
            time: TimeSource::default(),
        }
    }

    /// Whether a session may begin, or go on, that stands on this. It must be registered by now.
    pub(super) fn check(&self, target: Target<'_>) -> Result<(), Refused> {
        if self.has(target) {
            return Err(Refused::Revoked);
        }
        if self.is_current() {
            return Ok(());
        }
        if !self.options.admit_when_stale {
            return Err(Refused::Stale);
        }
        self.admitted_when_stale.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Has the sessions of this registry end when they are revoked.
    pub(super) fn watch_over(&self, live: &Arc<dyn LiveSessions>) {
        let mut all = lock(&self.live);
        all.retain(|other| other.strong_count() > 0);
        if !all.iter().any(|other| std::ptr::addr_eq(other.as_ptr(), Arc::as_ptr(live))) {
            all.push(Arc::downgrade(live));
        }
    }

    /// How it stands.
    pub(super) fn status(&self) -> RevocationStatus {
        RevocationStatus {
            entries: self.read().len(),
            age: self.age(),
            admitted_when_stale: self.admitted_when_stale.load(Ordering::Relaxed),
        }
    }

    /// Notes an order of this node, and then ends the sessions that it is about: one that registers meanwhile finds it
    /// noted.
    pub(super) fn apply_own(&self, order: &Revocation) {
        if self.write().add(order, self.options.keep_for, NEVER) {
            self.live().iter().for_each(|live| live.revoke(order, self.options.clock_skew));
        }
    }

    /// Notes what the store reports, in short stretches, and then ends the sessions that it is about. What was known is only
    /// marked as seen.
    pub(super) async fn apply(&self, orders: Vec<(Revocation, Duration)>, seen: Load) {
        let mut orders = orders.into_iter();
        let mut count = 0_usize;
        let mut few = Vec::new();
        while !orders.as_slice().is_empty() {
            let stretch = Stretch::begin();
            {
                let mut set = self.write();
                for (number, (order, keep_for)) in orders.by_ref().enumerate() {
                    if set.add(&order, keep_for, seen) {
                        count += 1;
                        if count <= FEW {
                            few.push(order);
                        }
                    }
                    if number % CLOCK_EVERY == CLOCK_EVERY - 1 && stretch.is_over() {
                        break;
                    }
                }
            }
            if !orders.as_slice().is_empty() {
                yield_now().await;
            }
        }
        for live in self.live() {
            // Each order may have to look at all sessions.
            if count <= FEW {
                few.iter().for_each(|order| live.revoke(order, self.options.clock_skew));
            } else {
                live.revoke_those(&|target| self.has(target));
            }
        }
    }

    fn has(&self, target: Target<'_>) -> bool {
        self.read().has(target, self.options.clock_skew)
    }

    fn live(&self) -> Vec<Arc<dyn LiveSessions>> {
        lock(&self.live).iter().filter_map(Weak::upgrade).collect()
    }

    /// The number for a load that is about to begin.
    pub(super) fn begin_load(&self) -> Load {
        self.last_load.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// All of the load is applied: what it did not contain is to be told to the store.
    pub(super) fn finish_load(&self, load: Load) {
        // That load is looked through.
        lock(&self.confirmed).clear();
        self.load.store(load, Ordering::Release);
        self.note_untold();
    }

    /// The last load that was applied.
    pub(super) fn load(&self) -> Load {
        self.load.load(Ordering::Acquire)
    }

    /// The store has confirmed an order of this node.
    pub(super) fn note_confirmed(&self, order: Revocation) {
        lock(&self.confirmed).push(order);
    }

    /// How many orders the store has confirmed and not reported yet.
    pub(super) fn confirmed(&self) -> usize {
        lock(&self.confirmed).len()
    }

    /// The store has answered, and the first so many must be in what it has reported by now. Returns whether they are.
    pub(super) fn check_confirmed(&self, count: usize) -> bool {
        let confirmed: Vec<_> = {
            let mut confirmed = lock(&self.confirmed);
            let count = count.min(confirmed.len());
            confirmed.drain(..count).collect()
        };
        let (set, load) = (self.read(), self.load());
        confirmed.iter().all(|order| set.was_seen(order, load))
    }

    /// The store has what it was told.
    pub(super) fn note_told(&self, order: &Revocation, keep_for: Duration, load: Load) {
        self.write().add(order, keep_for, load);
    }

    /// There may be something that the store does not have.
    pub(super) fn note_untold(&self) {
        self.untold.store(true, Ordering::Release);
    }

    pub(super) fn has_untold(&self) -> bool {
        self.untold.load(Ordering::Acquire)
    }

    /// What is not told yet is about to be.
    pub(super) fn take_untold(&self) {
        self.untold.store(false, Ordering::Release);
    }

    /// Somebody follows the store.
    pub(super) fn beat(&self) {
        *lock(&self.beat) = Instant::now();
    }

    /// For how long nobody has followed the store.
    pub(super) fn since_beat(&self) -> Duration {
        lock(&self.beat).elapsed()
    }

    /// Whether what is known is new enough to admit somebody.
    pub(super) fn is_current(&self) -> bool {
        self.is_recent(*self.known.borrow())
    }

    /// Whether that was known a short enough time ago.
    pub(super) fn is_recent(&self, known: Option<Known>) -> bool {
        known.is_some_and(|known| known.age(&self.now()) < self.options.max_staleness)
    }

    /// The node knows all that there was at this moment.
    pub(super) fn confirm(&self, known: Known) {
        self.known.send_replace(Some(known));
    }

    pub(super) fn now(&self) -> Known {
        Known { monotonic: Instant::now(), wall: self.time.now() }
    }

    pub(super) fn age(&self) -> Option<Duration> {
        let now = self.now();
        self.known.borrow().map(|known| known.age(&now))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Set> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stretch of work on a thread that others need too.
pub(super) struct Stretch(time::Instant);

impl Stretch {
    pub(super) fn begin() -> Self {
        Self(time::Instant::now())
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.elapsed() >= STRETCH
    }
}
