//! What one node knows of revocations, and the live sessions that it ends.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::Instant};

use super::{
    Revocation, RevocationOptions, RevocationStatus, RevocationStore, order::Standing, set::Set, store::AnyStore,
};
use crate::{TimeSource, lock::lock};

/// What a node knows.
pub(super) struct Node {
    pub(super) store: Box<dyn AnyStore>,
    pub(super) options: RevocationOptions,
    set: RwLock<Set>,
    /// When the node last knew all that there was.
    pub(super) known: watch::Sender<Option<Known>>,
    live: Mutex<Vec<Weak<dyn LiveSessions>>>,
    admitted_when_stale: AtomicU64,
    /// There is something that the store has not confirmed.
    pub(super) unconfirmed: AtomicBool,
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

/// The live sessions that a node ends.
pub(crate) trait LiveSessions: Send + Sync {
    /// Ends those that the order is about.
    fn revoke(&self, order: &Revocation);

    /// Ends those that stand on one of these.
    fn revoke_those(&self, is_revoked: &dyn Fn(Standing<'_>) -> bool);
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
        self.0.unconfirmed.store(true, Ordering::Release);
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
            unconfirmed: AtomicBool::new(false),
            time: TimeSource::default(),
        }
    }

    /// Whether a session may begin, or go on, that stands on this. It must be registered by now.
    pub(super) fn check(&self, standing: Standing<'_>) -> Result<(), Refused> {
        if self.read().has(standing) {
            return Err(Refused::Revoked);
        }
        if self.age().is_some_and(|age| age < self.options.max_staleness) {
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

    /// Notes orders, and then looks for those that they are about: whoever registers meanwhile finds them noted. What is
    /// known already has been looked for.
    pub(super) fn apply(&self, orders: &[(Revocation, Duration)]) {
        let new: Vec<&Revocation> = {
            let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
            orders
                .iter()
                .filter(|(order, keep_for)| set.add(order.clone(), *keep_for))
                .map(|(order, _)| order)
                .collect()
        };
        let live: Vec<_> = lock(&self.live).iter().filter_map(Weak::upgrade).collect();
        for live in live {
            // Each order may have to look at all sessions.
            if new.len() <= FEW {
                new.iter().for_each(|order| live.revoke(order));
            } else {
                live.revoke_those(&|standing| self.read().has(standing));
            }
        }
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

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }
}
