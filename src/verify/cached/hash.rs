//! The hash that keys the cache.

use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher24};

/// 128 bits, so that collisions are negligible.
pub(in crate::verify) type TokenHash = u128;

/// SipHash with a random key. Without the key, nobody can construct a collision or recover a token from its hash.
pub(in crate::verify) struct TokenHasher(SipHasher24);

impl TokenHasher {
    pub(in crate::verify) fn new() -> Self {
        // `RandomState` is seeded by the operating system.
        let random = RandomState::new();
        Self(SipHasher24::new_with_keys(random.hash_one(0), random.hash_one(1)))
    }

    pub(in crate::verify) fn hash(&self, token: &str) -> TokenHash {
        let mut hasher = self.0;
        hasher.write(token.as_bytes());
        hasher.finish128().as_u128()
    }
}
