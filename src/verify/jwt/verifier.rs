use std::{
    fmt,
    future::{Future, ready},
    marker::PhantomData,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::de::DeserializeOwned;

use super::{
    super::{Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput},
    JwtKey, JwtVerifierBuilder,
    claims::{Registered, Text},
    header::{self, Compact, Header},
};
use crate::token::is_json_object;

/// Verifies JSON Web Tokens with claims of type `C`; see the [module docs](super).
///
/// Clones share everything.
pub struct JwtVerifier<C> {
    rules: Arc<Rules>,
    claims: PhantomData<fn() -> C>,
}

#[derive(Debug)]
pub(super) struct Rules {
    pub(super) keys: Vec<JwtKey>,
    pub(super) issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) any_audience: bool,
    pub(super) token_type: Option<String>,
    pub(super) exp_required: bool,
    pub(super) leeway: Duration,
}

impl<C: DeserializeOwned + Send + Sync + 'static> JwtVerifier<C> {
    /// Starts without keys, with 30 seconds of leeway.
    pub fn builder() -> JwtVerifierBuilder<C> {
        JwtVerifierBuilder::new()
    }

    pub(super) fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(rules), claims: PhantomData }
    }

    fn check(&self, token: &str, now: SystemTime) -> Result<Verified<C>, VerifyError> {
        let compact = Compact::parse(token)?;
        self.rules.check_signature(&compact)?;

        // What follows is signed, so an error may say what it found.
        let payload = header::decode(compact.payload)?;
        if !is_json_object(&payload) {
            return Err(VerifyError::new(Kind::MalformedClaim));
        }
        let registered: Registered<'_> = serde_json::from_slice(&payload)
            .map_err(|source| VerifyError::new(Kind::MalformedClaim).with_source(source))?;
        let expires_at = self.rules.check_claims(&registered, now)?;
        let owned = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
        let (subject, issuer, token_id) = (owned(registered.sub), owned(registered.iss), owned(registered.jti));
        let claims = serde_json::from_slice(&payload)
            .map_err(|source| VerifyError::new(Kind::UnexpectedClaims).with_source(source))?;
        Ok(Verified { claims, expires_at, subject, issuer, token_id })
    }
}

impl Rules {
    fn check_signature(&self, compact: &Compact<'_>) -> Result<(), VerifyError> {
        let json = compact.header_json()?;
        let header = Header::parse(&json)?;
        if let Some(required) = &self.token_type
            && !header.is_of_type(required)
        {
            return Err(VerifyError::new(Kind::WrongType));
        }
        let algorithm = header.algorithm()?;
        let key_id = header.key_id();
        let mut named = self.keys.iter().filter(|key| key.answers_to(key_id)).peekable();
        if named.peek().is_none() {
            return Err(VerifyError::new(Kind::UnknownKey));
        }
        let mut usable = named.filter(|key| key.is_for(algorithm)).peekable();
        if usable.peek().is_none() {
            return Err(VerifyError::new(Kind::WrongAlgorithm));
        }
        let signature = compact.signature()?;
        if usable.any(|key| key.verifies(compact.signed, &signature)) {
            Ok(())
        } else {
            Err(VerifyError::new(Kind::BadSignature))
        }
    }

    /// Returns the moment from which on the token is expired.
    fn check_claims(&self, claims: &Registered<'_>, now: SystemTime) -> Result<Option<SystemTime>, VerifyError> {
        let expires_at = match claims.exp {
            // RFC 7519 §4.1.4: "on or after".
            Some(exp) => match exp.later_by(self.leeway) {
                Some(deadline) if now >= deadline => return Err(VerifyError::of_claim(Kind::Expired, "exp")),
                Some(deadline) => Some(deadline),
                None => return Err(VerifyError::of_claim(Kind::MalformedClaim, "exp")),
            },
            None if self.exp_required => return Err(VerifyError::of_claim(Kind::MissingClaim, "exp")),
            None => None,
        };
        if claims.nbf.is_some_and(|nbf| !nbf.has_come(now, self.leeway)) {
            return Err(VerifyError::of_claim(Kind::NotYetValid, "nbf"));
        }
        if !self.issuers.is_empty() {
            let iss = claims.iss.as_ref().ok_or_else(|| VerifyError::of_claim(Kind::MissingClaim, "iss"))?;
            if !self.issuers.iter().any(|issuer| *issuer == iss.0) {
                return Err(VerifyError::of_claim(Kind::WrongIssuer, "iss"));
            }
        }
        match &claims.aud {
            _ if self.any_audience => {}
            None if self.audiences.is_empty() => {}
            None => return Err(VerifyError::of_claim(Kind::MissingClaim, "aud")),
            Some(aud) if aud.names_any_of(&self.audiences) => {}
            Some(_) => return Err(VerifyError::of_claim(Kind::WrongAudience, "aud")),
        }
        Ok(expires_at)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier for JwtVerifier<C> {
    type Claims = C;

    fn verify(&self, input: VerifyInput<'_>) -> impl Future<Output = Result<Verified<C>, VerifyError>> + Send {
        ready(self.check(input.token.expose(), input.now))
    }
}

// By hand, like the one below: a derive would ask the same of `C`.
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
