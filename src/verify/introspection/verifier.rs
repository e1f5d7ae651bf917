use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::de::DeserializeOwned;

use super::{
    ClientAuth, IntrospectionBuilder,
    answer::{Active, Answer, TokenKind},
    cache::Freshness,
    failure::Failure,
    introspector::Introspector,
};
use crate::{
    token::Token,
    verify::{Verified, Verifier, VerifyError, VerifyErrorKind, VerifyInput, jwt::JwtVerifier},
};

/// Verifies opaque tokens: asks the provider about each one (RFC 7662); see the [module docs](super).
///
/// The claims are the members of the provider's answer. Clones are cheap and share the cache.
pub struct IntrospectionVerifier<C> {
    pub(super) introspector: Arc<Introspector>,
    /// Checks the members that are claims.
    pub(super) claims: JwtVerifier<C>,
    pub(super) rules: Arc<Rules>,
}

/// What this verifier does besides checking claims.
#[derive(Debug)]
pub(super) struct Rules {
    /// The issuer of all tokens, if it is configured.
    pub(super) issuer: Option<Arc<str>>,
    pub(super) ignore_binding: bool,
    pub(super) opaque_only: bool,
    pub(super) recheck_every: Duration,
}

impl<C: DeserializeOwned + Send + Sync + 'static> IntrospectionVerifier<C> {
    /// Starts a builder with the `introspection_endpoint` in the issuer's OpenID Connect Discovery 1.0 document, at
    /// `{issuer}/.well-known/openid-configuration`.
    ///
    /// The document must name exactly this issuer; a trailing slash makes a difference. It is read once.
    pub fn discover(issuer: impl Into<String>, auth: ClientAuth) -> IntrospectionBuilder<C> {
        IntrospectionBuilder::discover(issuer.into(), None, auth)
    }

    /// Starts a builder with the `introspection_endpoint` in a discovery document at another URL, such as that of
    /// RFC 8414, or one on an internal host name.
    ///
    /// The document must name exactly this issuer. It is read once.
    pub fn discover_at(
        issuer: impl Into<String>,
        metadata_url: impl Into<String>,
        auth: ClientAuth,
    ) -> IntrospectionBuilder<C> {
        IntrospectionBuilder::discover(issuer.into(), Some(metadata_url.into()), auth)
    }

    /// Starts a builder with this endpoint, without discovery.
    pub fn endpoint(url: impl Into<String>, auth: ClientAuth) -> IntrospectionBuilder<C> {
        IntrospectionBuilder::endpoint(url.into(), auth)
    }

    fn check_form(&self, token: &Token) -> Result<(), VerifyError> {
        let looks_like_jwt = token.expose().starts_with("ey") && token.expose().split('.').count() == 3;
        if self.rules.opaque_only && looks_like_jwt { Err(VerifyError::invalid()) } else { Ok(()) }
    }

    fn judge(&self, answer: &Answer, now: SystemTime) -> Result<Verified<C>, VerifyError> {
        let Answer::Active(active) = answer else { return Err(VerifyError::invalid()) };
        self.accept(active, now).map_err(|error| match error.kind() {
            // The provider's fault, not the token's.
            VerifyErrorKind::MalformedClaim => {
                self.introspector.report(Failure::malformed("a registered claim has the wrong type"))
            }
            _ => error,
        })
    }

    fn accept(&self, active: &Active, now: SystemTime) -> Result<Verified<C>, VerifyError> {
        match active.kind {
            TokenKind::Bearer => {}
            TokenKind::Bound if self.rules.ignore_binding => {}
            TokenKind::Bound => return Err(VerifyError::of_claim(VerifyErrorKind::SenderConstrained, "token_type")),
            TokenKind::Other => return Err(VerifyError::new(VerifyErrorKind::WrongType)),
        }
        let verified = self.claims.accept_claims(&active.json, self.rules.issuer.as_ref(), now)?;
        Ok(verified.recheck_in(self.rules.recheck_every))
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier for IntrospectionVerifier<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        self.check_form(input.token)?;
        let begin = self.introspector.cache.tick();
        let freshness = if input.is_recheck() { Freshness::AskedSince(begin) } else { Freshness::Current(begin) };
        let answer = self.introspector.answer(input.token.expose(), freshness, input.now).await?;
        self.judge(&answer, input.now)
    }

    /// Answers from the cache.
    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<C>, VerifyError>> {
        if let Err(error) = self.check_form(input.token) {
            return Some(Err(error));
        }
        if input.is_recheck() {
            return None;
        }
        let cache = &self.introspector.cache;
        let answer = cache.get(cache.hash(input.token.expose()), Freshness::Current(cache.tick()))?;
        Some(self.judge(&answer, input.now))
    }

    fn name(&self) -> &'static str {
        "introspection"
    }
}

// By hand, as below: a derive would require `C: Clone`.
impl<C> Clone for IntrospectionVerifier<C> {
    fn clone(&self) -> Self {
        Self {
            introspector: Arc::clone(&self.introspector),
            claims: self.claims.clone(),
            rules: Arc::clone(&self.rules),
        }
    }
}

impl<C> fmt::Debug for IntrospectionVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionVerifier")
            .field("introspector", &self.introspector)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
