//! How many clients may be waited for, in all and of one kind.

use std::{
    any::Any,
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
};

use http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// The places of the clients that have yet to authenticate.
#[derive(Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    shares: Option<Arc<dyn Shares>>,
}

/// A place among the clients that have yet to authenticate.
pub(crate) struct PendingPermit {
    _of_all: OwnedSemaphorePermit,
    _share: Option<Share>,
}

type Share = Box<dyn Any + Send + Sync>;

/// Divides the places by a key, whose type is forgotten here.
trait Shares: Send + Sync {
    fn take(self: Arc<Self>, parts: &Parts) -> Option<Share>;
}

struct ByKey<K, F> {
    most: usize,
    key: F,
    taken: Mutex<HashMap<K, usize>>,
}

struct Taken<K: Eq + Hash, F> {
    of: Arc<ByKey<K, F>>,
    key: K,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { all: semaphore(most), shares: None }
    }

    pub(super) fn at_most(self, most: usize) -> Self {
        Self { all: semaphore(most), ..self }
    }

    pub(super) fn at_most_per_key<K, F>(self, most: usize, key: F) -> Self
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        F: Fn(&Parts) -> K + Send + Sync + 'static,
    {
        Self { shares: Some(Arc::new(ByKey { most, key, taken: Mutex::default() })), ..self }
    }

    /// `None` if all are taken, or all of those with the request's key.
    pub(super) fn take(&self, parts: &Parts) -> Option<PendingPermit> {
        let _of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let _share = match &self.shares {
            Some(shares) => Some(Arc::clone(shares).take(parts)?),
            None => None,
        };
        Some(PendingPermit { _of_all, _share })
    }
}

impl<K, F> Shares for ByKey<K, F>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    F: Fn(&Parts) -> K + Send + Sync + 'static,
{
    fn take(self: Arc<Self>, parts: &Parts) -> Option<Share> {
        // Not under the lock: it is the application's.
        let key = (self.key)(parts);
        {
            let mut taken = lock(&self.taken);
            let count = taken.entry(key.clone()).or_default();
            if *count >= self.most {
                return None;
            }
            *count += 1;
        }
        Some(Box::new(Taken { of: self, key }))
    }
}

impl<K: Eq + Hash, F> Drop for Taken<K, F> {
    fn drop(&mut self) {
        let mut taken = lock(&self.of.taken);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

fn semaphore(most: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}
