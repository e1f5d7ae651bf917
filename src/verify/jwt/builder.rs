use std::{any::type_name, fmt, marker::PhantomData, sync::Arc, time::Duration};
#[cfg(feature = "jwks")]
use std::{future::Future, pin::Pin};

use serde::de::DeserializeOwned;

#[cfg(feature = "jwks")]
use super::super::jwks::{IssuerKeys, Issuers, StartError};
use super::{
    Jwk, JwtKey, JwtVerifier, crypto,
    header::LastHeader,
    rules::Rules,
    shape::{self, Shape},
};
use crate::error::ConfigError;

/// No clock is wrong by more, and a token would outlive its `exp` by as much.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

/// Builds a [`JwtVerifier`]; see the [module docs](super).
#[must_use]
pub struct JwtVerifierBuilder<C> {
    rules: Rules,
    #[cfg(feature = "jwks")]
    issuer_keys: Vec<IssuerKeys>,
    claims: PhantomData<fn() -> C>,
}

impl<C> JwtVerifierBuilder<C> {
    pub(super) fn new() -> Self {
        let rules = Rules {
            last_header: LastHeader::default(),
            keys: Vec::new(),
            #[cfg(feature = "jwks")]
            issuers: Issuers::default(),
            allowed_issuers: Vec::new(),
            audiences: Vec::new(),
            any_audience: false,
            token_types: Vec::new(),
            ignores_cnf: false,
            exp_required: true,
            leeway: Duration::from_secs(30),
        };
        Self {
            rules,
            #[cfg(feature = "jwks")]
            issuer_keys: Vec::new(),
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

    /// Adds a key that has a key id or an algorithm of its own. Keys of all kinds stand side by side.
    pub fn key(mut self, key: JwtKey) -> Self {
        self.rules.keys.push(key);
        self
    }

    /// Adds an issuer with keys of its own, fetched or in hand: a token whose `iss` names it is verified with these
    /// keys and no others, and these keys count for no other token (RFC 8725 §3.8). Any number of issuers stand side by
    /// side, and beside the keys that are added one by one.
    ///
    /// See [`jwks`](crate::jwks).
    #[cfg(feature = "jwks")]
    pub fn issuer_keys(mut self, keys: IssuerKeys) -> Self {
        self.issuer_keys.push(keys);
        self
    }

    /// Adds an issuer: a token's `iss` must be one of those added, exactly.
    ///
    /// The keys that are added one by one count for every one of them. Issuers that do not share their keys need
    /// `issuer_keys` (feature `jwks`), or a verifier each, joined by [`Verifier::or`](crate::Verifier::or): or one could
    /// sign in the name of another (RFC 8725 §3.8).
    ///
    /// Defaults to none, which does not look at `iss`: a key that only one issuer has says as much.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.rules.allowed_issuers.push(Arc::from(issuer.into()));
        self
    }

    /// Adds an audience: a token's `aud` must name one of those added.
    ///
    /// Defaults to none, which refuses every token that has an `aud`, because it was issued for somebody else (RFC 7519
    /// §4.1.3).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.rules.audiences.push(audience.into());
        self
    }

    /// Does not look at `aud`.
    ///
    /// Insecure because a token that the same issuer made for another service is then good here too.
    pub fn insecure_any_audience(mut self) -> Self {
        self.rules.any_audience = true;
        self
    }

    /// Adds a token type: the header's `typ` must be one of those added. Case does not matter, and `application/` may be
    /// left out (RFC 7515 §4.1.9).
    ///
    /// Defaults to none, which accepts `JWT`, `at+jwt` (RFC 9068 §2.1), and a token without `typ`, because that is what
    /// issuers write into access tokens. Every other type is refused even then: a `logout+jwt` or `dpop+jwt` is no access
    /// token (RFC 8725 §3.11). Add `at+jwt` alone where the issuer signs other kinds of tokens as `JWT` with the same key.
    pub fn token_type(mut self, token_type: impl Into<String>) -> Self {
        self.rules.token_types.push(token_type.into());
        self
    }

    /// Accepts tokens that are bound to a key (`cnf`, RFC 7800) as if they were bearer tokens.
    ///
    /// Insecure unless something else checks that the client holds that key, by a DPoP proof (RFC 9449) or a TLS client
    /// certificate (RFC 8705). [`authorize`](crate::Verifier::authorize) is a place for that check: it sees the claims and
    /// the request. Without the check, whoever steals such a token can use it, which its issuer meant to prevent.
    ///
    /// Defaults to refusing every token with a `cnf`, as
    /// [`SenderConstrained`](crate::VerifyErrorKind::SenderConstrained), because this verifier checks no such proof.
    pub const fn insecure_ignore_cnf(mut self) -> Self {
        self.rules.ignores_cnf = true;
        self
    }

    /// How far the issuer's clock may be off, for `exp` and `nbf`; an hour at most. Defaults to 30 seconds, because
    /// clocks are.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Accepts tokens without `exp`.
    ///
    /// Insecure because such a token, once stolen, is good for ever.
    pub const fn insecure_allow_missing_exp(mut self) -> Self {
        self.rules.exp_required = false;
        self
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> JwtVerifierBuilder<C> {
    /// Builds the verifier. Keys that are to be fetched are not waited for: until they are there, handshakes that need
    /// them wait, or get a 503. To wait for them, `.await` the builder instead (feature `jwks`).
    ///
    /// # Errors
    ///
    /// If there is no key or no crypto backend; if an issuer, audience or token type is empty; if the leeway is longer
    /// than an hour; if there is an audience although any will do; if `C` can never be read from a JSON object, as a number
    /// or a list. With `issuer_keys`: if an issuer is there twice, or its
    /// list of algorithms is empty; if none of its keys in hand can be used; if keys are to be fetched, and their URL is not
    /// `https`, a duration makes no sense, or there is no tokio runtime or no HTTP client.
    pub fn build(self) -> Result<JwtVerifier<C>, ConfigError> {
        if crypto::provider().is_none() {
            return Err(ConfigError::NoCryptoBackend);
        }
        #[cfg(feature = "jwks")]
        let has_issuer_keys = !self.issuer_keys.is_empty();
        #[cfg(not(feature = "jwks"))]
        let has_issuer_keys = false;
        if self.rules.keys.is_empty() && !has_issuer_keys {
            return Err(ConfigError::NoKey);
        }
        if self.rules.allowed_issuers.iter().any(|issuer| issuer.is_empty()) {
            return Err(ConfigError::Empty("issuer"));
        }
        if self.rules.audiences.iter().any(String::is_empty) {
            return Err(ConfigError::Empty("audience"));
        }
        if self.rules.any_audience && !self.rules.audiences.is_empty() {
            return Err(ConfigError::AudienceAndAny);
        }
        if self.rules.leeway > MAX_LEEWAY {
            return Err(ConfigError::LongLeeway(self.rules.leeway));
        }
        if self.rules.token_types.iter().any(String::is_empty) {
            return Err(ConfigError::Empty("token type"));
        }
        if shape::of::<C>() == Shape::NotAnObject {
            return Err(ConfigError::ClaimsNotAnObject(type_name::<C>()));
        }
        #[cfg(feature = "jwks")]
        let rules = Rules { issuers: Issuers::new(self.issuer_keys)?, ..self.rules };
        #[cfg(not(feature = "jwks"))]
        let rules = self.rules;
        Ok(JwtVerifier::new(rules))
    }
}

/// `.await` builds the verifier and waits for one attempt to fetch the keys of each issuer.
///
/// A server that starts so has its keys before it takes its first connection, and one that is configured wrongly says so
/// at once. To start without them, see [`build`](JwtVerifierBuilder::build); to wait for longer, also
/// [`JwtVerifier::ready`].
///
/// # Errors
///
/// As for [`build`](JwtVerifierBuilder::build), or if one of the attempts failed.
///
/// # Cancel safety
///
/// If the future is dropped, there is no verifier, and nobody fetches anything.
#[cfg(feature = "jwks")]
impl<C: DeserializeOwned + Send + Sync + 'static> IntoFuture for JwtVerifierBuilder<C> {
    type Output = Result<JwtVerifier<C>, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let verifier = self.build()?;
            verifier.attempted().await?;
            Ok(verifier)
        })
    }
}

// By hand: a derive would ask for `C: Debug`.
impl<C> fmt::Debug for JwtVerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}
