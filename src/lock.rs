//! The mutexes of this crate, and the atomics that several parties race on.
//!
//! Under `cfg(shuttle)` they are those of a checker that decides at each of their operations which thread goes on. So
//! `tests/races` runs this very code in thousands of orders.

use std::sync::PoisonError;
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};

/// Locks, even if a thread has panicked while it held the lock: no critical section of this crate leaves its data
/// half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
