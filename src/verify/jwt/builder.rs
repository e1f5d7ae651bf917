use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use super::{
    header::HeaderCache,
    rules::{BoundTokens, Rules, Signers},
};
#[cfg(feature = "jwks")]
use crate::verify::jwks::{IssuerKeys, IssuerRule};
use crate::{
    error::ConfigError,
    verify::keys::{Jwk, JwtKey},
};

/// Builds a [`JwtVerifier`](super::JwtVerifier); see the [module docs](super).
#[must_use]
pub struct JwtVerifierBuilder<C> {
    pub(super) rules: Rules,
    pub(super) signers: Signers,
    #[cfg(feature = "jwks")]
    pub(super) issuer_keys: Vec<IssuerKeys>,
    #[cfg(feature = "jwks")]
    pub(super) issuer_rules: Vec<IssuerRule>,
    claims: PhantomData<fn() -> C>,
}

impl<C> JwtVerifierBuilder<C> {
    pub(super) fn new() -> Self {
        let rules = Rules {
            header_cache: HeaderCache::default(),
            signers: Arc::default(),
            audiences: Vec::new(),
            any_audience: false,
            token_types: Vec::new(),
            bound_tokens: BoundTokens::Refuse,
            require_exp: true,
            leeway: Duration::from_secs(30),
            provider_session_claim: "sid".to_owned(),
            integer_ids: false,
        };
        Self {
            rules,
            signers: Signers::default(),
            #[cfg(feature = "jwks")]
            issuer_keys: Vec::new(),
            #[cfg(feature = "jwks")]
            issuer_rules: Vec::new(),
            claims: PhantomData,
        }
    }

    /// Adds an HMAC secret for `HS256`.
    ///
    /// # Errors
    ///
    /// As for [`JwtKey::secret`].
    pub fn secret(self, secret: &[u8]) -> Result<Self, ConfigError> {
        JwtKey::secret(secret).map(|key| self.key(key))
    }

    /// Adds a public key in PEM.
    ///
    /// # Errors
    ///
    /// As for [`JwtKey::pem`].
    pub fn pem(self, pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        JwtKey::pem(pem).map(|key| self.key(key))
    }

    /// Adds a public key in DER.
    ///
    /// # Errors
    ///
    /// As for [`JwtKey::der`].
    pub fn der(self, der: &[u8]) -> Result<Self, ConfigError> {
        JwtKey::der(der).map(|key| self.key(key))
    }

    /// Adds a JSON Web Key.
    ///
    /// # Errors
    ///
    /// As for [`JwtKey::jwk`].
    pub fn jwk(self, jwk: &Jwk) -> Result<Self, ConfigError> {
        JwtKey::jwk(jwk).map(|key| self.key(key))
    }

    /// Adds a key with its own key id or algorithm. Keys of different kinds can be combined.
    pub fn key(mut self, key: JwtKey) -> Self {
        self.signers.keys.push(key);
        self
    }

    /// Adds an issuer with its own key set, fetched or local; see [`jwks`](crate::jwks).
    ///
    /// A token whose `iss` names this issuer is verified with these keys only, and these keys verify no other tokens
    /// (RFC 8725 §3.8). Several issuers can be added, and combined with keys that are added one by one.
    #[cfg(feature = "jwks")]
    pub fn issuer_keys(mut self, keys: IssuerKeys) -> Self {
        self.issuer_keys.push(keys);
        self
    }

    /// Adds issuers that a rule recognizes, such as a realm for each tenant. Their keys are fetched when their first
    /// token arrives, within bounds; see [`IssuerRule`].
    ///
    /// As with `issuer_keys`, the keys of an issuer verify its own tokens only. An issuer that is added with
    /// `issuer_keys` too has those keys.
    #[cfg(feature = "jwks")]
    pub fn issuers_where(mut self, rule: IssuerRule) -> Self {
        self.issuer_rules.push(rule);
        self
    }

    /// Adds an allowed issuer: a token's `iss` must equal one of those added.
    ///
    /// Keys that are added one by one verify tokens of all these issuers. Issuers with different keys need
    /// `issuer_keys` (feature `jwks`), or one verifier each, combined with [`Verifier::or`](crate::Verifier::or).
    /// Otherwise one issuer could sign in the name of another (RFC 8725 §3.8).
    ///
    /// Defaults to none, which ignores `iss`, because a key that only one issuer holds already identifies it.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.signers.allowed_issuers.push(Arc::from(issuer.into()));
        self
    }

    /// Adds an audience: a token's `aud` must name one of those added.
    ///
    /// Defaults to none, which refuses every token with an `aud`, because it was issued for another service (RFC 7519
    /// §4.1.3).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.rules.audiences.push(audience.into());
        self
    }

    /// Ignores `aud`.
    ///
    /// Insecure because tokens that the same issuer made for other services are then accepted here too.
    pub fn insecure_any_audience(mut self) -> Self {
        self.rules.any_audience = true;
        self
    }

    /// Adds a token type: the header's `typ` must be one of those added. The comparison ignores case and a leading
    /// `application/` (RFC 7515 §4.1.9).
    ///
    /// Defaults to `JWT`, `at+jwt` (RFC 9068 §2.1) or no `typ`, because these are what issuers write into access
    /// tokens. Any other type is refused: a `logout+jwt` or `dpop+jwt` is not an access token (RFC 8725 §3.11). Add
    /// only `at+jwt` if the issuer signs other kinds of tokens as `JWT` with the same key.
    pub fn token_type(mut self, token_type: impl Into<String>) -> Self {
        self.rules.token_types.push(token_type.into());
        self
    }

    /// Accepts tokens that are bound to a key (`cnf`, RFC 7800) as if they were bearer tokens.
    ///
    /// Insecure unless something else checks that the client holds that key, by a DPoP proof (RFC 9449) or a TLS client
    /// certificate (RFC 8705). [`authorize`](crate::Verifier::authorize) can do that check: it gets the claims and the
    /// request. Without the check, a stolen token can be used, which the binding is meant to prevent.
    ///
    /// Defaults to refusing every token with a `cnf`, as
    /// [`SenderConstrained`](crate::VerifyErrorKind::SenderConstrained), because this verifier does not check such
    /// proofs.
    pub const fn insecure_ignore_cnf(mut self) -> Self {
        self.rules.bound_tokens = BoundTokens::IgnoreBinding;
        self
    }

    /// Sets the claim that holds the id of the user's session at the identity provider; see
    /// [`Verified::provider_session`](crate::Verified::provider_session). It must be a string.
    ///
    /// Defaults to `sid`, its registered name (OpenID Connect Front-Channel Logout 1.0 §3). A token without it is
    /// accepted, but is not affected by the log-out of one session.
    pub fn provider_session_claim(mut self, name: impl Into<String>) -> Self {
        self.rules.provider_session_claim = name.into();
        self
    }

    /// Accepts integers in `sub` and `jti`, as some issuers write them against RFC 7519 §4.1.2. They become their
    /// decimal text: the subject `7` is the same as `"7"`.
    ///
    /// Integers from −2⁶³ to 2⁶⁴ − 1 are exact. Anything that may be rounded is refused: larger numbers, fractions,
    /// exponents, and `-0`.
    ///
    /// Defaults to refusing them, because an issuer could have both a user `7` and a user `"7"`.
    pub const fn integer_ids(mut self) -> Self {
        self.rules.integer_ids = true;
        self
    }

    /// Sets the tolerance for clock differences in `exp` and `nbf`; at most an hour. Defaults to 30 seconds, because
    /// the clocks of servers differ.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Accepts tokens without `exp`.
    ///
    /// Insecure because a stolen token without `exp` works forever.
    pub const fn insecure_allow_missing_exp(mut self) -> Self {
        self.rules.require_exp = false;
        self
    }
}

// By hand: a derive would require `C: Debug`.
impl<C> fmt::Debug for JwtVerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifierBuilder")
            .field("rules", &self.rules)
            .field("signers", &self.signers)
            .finish_non_exhaustive()
    }
}
