//! A map in many small parts, so that no single step takes long: neither growing, nor clearing, nor looking at all of it.

use std::{
    borrow::Borrow,
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
};

/// How many parts there are. With a million entries, one has four thousand.
pub(super) const SHARDS: usize = 256;
/// The number of entries in a part at which it is cleared for the first time.
const CLEAR_AT_LEAST: usize = 16;

pub(super) struct Sharded<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
    len: usize,
}

struct Shard<K, V> {
    map: HashMap<K, V>,
    /// The number of entries at which the old ones are removed.
    clear_at: usize,
}

impl<K: Hash + Eq, V> Sharded<K, V> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        // Most servers have no revocation at most times, and every handshake looks here.
        if self.len == 0 {
            return None;
        }
        self.shards.get(self.index(key))?.map.get(key)
    }

    pub(super) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.index(key);
        self.shards.get_mut(index)?.map.get_mut(key)
    }

    /// Adds an entry. A part that has doubled since it was last cleared is cleared of what `is_over`.
    pub(super) fn insert(&mut self, key: K, value: V, is_over: impl Fn(&V) -> bool) {
        let index = self.index(&key);
        let Some(shard) = self.shards.get_mut(index) else { return };
        if shard.map.len() >= shard.clear_at {
            let before = shard.map.len();
            shard.map.retain(|_, value| !is_over(value));
            self.len -= before - shard.map.len();
            shard.clear_at = shard.map.len().saturating_mul(2).max(CLEAR_AT_LEAST);
        }
        self.len += usize::from(shard.map.insert(key, value).is_none());
    }

    /// What is in one part.
    pub(super) fn shard(&self, index: usize) -> impl Iterator<Item = (&K, &V)> {
        self.shards.get(index).into_iter().flat_map(|shard| &shard.map)
    }

    fn index<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default()
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let shard = || Shard { map: HashMap::new(), clear_at: CLEAR_AT_LEAST };
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new(), len: 0 }
    }
}
