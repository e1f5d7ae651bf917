//! A map in many small shards, so that no single step takes long: neither growth, nor the removal of expired entries,
//! nor a scan.

use std::{
    borrow::Borrow,
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
};

/// With a million entries, a shard has four thousand. The models in `tests/races` have few entries.
pub(super) const SHARDS: usize = if cfg!(shuttle) { 1 } else { 256 };
/// The number of entries in a shard at which expired ones are first removed.
const MIN_PURGE_AT: usize = 16;

pub(super) struct Sharded<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
    len: usize,
}

struct Shard<K, V> {
    map: HashMap<K, V>,
    /// The number of entries at which expired ones are removed next.
    purge_at: usize,
}

impl<K: Hash + Eq, V> Sharded<K, V> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        // Every handshake gets here, and usually there are no revocations.
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

    /// Adds an entry. Removes expired entries if the shard has doubled since the last removal.
    pub(super) fn insert(&mut self, key: K, value: V, is_expired: impl Fn(&V) -> bool) {
        let index = self.index(&key);
        let Some(shard) = self.shards.get_mut(index) else { return };
        if shard.map.len() >= shard.purge_at {
            let before = shard.map.len();
            shard.map.retain(|_, value| !is_expired(value));
            self.len -= before - shard.map.len();
            shard.purge_at = shard.map.len().saturating_mul(2).max(MIN_PURGE_AT);
        }
        self.len += usize::from(shard.map.insert(key, value).is_none());
    }

    /// The entries of one shard.
    pub(super) fn shard(&self, index: usize) -> impl Iterator<Item = (&K, &V)> {
        self.shards.get(index).into_iter().flat_map(|shard| &shard.map)
    }

    fn index<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default()
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let shard = || Shard { map: HashMap::new(), purge_at: MIN_PURGE_AT };
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new(), len: 0 }
    }
}
