use std::{sync::Arc, time::Duration};

use super::{Dpop, nonce::Nonces, rules::Rules};
use crate::{error::ConfigError, store::TicketStore, verify::jwt::Algorithm};

const MAX_AGE: Duration = Duration::from_secs(3600);

/// # Settings
impl<C> Dpop<C> {
    /// Sets the algorithms that proofs may be signed with.
    ///
    /// Defaults to `ES256` and `EdDSA`, which all common clients can use, and whose keys are short.
    ///
    /// # Errors
    ///
    /// If the list is empty, or has a symmetric algorithm.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Result<Self, ConfigError> {
        let algorithms: Vec<Algorithm> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(ConfigError::Empty("list of algorithms"));
        }
        let symmetric = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        if let Some(algorithm) = algorithms.iter().find(|algorithm| symmetric.contains(algorithm)) {
            return Err(ConfigError::SymmetricProof(format!("{algorithm:?}")));
        }
        self.rules().algorithms = algorithms;
        Ok(self)
    }

    /// Sets how old a proof may be. Its `iat` may also be ten seconds in the future.
    ///
    /// Defaults to a minute: a client makes each proof for one request, and their clocks differ.
    ///
    /// # Errors
    ///
    /// If it is zero or longer than an hour.
    pub fn max_age(mut self, age: Duration) -> Result<Self, ConfigError> {
        if age.is_zero() {
            return Err(ConfigError::ZeroDuration("age of a proof"));
        }
        if age > MAX_AGE {
            return Err(ConfigError::LongProofAge(age));
        }
        self.rules().max_age = age;
        Ok(self)
    }

    /// Notes in this store which proofs were used, for as long as they would be accepted. Nodes that share a store
    /// accept a proof once.
    ///
    /// A store that is full or unavailable refuses bound tokens with 503. Defaults to
    /// [`MemoryTickets`](crate::MemoryTickets) of its own, for a single process, with room for 500 000 proofs.
    #[must_use]
    pub fn store(mut self, store: impl TicketStore) -> Self {
        self.rules().used = Arc::new(store);
        self
    }

    /// Also accepts tokens that are bound to no key, as bearer tokens (RFC 9449 §7.2): for a time in which not all
    /// clients can make proofs. Which tokens are bound is up to their issuer, and nobody can make a bearer token of a
    /// bound one.
    ///
    /// Defaults to refusing them as [`NotBound`](crate::VerifyErrorKind::NotBound), because they can be stolen.
    #[must_use]
    pub fn accept_bearer(mut self) -> Self {
        self.rules().accepts_bearer = true;
        self
    }

    /// Requires a nonce of this server in each proof, which is not older than five minutes (RFC 9449 §9). So a client,
    /// or an attacker who controls it for a while, cannot make proofs in advance.
    ///
    /// A proof without one is refused as [`UseDpopNonce`](crate::VerifyErrorKind::UseDpopNonce), and the answer has a
    /// nonce: as the header `DPoP-Nonce`, and as `dpop_nonce` in the message of
    /// [`RefreshProtocol::json`](crate::RefreshProtocol::json). A page cannot read the answer to a refused handshake.
    /// It needs a nonce from elsewhere first, for example from a `fetch` of another route of the layer.
    ///
    /// The server keeps no nonces. It signs them with a random key; with several nodes, use
    /// [`require_nonce_of`](Self::require_nonce_of). Defaults to off, because it costs each client a request.
    ///
    /// # Errors
    ///
    /// If the operating system provides no random numbers.
    pub fn require_nonce(mut self) -> Result<Self, ConfigError> {
        self.rules().nonces = Some(Nonces::random()?);
        Ok(self)
    }

    /// The same, with a key that several nodes share, of at least 32 bytes.
    ///
    /// # Errors
    ///
    /// As for [`JwtKey::secret`](crate::jwt::JwtKey::secret).
    pub fn require_nonce_of(mut self, key: &[u8]) -> Result<Self, ConfigError> {
        self.rules().nonces = Some(Nonces::new(key)?);
        Ok(self)
    }

    pub(super) fn challenge(&self) -> (String, bool) {
        (self.rules.algorithm_names(), self.rules.accepts_bearer)
    }

    fn rules(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.rules)
    }
}
