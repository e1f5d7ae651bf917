#[cfg(feature = "signals")]
use std::time::Duration;
use std::{fmt, marker::PhantomData, sync::Arc, time::SystemTime};

use serde::de::DeserializeOwned;

#[cfg(feature = "signals")]
use super::header::HeaderCache;
#[cfg(any(feature = "dpop", feature = "signals"))]
use super::rules::BoundTokens;
use super::{
    JwtVerifierBuilder,
    claims::{NumericDate, Payload, Registered},
    compact::{Compact, DecodeBuffer},
    failure::{Failure, Refusal},
    header::Header,
    id::Id,
    rules::{KeyGeneration, Rules, Validity},
    signature::check_signature,
};
#[cfg(feature = "jwks")]
use crate::verify::jwks::{Freshness, IssuerKeys, IssuerStatus, StartError};
use crate::verify::{Verified, Verifier, VerifyError, VerifyInput};

/// Verifies JSON Web Tokens with claims of type `C`; see the [module docs](super).
///
/// Clones are cheap and share the keys.
pub struct JwtVerifier<C> {
    rules: Arc<Rules>,
    claims: PhantomData<fn() -> C>,
}

/// How tokens that are not access tokens are verified; see [`JwtVerifier::sibling`].
#[cfg(feature = "signals")]
pub(crate) struct TokenKind {
    /// The accepted `typ` values. If there are none, those of access tokens.
    pub(crate) token_types: Vec<String>,
    /// The token must be for one of these.
    pub(crate) audiences: Vec<String>,
    pub(crate) require_exp: bool,
}

/// A valid token, and how long it stays valid.
pub(crate) struct VerifiedToken<C> {
    pub(crate) verified: Verified<C>,
    pub(crate) validity: Validity,
}

impl<C: DeserializeOwned + Send + Sync + 'static> JwtVerifier<C> {
    /// Starts a builder without keys.
    pub fn builder() -> JwtVerifierBuilder<C> {
        JwtVerifierBuilder::new()
    }

    /// Starts a builder with the keys of this issuer, found by OpenID Connect Discovery; see [`IssuerKeys::discover`].
    #[cfg(feature = "jwks")]
    pub fn discover(issuer: impl Into<String>) -> JwtVerifierBuilder<C> {
        Self::builder().issuer_keys(IssuerKeys::discover(issuer))
    }

    pub(super) fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(rules), claims: PhantomData }
    }

    /// A verifier of another kind of token, which the same issuers sign with the same keys.
    #[cfg(feature = "signals")]
    pub(crate) fn sibling<D>(&self, kind: TokenKind) -> JwtVerifier<D> {
        let Rules { signers, leeway, provider_session_claim, integer_ids, .. } = &*self.rules;
        let rules = Rules {
            header_cache: HeaderCache::default(),
            signers: Arc::clone(signers),
            audiences: kind.audiences,
            any_audience: false,
            token_types: kind.token_types,
            bound_tokens: BoundTokens::Refuse,
            require_exp: kind.require_exp,
            leeway: *leeway,
            provider_session_claim: provider_session_claim.clone(),
            integer_ids: *integer_ids,
        };
        JwtVerifier { rules: Arc::new(rules), claims: PhantomData }
    }

    /// By how much the clocks of issuers may differ from this one.
    #[cfg(feature = "signals")]
    pub(crate) fn leeway(&self) -> Duration {
        self.rules.leeway
    }

    /// The same verifier, which also accepts tokens that are bound to keys of clients. It says to which. The
    /// caller checks that the client holds the key.
    #[cfg(feature = "dpop")]
    pub(crate) fn with_bound_tokens(self) -> Self {
        Self::new(Rules { bound_tokens: BoundTokens::NameKey, ..Arc::unwrap_or_clone(self.rules) })
    }

    /// The key status of each issuer added with [`issuer_keys`](JwtVerifierBuilder::issuer_keys), in the order in which
    /// they were added, then of those that [rules](JwtVerifierBuilder::issuers_where) have added since, by name.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.rules.signers.issuers.status()
    }

    /// Waits until the keys of all issuers are available, however long that takes. Does not wait for those of
    /// [rules](JwtVerifierBuilder::issuers_where), which are fetched when tokens need them.
    ///
    /// Useful if the verifier was [built](JwtVerifierBuilder::build) without waiting for them.
    ///
    /// # Errors
    ///
    /// If the keys cannot arrive anymore, because the tokio runtime in which the verifier was built has shut down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the keys are fetched in the background.
    #[cfg(feature = "jwks")]
    pub async fn ready(&self) -> Result<(), StartError> {
        self.rules.signers.issuers.ready().await
    }

    /// Waits for the first fetch of each issuer's keys.
    #[cfg(feature = "jwks")]
    pub(crate) async fn first_fetch(&self) -> Result<(), StartError> {
        self.rules.signers.issuers.first_fetch().await
    }

    /// Verifies a token. Returns `None` if its key is unknown and must be waited for.
    pub(crate) fn verify_token_now(&self, token: &str, now: SystemTime) -> Option<Result<VerifiedToken<C>, Refusal>> {
        match self.verify_with_known_keys(token, now) {
            Ok(verified) => Some(Ok(verified)),
            Err(Failure::Refused(refusal)) => Some(Err(refusal)),
            #[cfg(feature = "jwks")]
            Err(Failure::UnknownKey(_)) => None,
        }
    }

    /// Verifies a token. If its key is unknown, waits for the next fetch.
    #[cfg(any(feature = "introspection", feature = "signals"))]
    pub(crate) async fn verify_token(&self, token: &str, now: SystemTime) -> Result<VerifiedToken<C>, VerifyError> {
        self.verify_or_refuse(token, now).await.map_err(|refusal| refusal.error)
    }

    /// Verifies a token, or says which keys refused it. If its key is unknown, waits for the next fetch.
    pub(crate) async fn verify_or_refuse(&self, token: &str, now: SystemTime) -> Result<VerifiedToken<C>, Refusal> {
        #[cfg(feature = "jwks")]
        let (begin, mut now, mut freshness) = (tokio::time::Instant::now(), now, Freshness::MaybeStale);
        #[cfg_attr(not(feature = "jwks"), expect(clippy::never_loop, reason = "shared keys are never waited for"))]
        loop {
            match self.verify_with_known_keys(token, now) {
                Ok(verified) => return Ok(verified),
                Err(Failure::Refused(refusal)) => return Err(refusal),
                #[cfg(feature = "jwks")]
                Err(Failure::UnknownKey(key)) => {
                    freshness = key.wait_for_keys(freshness).await?;
                    // The token may have expired in the meantime.
                    now = now.checked_add(begin.elapsed()).unwrap_or(now);
                }
            }
        }
    }

    fn verify_with_known_keys(&self, token: &str, now: SystemTime) -> Result<VerifiedToken<C>, Failure> {
        let compact = Compact::parse(token)?;
        let cached = self.rules.header_cache.get(compact.header)?;
        let verified = self.verify_compact(&compact, cached.header(), now)?;
        self.rules.header_cache.store(cached);
        Ok(verified)
    }

    fn verify_compact(
        &self,
        compact: &Compact<'_>,
        header: &Header,
        now: SystemTime,
    ) -> Result<VerifiedToken<C>, Failure> {
        self.rules.check_type(header)?;
        let mut buffer = DecodeBuffer::new();
        // If issuers have their own keys, the claims must be read first to select them.
        #[cfg(feature = "jwks")]
        if !self.rules.signers.issuers.is_empty() {
            let payload = Payload::decode(compact, &mut buffer)?;
            // The claims are not authenticated yet, so the error must not quote them.
            let registered = self.registered(&payload).map_err(VerifyError::without_source)?;
            let generation = self.rules.check_issuer_signature(header, compact, &payload, &registered, now)?;
            return Ok(self.accept(&payload, registered, generation, now)?);
        }
        let signature = buffer.decode(compact.signature)?;
        check_signature(self.rules.signers.keys.iter(), header, compact.signed, signature)?;
        let payload = Payload::decode(compact, &mut buffer)?;
        let registered = self.registered(&payload)?;
        Ok(self.accept(&payload, registered, None, now)?)
    }

    pub(super) fn registered<'a>(&self, payload: &Payload<'a>) -> Result<Registered<'a>, VerifyError> {
        payload.registered(&self.rules.provider_session_claim, self.rules.integer_ids)
    }

    /// Checks the claims of a token whose signature is valid. Errors may quote them.
    pub(super) fn accept(
        &self,
        payload: &Payload<'_>,
        registered: Registered<'_>,
        key_generation: Option<KeyGeneration>,
        now: SystemTime,
    ) -> Result<VerifiedToken<C>, VerifyError> {
        let expires_at = self.rules.check_claims(&registered, now)?;
        let iss = registered.iss.as_ref().map(|iss| &*iss.0);
        let issuer = self.rules.signers.issuer_of(key_generation.as_ref(), iss);
        let validity = Validity { expires_at, not_before: registered.nbf, key_generation };
        #[cfg(feature = "dpop")]
        let confirmation = match self.rules.bound_tokens {
            BoundTokens::NameKey if registered.has_cnf => Some(payload.key_thumbprint()?),
            _ => None,
        };
        let shared = |id: Option<Id<'_>>| id.map(|id| Arc::from(id.as_str()));
        let verified = Verified {
            expires_at,
            subject: shared(registered.sub),
            issuer,
            token_id: shared(registered.jti),
            provider_session: registered.provider_session.map(|text| Arc::from(&*text.0)),
            issued_at: registered.iat.map(NumericDate::time),
            #[cfg(feature = "dpop")]
            confirmation,
            ..Verified::new(payload.claims()?)
        };
        Ok(VerifiedToken { verified, validity })
    }

    /// Whether a token that was valid before is valid now.
    pub(crate) fn is_still_valid(&self, validity: &Validity, now: SystemTime) -> bool {
        self.rules.is_still_valid(validity, now)
    }

    /// Whether the keys that refused a token are still in use.
    pub(crate) fn are_current(&self, keys: Option<&KeyGeneration>) -> bool {
        self.rules.are_current(keys)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier for JwtVerifier<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        self.verify_or_refuse(input.token.expose(), input.now)
            .await
            .map(|token| token.verified)
            .map_err(|refusal| refusal.error)
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<C>, VerifyError>> {
        let outcome = self.verify_token_now(input.token.expose(), input.now)?;
        Some(outcome.map(|token| token.verified).map_err(|refusal| refusal.error))
    }

    fn name(&self) -> &'static str {
        "jwt"
    }
}

// By hand, as below: a derive would require `C: Clone`.
impl<C> Clone for JwtVerifier<C> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), claims: PhantomData }
    }
}

impl<C> fmt::Debug for JwtVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JwtVerifier").field(&self.rules).finish()
    }
}
