//! What a node knows about the contents of the store.

use crate::{
    lock::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        lock,
    },
    store::Revocation,
};

/// The number of a load of the whole store. Later loads have greater numbers.
pub(super) type LoadId = u64;
/// The load of a revocation that the store has never returned to this node.
pub(super) const NEVER_LOADED: LoadId = 0;

#[derive(Default)]
pub(super) struct SyncState {
    last_begun: AtomicU64,
    last_finished: AtomicU64,
    /// Revocations that the store has confirmed and not returned yet. Its next answer must contain them.
    confirmed: Mutex<Vec<Revocation>>,
    /// The store may lack something that this node knows.
    needs_restore: AtomicBool,
}

impl SyncState {
    pub(super) fn begin_load(&self) -> LoadId {
        self.last_begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The load is applied. Revocations that it lacked will be restored.
    pub(super) fn finish_load(&self, load: LoadId) {
        // Restoring compares all revocations with this load.
        lock(&self.confirmed).clear();
        self.last_finished.store(load, Ordering::Release);
        self.request_restore();
    }

    pub(super) fn last_load(&self) -> LoadId {
        self.last_finished.load(Ordering::Acquire)
    }

    pub(super) fn note_confirmed(&self, revocation: Revocation) {
        lock(&self.confirmed).push(revocation);
    }

    /// How many confirmed revocations the store has not returned yet.
    pub(super) fn confirmed_count(&self) -> usize {
        lock(&self.confirmed).len()
    }

    /// Removes the oldest confirmed revocations.
    pub(super) fn take_confirmed(&self, count: usize) -> Vec<Revocation> {
        let mut confirmed = lock(&self.confirmed);
        let count = count.min(confirmed.len());
        confirmed.drain(..count).collect()
    }

    pub(super) fn request_restore(&self) {
        self.needs_restore.store(true, Ordering::Release);
    }

    pub(super) fn needs_restore(&self) -> bool {
        self.needs_restore.load(Ordering::Acquire)
    }

    /// Restoring begins, and covers all requests so far.
    pub(super) fn begin_restore(&self) {
        self.needs_restore.store(false, Ordering::Release);
    }
}
