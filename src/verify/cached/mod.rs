mod hash;
mod negative;

use std::{fmt, sync::Arc, time::SystemTime};

use quick_cache::sync::Cache;
use serde::de::DeserializeOwned;

pub(super) use self::hash::{TokenHash, TokenHasher};
use self::negative::NegativeEntry;
use super::{Verified, Verifier, VerifyError, VerifyInput};
use crate::{
    error::ConfigError,
    verify::jwt::{JwtVerifier, Refusal, VerifiedToken},
};

/// Caches the outcomes of a [`JwtVerifier`].
///
/// A valid token is verified once. Later handshakes skip the signature, which is most of the work of `RS256` and
/// `ES256`. This helps if many clients reconnect at once, after a restart or a network outage.
///
/// - A **valid** token is accepted from the cache while its `exp` and `nbf` allow it and its issuer's keys are
///   unchanged. When these change, all tokens of that issuer are verified again, so a withdrawn key stays in use no
///   longer than without a cache. Claims are cloned for each handshake.
/// - An **expired or badly signed** token is refused from the cache. From the second time on, the response has a
///   `Retry-After` of one second, then two, four, and so on up to five minutes, to slow down clients that retry the
///   same token forever. An expired token is verified again if the clock is set back, and a badly signed one if its
///   issuer's keys change.
///
/// The cache holds no tokens, only their hashes (SipHash-2-4 with 128 bits and a random key per verifier), so nobody
/// can construct collisions. It is bounded: 10 000 valid tokens by default ([`capacity`](Self::capacity) sets another
/// limit), each the size of its claims plus about 300 bytes, and 4 096 refused ones. Refused tokens never evict valid
/// ones.
///
/// Only the outcome for the token is cached. Checks that depend on the request, such as
/// [`authorize`](Verifier::authorize), wrap this verifier and run each time.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{CachedVerifier, ConfigError, Token, Verifier, VerifyErrorKind, VerifyInput};
/// use axum_ws_auth::test_util::{self, TestToken, handshake};
/// use std::time::{Duration, SystemTime};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = CachedVerifier::new(test_util::verifier::<serde_json::Value>()).capacity(50_000)?;
/// let (parts, _) = handshake().build().into_parts();
/// let now = SystemTime::now();
/// let token = Token::new(TestToken::new("alice").expires_at(now + Duration::from_secs(60)).sign());
///
/// // Yes, the second time from the cache.
/// for _ in 0..2 {
///     assert_eq!(verifier.verify(VerifyInput::new(&token, &parts, now)).await?.claims["sub"], "alice");
/// }
///
/// // No: it has expired. Clients that retry are told to wait.
/// let later = now + Duration::from_secs(100);
/// for retry_after in [None, Some(1), Some(2), Some(4)] {
///     let error = verifier.verify(VerifyInput::new(&token, &parts, later)).await.unwrap_err();
///     assert_eq!(error.kind(), VerifyErrorKind::Expired);
///     assert_eq!(error.retry_after(), retry_after.map(Duration::from_secs));
/// }
/// # Ok(()) }
/// ```
pub struct CachedVerifier<C> {
    verifier: JwtVerifier<C>,
    cache: Arc<TokenCache<C>>,
}

struct TokenCache<C> {
    hasher: TokenHasher,
    valid: Cache<TokenHash, Arc<VerifiedToken<C>>>,
    refused: Cache<TokenHash, Arc<NegativeEntry>>,
}

const DEFAULT_CAPACITY: usize = 10_000;
const REFUSED_CAPACITY: usize = 4096;

impl<C: Clone> CachedVerifier<C> {
    /// Caches up to 10 000 valid tokens of this verifier, because about that many clients reconnect within a few
    /// seconds.
    pub fn new(verifier: JwtVerifier<C>) -> Self {
        Self { verifier, cache: Arc::new(TokenCache::new(DEFAULT_CAPACITY)) }
    }

    /// Sets the maximum number of valid tokens in the cache. Defaults to 10 000.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn capacity(self, tokens: usize) -> Result<Self, ConfigError> {
        if tokens == 0 {
            return Err(ConfigError::ZeroLimit("cached tokens"));
        }
        Ok(Self { cache: Arc::new(TokenCache::new(tokens)), ..self })
    }
}

impl<C> TokenCache<C> {
    fn new(capacity: usize) -> Self {
        Self { hasher: TokenHasher::new(), valid: Cache::new(capacity), refused: Cache::new(REFUSED_CAPACITY) }
    }
}

impl<C: Clone + DeserializeOwned + Send + Sync + 'static> Verifier for CachedVerifier<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        let lookup = Lookup::new(self, input);
        match lookup.get() {
            Some(cached) => cached,
            None => lookup.store(self.verifier.verify_or_refuse(lookup.token, lookup.now).await),
        }
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<C>, VerifyError>> {
        let lookup = Lookup::new(self, input);
        if let Some(cached) = lookup.get() {
            return Some(cached);
        }
        Some(lookup.store(self.verifier.verify_token_now(lookup.token, lookup.now)?))
    }

    fn name(&self) -> &'static str {
        "cached"
    }
}

/// The lookup of one token in the cache.
struct Lookup<'a, C> {
    verifier: &'a JwtVerifier<C>,
    cache: &'a TokenCache<C>,
    token: &'a str,
    hash: TokenHash,
    now: SystemTime,
}

impl<'a, C: Clone + DeserializeOwned + Send + Sync + 'static> Lookup<'a, C> {
    fn new(verifier: &'a CachedVerifier<C>, input: VerifyInput<'a>) -> Self {
        let CachedVerifier { verifier, cache } = verifier;
        let token = input.token.expose();
        Self { verifier, cache, token, hash: cache.hasher.hash(token), now: input.now }
    }

    fn get(&self) -> Option<Result<Verified<C>, VerifyError>> {
        if let Some(token) = self.cache.valid.get(&self.hash)
            && self.verifier.is_still_valid(&token.validity, self.now)
        {
            return Some(Ok(token.verified.clone()));
        }
        self.cache.refused.get(&self.hash)?.refuse(self.now, |keys| self.verifier.are_current(keys)).map(Err)
    }

    fn store(&self, outcome: Result<VerifiedToken<C>, Refusal>) -> Result<Verified<C>, VerifyError> {
        match outcome {
            Ok(token) => {
                let token = Arc::new(token);
                self.cache.valid.insert(self.hash, Arc::clone(&token));
                Ok(token.verified.clone())
            }
            Err(refusal) => {
                if let Some(entry) = NegativeEntry::new(&refusal, self.now) {
                    self.cache.refused.insert(self.hash, Arc::new(entry));
                }
                Err(refusal.error)
            }
        }
    }
}

// By hand, as below: a derive would require `C: Clone`.
impl<C> Clone for CachedVerifier<C> {
    fn clone(&self) -> Self {
        Self { verifier: self.verifier.clone(), cache: Arc::clone(&self.cache) }
    }
}

impl<C> fmt::Debug for CachedVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedVerifier")
            .field("verifier", &self.verifier)
            .field("valid", &self.cache.valid.len())
            .field("refused", &self.cache.refused.len())
            .finish()
    }
}
