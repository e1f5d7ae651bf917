//! Counts the connections of each address.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
};

use super::Key;
use crate::lock::{Mutex, MutexGuard, lock};

/// It has an entry for each address that is connected, and no others. So it needs no bound of its own: a connection
/// takes far more memory than its entry.
pub(super) struct Connections {
    max: usize,
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<Key, usize>>]>,
}

const SHARDS: usize = 64;

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self { max, hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Counts another connection, if the limit allows it.
    pub(super) fn add(&self, key: Key) -> bool {
        let mut shard = self.shard(key);
        let count = shard.entry(key).or_default();
        let is_allowed = *count < self.max;
        if is_allowed {
            *count += 1;
        }
        is_allowed
    }

    pub(super) fn remove(&self, key: Key) {
        let mut shard = self.shard(key);
        if let Entry::Occupied(mut count) = shard.entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, HashMap<Key, usize>> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        lock(self.shards.get(index).expect("an index of a shard"))
    }
}
