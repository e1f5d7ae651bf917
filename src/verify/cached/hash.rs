//! The name under which a token is remembered.

use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher24};

/// Long enough that two tokens never have the same one.
pub(super) type TokenHash = u128;

/// Hashes under a key of this process: who does not know it can neither find two tokens with the same hash, nor tell from
/// a hash what was hashed.
pub(super) struct TokenHasher(SipHasher24);

impl TokenHasher {
    pub(super) fn new() -> Self {
        // Keyed by the operating system's random numbers.
        let random = RandomState::new();
        Self(SipHasher24::new_with_keys(random.hash_one(0), random.hash_one(1)))
    }

    pub(super) fn hash(&self, token: &str) -> TokenHash {
        let mut hasher = self.0;
        hasher.write(token.as_bytes());
        hasher.finish128().as_u128()
    }
}
