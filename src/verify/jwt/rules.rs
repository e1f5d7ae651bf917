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
#[cfg(feature = "jwks")]
pub(crate) use crate::verify::jwks::KeyGeneration;
use crate::verify::{VerifyError, VerifyErrorKind as Kind, keys::JwtKey};

/// The `typ` values of access tokens (RFC 7519 §5.1, RFC 9068 §2.1).
const DEFAULT_TYPES: [&str; 2] = ["JWT", "at+jwt"];

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) header_cache: HeaderCache,
    pub(super) signers: Arc<Signers>,
    pub(super) audiences: Vec<String>,
    pub(super) any_audience: bool,
    /// Empty for [`DEFAULT_TYPES`].
    pub(super) token_types: Vec<String>,
    pub(super) bound_tokens: BoundTokens,
    pub(super) require_exp: bool,
    pub(super) leeway: Duration,
    pub(super) provider_session_claim: String,
    /// Whether `sub` and `jti` may be integers.
    pub(super) integer_ids: bool,
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

/// What to do with a token that is bound to a key (`cnf`, RFC 7800).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoundTokens {
    Refuse,
    /// Accept it as if it were a bearer token.
    IgnoreBinding,
    /// Accept it if it is bound to a key that the client proves to hold by DPoP, and say to which.
    #[cfg(feature = "dpop")]
    NameKey,
}

/// The conditions under which a verified token stays valid.
#[derive(Clone)]
pub(crate) struct Validity {
    pub(super) expires_at: Option<SystemTime>,
    pub(super) not_before: Option<NumericDate>,
    /// `None` for a shared key, which never changes.
    pub(super) key_generation: Option<KeyGeneration>,
}

/// Never constructed: without `jwks`, all keys are shared.
#[cfg(not(feature = "jwks"))]
#[derive(Clone)]
pub(crate) enum KeyGeneration {}

impl Rules {
    pub(super) fn check_type(&self, header: &Header) -> Result<(), VerifyError> {
        let is_allowed = if self.token_types.is_empty() {
            header.token_type().is_none() || DEFAULT_TYPES.iter().any(|allowed| header.has_type(allowed))
        } else {
            self.token_types.iter().any(|allowed| header.has_type(allowed))
        };
        if is_allowed {
            return Ok(());
        }
        Err(VerifyError::new(Kind::WrongType).with_compared(|| {
            let expected =
                if self.token_types.is_empty() { DEFAULT_TYPES.join(", ") } else { self.token_types.join(", ") };
            (expected, header.token_type().unwrap_or("none").to_owned())
        }))
    }

    /// Whether the keys that verified or refused a token are still in use. Shared keys always are.
    pub(super) fn are_current(&self, keys: Option<&KeyGeneration>) -> bool {
        match keys {
            None => true,
            #[cfg(feature = "jwks")]
            Some(keys) => self.signers.issuers.is_current(keys),
            #[cfg(not(feature = "jwks"))]
            Some(never) => match *never {},
        }
    }

    /// Whether a token that was valid before is valid now.
    pub(super) fn is_still_valid(&self, validity: &Validity, now: SystemTime) -> bool {
        validity.expires_at.is_none_or(|expires_at| now < expires_at)
            && validity.not_before.is_none_or(|nbf| nbf.is_reached(now, self.leeway))
            && self.are_current(validity.key_generation.as_ref())
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
                Some(deadline) if now >= deadline => {
                    return Err(VerifyError::of_claim(Kind::Expired, "exp").with_compared(|| {
                        let ago = now.duration_since(exp.time()).unwrap_or_default();
                        (format!("less than {} s ago", self.leeway.as_secs()), format!("{} s ago", ago.as_secs()))
                    }));
                }
                Some(deadline) => Some(deadline),
                None => return Err(VerifyError::of_claim(Kind::MalformedClaim, "exp")),
            },
            None if self.require_exp => return Err(VerifyError::of_claim(Kind::MissingClaim, "exp")),
            None => None,
        };
        if let Some(nbf) = claims.nbf.filter(|nbf| !nbf.is_reached(now, self.leeway)) {
            return Err(VerifyError::of_claim(Kind::NotYetValid, "nbf").with_compared(|| {
                let ahead = nbf.time().duration_since(now).unwrap_or_default();
                (format!("at most {} s ahead", self.leeway.as_secs()), format!("{} s ahead", ahead.as_secs()))
            }));
        }
        if !self.signers.allowed_issuers.is_empty() {
            match &claims.iss {
                Some(iss) if self.signers.allows_issuer(&iss.0) => {}
                Some(iss) => return Err(self.signers.wrong_issuer(&iss.0)),
                None if self.signers.allow_missing_issuer() => {}
                None => return Err(VerifyError::of_claim(Kind::MissingClaim, "iss")),
            }
        }
        match &claims.aud {
            _ if self.any_audience => {}
            None if self.audiences.is_empty() => {}
            None => return Err(VerifyError::of_claim(Kind::MissingClaim, "aud")),
            Some(aud) if aud.contains_any(&self.audiences) => {}
            Some(aud) => {
                return Err(VerifyError::of_claim(Kind::WrongAudience, "aud")
                    .with_compared(|| (self.audiences.join(", "), aud.to_string())));
            }
        }
        if claims.has_cnf && self.bound_tokens == BoundTokens::Refuse {
            return Err(VerifyError::of_claim(Kind::SenderConstrained, "cnf"));
        }
        Ok(expires_at)
    }
}

impl Signers {
    fn allows_issuer(&self, issuer: &str) -> bool {
        let is_allowed = self.allowed_issuers.iter().any(|allowed| **allowed == *issuer);
        #[cfg(feature = "jwks")]
        let is_allowed = is_allowed || self.issuers.find(Some(issuer)).is_some();
        is_allowed
    }

    /// The error for a token of this issuer, which is not allowed.
    pub(super) fn wrong_issuer(&self, iss: &str) -> VerifyError {
        VerifyError::of_claim(Kind::WrongIssuer, "iss").with_compared(|| {
            let allowed = self.allowed_issuers.iter().map(ToString::to_string);
            #[cfg(feature = "jwks")]
            let allowed = allowed.chain(self.issuers.expected());
            (allowed.collect::<Vec<_>>().join(", "), iss.to_owned())
        })
    }

    /// Whether a token may lack `iss`, although issuers are configured.
    #[cfg_attr(
        not(feature = "jwks"),
        expect(clippy::unused_self, reason = "only issuers with keys of their own allow it")
    )]
    const fn allow_missing_issuer(&self) -> bool {
        #[cfg(feature = "jwks")]
        return self.issuers.allow_missing_iss();
        #[cfg(not(feature = "jwks"))]
        false
    }

    /// The issuer of a valid token, under its own name. Shared between tokens where it is configured.
    #[cfg_attr(not(feature = "jwks"), expect(unused_variables, reason = "all keys are shared"))]
    pub(super) fn issuer_of(&self, keys: Option<&KeyGeneration>, iss: Option<&str>) -> Option<Arc<str>> {
        #[cfg(feature = "jwks")]
        if let Some(issuer) = keys.and_then(|keys| self.issuers.accept(keys, iss)) {
            return Some(issuer);
        }
        let iss = iss?;
        let allowed = self.allowed_issuers.iter().find(|allowed| ***allowed == *iss);
        Some(allowed.map_or_else(|| Arc::from(iss), Arc::clone))
    }
}
