//! What is asked of a token besides its signature.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

#[cfg(feature = "jwks")]
use super::super::jwks::Issuers;
use super::{
    super::{VerifyError, VerifyErrorKind as Kind},
    JwtKey,
    claims::{NumericDate, Registered},
    header::{Header, LastHeader},
};

/// What an access token says that it is (RFC 7519 §5.1, RFC 9068 §2.1), if it says anything.
const USUAL_TYPES: [&str; 2] = ["JWT", "at+jwt"];

#[derive(Debug)]
pub(super) struct Rules {
    pub(super) last_header: LastHeader,
    /// Those that belong to no issuer.
    pub(super) keys: Vec<JwtKey>,
    #[cfg(feature = "jwks")]
    pub(super) issuers: Issuers,
    pub(super) allowed_issuers: Vec<Arc<str>>,
    pub(super) audiences: Vec<String>,
    pub(super) any_audience: bool,
    /// None for the usual ones.
    pub(super) token_types: Vec<String>,
    pub(super) ignores_cnf: bool,
    pub(super) exp_required: bool,
    pub(super) leeway: Duration,
}

/// What a good token stands on.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    pub(super) expires_at: Option<SystemTime>,
    pub(super) not_before: Option<NumericDate>,
    pub(super) provenance: Provenance,
}

/// Whose keys a token was verified with, and which. The default is one that belongs to no issuer and never changes.
#[derive(Clone, Copy, Default)]
pub(super) struct Provenance(pub(super) Option<KeyGeneration>);

/// Keys in hand never change.
#[cfg(not(feature = "jwks"))]
#[derive(Clone, Copy)]
pub(super) enum KeyGeneration {}

/// The keys that an issuer had for a time.
#[cfg(feature = "jwks")]
#[derive(Clone, Copy)]
pub(super) struct KeyGeneration {
    /// Which of the verifier's issuers.
    pub(super) issuer: usize,
    pub(super) generation: u64,
}

impl Rules {
    pub(super) fn check_type(&self, header: &Header) -> Result<(), VerifyError> {
        let is_allowed = if self.token_types.is_empty() {
            !header.has_type() || USUAL_TYPES.iter().any(|usual| header.is_of_type(usual))
        } else {
            self.token_types.iter().any(|allowed| header.is_of_type(allowed))
        };
        if is_allowed { Ok(()) } else { Err(VerifyError::new(Kind::WrongType)) }
    }

    /// Whether the keys still count that a token was verified with.
    fn still_have(&self, provenance: Provenance) -> bool {
        match provenance.0 {
            None => true,
            #[cfg(feature = "jwks")]
            Some(keys) => self.issuers.generation(keys.issuer) == Some(keys.generation),
            #[cfg(not(feature = "jwks"))]
            Some(never) => match never {},
        }
    }

    /// Whether a token that was found good still is.
    pub(super) fn still_stands(&self, standing: &Standing, now: SystemTime) -> bool {
        standing.expires_at.is_none_or(|expires_at| now < expires_at)
            && standing.not_before.is_none_or(|nbf| nbf.has_come(now, self.leeway))
            && self.still_have(standing.provenance)
    }

    fn is_allowed(&self, issuer: &str) -> bool {
        let named = self.allowed_issuers.iter().any(|allowed| **allowed == *issuer);
        #[cfg(feature = "jwks")]
        let named = named || self.issuers.find(issuer).is_some();
        named
    }

    /// The name of an issuer, which need not be there once more for each token.
    pub(super) fn shared_issuer(&self, issuer: &str) -> Arc<str> {
        self.allowed_issuers.iter().find(|allowed| ***allowed == *issuer).map_or_else(|| Arc::from(issuer), Arc::clone)
    }

    /// Returns the moment from which on the token is expired.
    pub(super) fn check_claims(
        &self,
        claims: &Registered<'_>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, VerifyError> {
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
        if !self.allowed_issuers.is_empty() {
            let iss = claims.iss.as_ref().ok_or_else(|| VerifyError::of_claim(Kind::MissingClaim, "iss"))?;
            if !self.is_allowed(&iss.0) {
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
        if claims.is_bound && !self.ignores_cnf {
            return Err(VerifyError::of_claim(Kind::SenderConstrained, "cnf"));
        }
        Ok(expires_at)
    }
}
