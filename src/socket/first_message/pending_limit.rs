//! Limits the clients that have not authenticated yet, in total and per key.

use std::{any::Any, collections::HashMap, hash::Hash, sync::Arc};

use http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::{Mutex, lock};

#[derive(Clone)]
pub(super) struct PendingLimit {
    total: Arc<Semaphore>,
    per_key: Option<Arc<dyn PerKeyLimit>>,
}

/// Held by a client until it has authenticated.
pub(crate) struct PendingPermit {
    _total: OwnedSemaphorePermit,
    _per_key: Option<PerKeyPermit>,
}

type PerKeyPermit = Box<dyn Any + Send + Sync>;

/// Erases the type of the key.
trait PerKeyLimit: Send + Sync {
    fn acquire(self: Arc<Self>, parts: &Parts) -> Option<PerKeyPermit>;
}

struct KeyedLimit<K, F> {
    max: usize,
    key: F,
    counts: Mutex<HashMap<K, usize>>,
}

struct KeyedPermit<K: Eq + Hash, F> {
    limit: Arc<KeyedLimit<K, F>>,
    key: K,
}

impl PendingLimit {
    pub(super) fn new(max: usize) -> Self {
        Self { total: semaphore(max), per_key: None }
    }

    pub(super) fn with_max(self, max: usize) -> Self {
        Self { total: semaphore(max), ..self }
    }

    pub(super) fn with_max_per_key<K, F>(self, max: usize, key: F) -> Self
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        F: Fn(&Parts) -> K + Send + Sync + 'static,
    {
        Self { per_key: Some(Arc::new(KeyedLimit { max, key, counts: Mutex::default() })), ..self }
    }

    /// `None` if the limit is reached, in total or for the key of this request.
    pub(super) fn acquire(&self, parts: &Parts) -> Option<PendingPermit> {
        let _total = Arc::clone(&self.total).try_acquire_owned().ok()?;
        let _per_key = match &self.per_key {
            Some(per_key) => Some(Arc::clone(per_key).acquire(parts)?),
            None => None,
        };
        Some(PendingPermit { _total, _per_key })
    }
}

impl<K, F> PerKeyLimit for KeyedLimit<K, F>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    F: Fn(&Parts) -> K + Send + Sync + 'static,
{
    fn acquire(self: Arc<Self>, parts: &Parts) -> Option<PerKeyPermit> {
        // Before the lock: the function is the application's.
        let key = (self.key)(parts);
        {
            let mut counts = lock(&self.counts);
            let count = counts.entry(key.clone()).or_default();
            if *count >= self.max {
                return None;
            }
            *count += 1;
        }
        Some(Box::new(KeyedPermit { limit: self, key }))
    }
}

impl<K: Eq + Hash, F> Drop for KeyedPermit<K, F> {
    fn drop(&mut self) {
        let mut counts = lock(&self.limit.counts);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

fn semaphore(max: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)))
}
