mod dead;
mod hash;

use std::{fmt, sync::Arc, time::SystemTime};

use quick_cache::sync::Cache;
use serde::de::DeserializeOwned;

use self::{
    dead::Dead,
    hash::{TokenHash, TokenHasher},
};
use super::{Verified, Verifier, VerifyError, VerifyInput};
use crate::{
    error::ConfigError,
    verify::jwt::{Checked, JwtVerifier},
};

/// Remembers which tokens a [`JwtVerifier`] has found good, and which it has found dead.
///
/// It says yes to a token that it has seen before without verifying the signature again, which is most of the work of
/// `RS256` and `ES256`; and no to one whose time is over since. For servers whose clients all come back at once: after a
/// restart, or when the network is there again.
///
/// - A token that was found **good** is so again while its `exp` and `nbf` say so, and while the issuer has the same keys: with
///   the first change of these all its tokens are verified anew, so that a key that was withdrawn counts no longer than it does
///   without a cache. Claims are cloned for each handshake.
/// - A token that was found **expired or badly signed** is refused without looking at it, and from the second time on the
///   answer has a `Retry-After`, of one second, then two, four, and five minutes at most: for clients that try the same dead
///   token for ever. A clock that is set back gives an expired one another chance, and any change of the keys a badly signed
///   one.
///
/// Tokens are not kept, only their hashes under a key that each process draws for itself; nobody can look for two tokens
/// with the same one (SipHash-2-4 with 128 bits). What is kept is bounded: 10 000 good tokens unless
/// [set](Self::capacity), each as large as its claims and some 300 bytes, and 4 096 dead ones. Dead ones do not push out
/// good ones.
///
/// Only the outcome for the token itself is kept: what depends on the request, such as
/// [`authorize`](Verifier::authorize), stands around this verifier and is asked each time.
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
/// // Yes, and again without verifying the signature.
/// for _ in 0..2 {
///     assert_eq!(verifier.verify(VerifyInput::new(&token, &parts, now)).await?.claims["sub"], "alice");
/// }
///
/// // No, once its time is over, whatever it was before; and who keeps on trying is told to wait.
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
    memory: Arc<Memory<C>>,
}

struct Memory<C> {
    hasher: TokenHasher,
    good: Cache<TokenHash, Arc<Checked<C>>>,
    dead: Cache<TokenHash, Arc<Dead>>,
}

const GOOD_TOKENS: usize = 10_000;
const DEAD_TOKENS: usize = 4096;

impl<C: Clone> CachedVerifier<C> {
    /// Remembers 10 000 good tokens of this verifier, because that many come back within a few seconds.
    pub fn new(verifier: JwtVerifier<C>) -> Self {
        Self { verifier, memory: Arc::new(Memory::new(GOOD_TOKENS)) }
    }

    /// Sets how many good tokens are remembered.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn capacity(self, tokens: usize) -> Result<Self, ConfigError> {
        if tokens == 0 {
            return Err(ConfigError::ZeroLimit("remembered tokens"));
        }
        Ok(Self { memory: Arc::new(Memory::new(tokens)), ..self })
    }
}

impl<C> Memory<C> {
    fn new(tokens: usize) -> Self {
        Self { hasher: TokenHasher::new(), good: Cache::new(tokens), dead: Cache::new(DEAD_TOKENS) }
    }
}

impl<C: Clone + DeserializeOwned + Send + Sync + 'static> Verifier for CachedVerifier<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        let question = Question::new(self, input);
        match question.recall() {
            Some(remembered) => remembered,
            None => question.remember(self.verifier.examine(question.token, question.now).await),
        }
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<C>, VerifyError>> {
        let question = Question::new(self, input);
        if let Some(remembered) = question.recall() {
            return Some(remembered);
        }
        Some(question.remember(self.verifier.examine_now(question.token, question.now)?))
    }
}

/// Whether a token is good.
struct Question<'a, C> {
    verifier: &'a JwtVerifier<C>,
    memory: &'a Memory<C>,
    token: &'a str,
    hash: TokenHash,
    now: SystemTime,
    /// As it was before the token was looked at, so that a change in the meantime is one.
    key_changes: Option<u64>,
}

impl<'a, C: Clone + DeserializeOwned + Send + Sync + 'static> Question<'a, C> {
    fn new(verifier: &'a CachedVerifier<C>, input: VerifyInput<'a>) -> Self {
        let CachedVerifier { verifier, memory } = verifier;
        let token = input.token.expose();
        let key_changes = verifier.key_changes();
        Self { verifier, memory, token, hash: memory.hasher.hash(token), now: input.now, key_changes }
    }

    fn recall(&self) -> Option<Result<Verified<C>, VerifyError>> {
        if let Some(checked) = self.memory.good.get(&self.hash)
            && self.verifier.still_stands(&checked.standing, self.now)
        {
            return Some(Ok(checked.verified.clone()));
        }
        self.memory.dead.get(&self.hash)?.refuse(self.now, self.key_changes).map(Err)
    }

    fn remember(&self, outcome: Result<Checked<C>, VerifyError>) -> Result<Verified<C>, VerifyError> {
        match outcome {
            Ok(checked) => {
                let checked = Arc::new(checked);
                self.memory.good.insert(self.hash, Arc::clone(&checked));
                Ok(checked.verified.clone())
            }
            Err(error) => {
                if let Some(found) = Dead::new(&error, self.now, self.key_changes) {
                    self.memory.dead.insert(self.hash, Arc::new(found));
                }
                Err(error)
            }
        }
    }
}

// By hand, like the one below: a derive would ask the same of `C`.
impl<C> Clone for CachedVerifier<C> {
    fn clone(&self) -> Self {
        Self { verifier: self.verifier.clone(), memory: Arc::clone(&self.memory) }
    }
}

impl<C> fmt::Debug for CachedVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedVerifier")
            .field("verifier", &self.verifier)
            .field("good", &self.memory.good.len())
            .field("dead", &self.memory.dead.len())
            .finish()
    }
}
