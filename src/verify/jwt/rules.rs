//! The configuration of a verifier, and the checks besides the signature.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    claims::{NumericDate, Registered},
    header::{Header, HeaderCache},
};
#[cfg(feature = "jwks")]
use crate::verify::jwks::Issuers;
use crate::verify::{VerifyError, VerifyErrorKind as Kind, keys::JwtKey};

/// The `typ` values of access tokens (RFC 7519 §5.1, RFC 9068 §2.1).
const DEFAULT_TYPES: [&str; 2] = ["JWT", "at+jwt"];

#[derive(Debug)]
pub(super) struct Rules {
    pub(super) header_cache: HeaderCache,
    pub(super) signers: Arc<Signers>,
    pub(super) audiences: Vec<String>,
    pub(super) any_audience: bool,
    /// Empty for [`DEFAULT_TYPES`].
    pub(super) token_types: Vec<String>,
    pub(super) ignore_cnf: bool,
    pub(super) require_exp: bool,
    pub(super) leeway: Duration,
    pub(super) provider_session_claim: String,
}

/// Who may sign tokens, and with what keys. Verifiers of several kinds of tokens can share it.
#[derive(Debug, Default)]
pub(super) struct Signers {
    /// The shared keys, which belong to no issuer.
    pub(super) keys: Vec<JwtKey>,
    #[cfg(feature = "jwks")]
    pub(super) issuers: Issuers,
    pub(super) allowed_issuers: Vec<Arc<str>>,
}

/// The conditions under which a verified token stays valid.
#[derive(Clone, Copy)]
pub(crate) struct Validity {
    pub(super) expires_at: Option<SystemTime>,
    pub(super) not_before: Option<NumericDate>,
    /// `None` for a shared key, which never changes.
    pub(super) key_generation: Option<KeyGeneration>,
}

/// Never constructed: without `jwks`, all keys are shared.
#[cfg(not(feature = "jwks"))]
#[derive(Clone, Copy)]
pub(super) enum KeyGeneration {}

/// One generation of an issuer's keys.
#[cfg(feature = "jwks")]
#[derive(Clone, Copy)]
pub(super) struct KeyGeneration {
    /// The index of the issuer in [`Issuers`].
    pub(super) issuer: usize,
    pub(super) generation: u64,
}

impl Rules {
    pub(super) fn check_type(&self, header: &Header) -> Result<(), VerifyError> {
        let is_allowed = if self.token_types.is_empty() {
            !header.is_typed() || DEFAULT_TYPES.iter().any(|allowed| header.has_type(allowed))
        } else {
            self.token_types.iter().any(|allowed| header.has_type(allowed))
        };
        if is_allowed { Ok(()) } else { Err(VerifyError::new(Kind::WrongType)) }
    }

    /// Whether the keys that verified a token are still in use.
    fn is_current(&self, generation: Option<KeyGeneration>) -> bool {
        match generation {
            None => true,
            #[cfg(feature = "jwks")]
            Some(keys) => self.signers.issuers.generation(keys.issuer) == Some(keys.generation),
            #[cfg(not(feature = "jwks"))]
            Some(never) => match never {},
        }
    }

    /// Whether a token that was valid before is valid now.
    pub(super) fn is_still_valid(&self, validity: &Validity, now: SystemTime) -> bool {
        validity.expires_at.is_none_or(|expires_at| now < expires_at)
            && validity.not_before.is_none_or(|nbf| nbf.is_reached(now, self.leeway))
            && self.is_current(validity.key_generation)
    }

    /// Checks the registered claims. Returns the time at which the token expires, leeway included.
    pub(super) fn check_claims(
        &self,
        claims: &Registered<'_>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, VerifyError> {
        let expires_at = match claims.exp {
            // RFC 7519 §4.1.4: "on or after".
            Some(exp) => match exp.plus(self.leeway) {
                Some(deadline) if now >= deadline => return Err(VerifyError::of_claim(Kind::Expired, "exp")),
                Some(deadline) => Some(deadline),
                None => return Err(VerifyError::of_claim(Kind::MalformedClaim, "exp")),
            },
            None if self.require_exp => return Err(VerifyError::of_claim(Kind::MissingClaim, "exp")),
            None => None,
        };
        if claims.nbf.is_some_and(|nbf| !nbf.is_reached(now, self.leeway)) {
            return Err(VerifyError::of_claim(Kind::NotYetValid, "nbf"));
        }
        if !self.signers.allowed_issuers.is_empty() {
            let iss = claims.iss.as_ref().ok_or_else(|| VerifyError::of_claim(Kind::MissingClaim, "iss"))?;
            if !self.signers.allows_issuer(&iss.0) {
                return Err(VerifyError::of_claim(Kind::WrongIssuer, "iss"));
            }
        }
        match &claims.aud {
            _ if self.any_audience => {}
            None if self.audiences.is_empty() => {}
            None => return Err(VerifyError::of_claim(Kind::MissingClaim, "aud")),
            Some(aud) if aud.contains_any(&self.audiences) => {}
            Some(_) => return Err(VerifyError::of_claim(Kind::WrongAudience, "aud")),
        }
        if claims.has_cnf && !self.ignore_cnf {
            return Err(VerifyError::of_claim(Kind::SenderConstrained, "cnf"));
        }
        Ok(expires_at)
    }
}

impl Signers {
    fn allows_issuer(&self, issuer: &str) -> bool {
        let is_allowed = self.allowed_issuers.iter().any(|allowed| **allowed == *issuer);
        #[cfg(feature = "jwks")]
        let is_allowed = is_allowed || self.issuers.find(issuer).is_some();
        is_allowed
    }

    /// The issuer's name, shared between tokens where it is configured.
    pub(super) fn shared_issuer(&self, issuer: &str) -> Arc<str> {
        self.allowed_issuers.iter().find(|allowed| ***allowed == *issuer).map_or_else(|| Arc::from(issuer), Arc::clone)
    }
}
