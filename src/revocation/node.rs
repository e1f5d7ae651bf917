//! What one node knows of revocations, and the live sessions that it ends.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
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
    pub(super) known: watch::Sender<Option<Instant>>,
    live: Mutex<Vec<Weak<dyn LiveSessions>>>,
    admitted_when_stale: AtomicU64,
    /// There is something that the store has not confirmed.
    pub(super) unconfirmed: AtomicBool,
    pub(super) time: TimeSource,
}

/// The live sessions that a node ends.
pub(crate) trait LiveSessions: Send + Sync {
    /// Ends those that the order is about.
    fn revoke(&self, order: &Revocation);
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
        let is_fresh = self.known.borrow().is_some_and(|known| known.elapsed() < self.options.max_staleness);
        if is_fresh {
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
            age: self.known.borrow().map(|known| known.elapsed()),
            admitted_when_stale: self.admitted_when_stale.load(Ordering::Relaxed),
        }
    }

    /// Notes an order, and then looks for those that it is about: whoever registers meanwhile finds it noted.
    pub(super) fn apply(&self, order: &Revocation, keep_for: Duration) {
        self.set.write().unwrap_or_else(PoisonError::into_inner).add(order.clone(), keep_for);
        let live: Vec<_> = lock(&self.live).iter().filter_map(Weak::upgrade).collect();
        for live in live {
            live.revoke(order);
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }
}
