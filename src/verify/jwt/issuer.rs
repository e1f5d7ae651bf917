//! Signature checks with the keys of the token's issuer.

use std::{iter, sync::Arc, time::SystemTime};

use super::{
    claims::{Payload, Registered},
    compact::{Compact, DecodeBuffer},
    failure::{Failure, Refusal, UnknownKey},
    header::Header,
    rules::{KeyGeneration, Rules},
    signature::check_signature,
};
use crate::verify::{
    VerifyError, VerifyErrorKind as Kind,
    jwks::{Found, Keys, KnownIssuer},
};

impl Rules {
    /// Verifies the signature with the keys of the issuer that the token names, and with no others. If that issuer has
    /// no key set of its own, the shared keys are used.
    ///
    /// Returns the generation of the issuer's keys; `None` for a shared key.
    pub(super) fn check_issuer_signature(
        &self,
        header: &Header,
        compact: &Compact<'_>,
        payload: &Payload<'_>,
        claims: &Registered<'_>,
        now: SystemTime,
    ) -> Result<Option<KeyGeneration>, Failure> {
        let mut buffer = DecodeBuffer::new();
        let signature = buffer.decode(compact.signature)?;
        let iss = claims.iss.as_ref().map(|iss| &*iss.0);
        let known = match self.signers.issuers.find(iss) {
            Some(Found::Known(known)) => known,
            Some(Found::Allowed(rule)) => {
                // As below: a token that would be refused anyway adds no issuer.
                self.check_claims(claims, now)?;
                KnownIssuer::Added(rule.add(iss.unwrap_or_default())?)
            }
            None if self.signers.keys.is_empty() => {
                let missing = || VerifyError::of_claim(Kind::MissingClaim, "iss");
                return Err(iss.map_or_else(missing, |iss| self.signers.wrong_issuer(iss)).into());
            }
            None => {
                check_signature(self.signers.keys.iter(), header, compact.signed, signature)?;
                return Ok(None);
            }
        };
        let issuer = known.issuer();
        let tenant = iss.and_then(|iss| issuer.tenant_of(iss));
        if let Some(tenant) = tenant {
            payload.check_tenant(tenant)?;
        }
        let (error, generation) =
            match issuer.with_keys(|keys| try_keys(keys, tenant, header, compact.signed, signature)) {
                Attempt::Verified(generation) => return Ok(Some(known.keys(generation))),
                Attempt::Refused(error, generation) => {
                    return Err(Refusal { error, keys: Some(known.keys(generation)) }.into());
                }
                Attempt::UnknownKey(error, generation) => (error, generation),
            };
        let Some(remote) = issuer.remote() else { return Err(error.into()) };
        // All checks that need no key come first, so that a token that would be refused anyway causes no fetch.
        if !remote.allows(header.algorithm()?) {
            return Err(header.wrong_algorithm(iter::empty()).into());
        }
        self.check_claims(claims, now)?;
        Err(Failure::UnknownKey(UnknownKey { issuer: Arc::clone(issuer), generation, error }))
    }
}

/// The outcome of trying the keys of one generation.
enum Attempt {
    Verified(u64),
    Refused(VerifyError, u64),
    /// The token names a key that is not among them. `None` if there are no keys.
    UnknownKey(VerifyError, Option<u64>),
}

fn try_keys(keys: Option<&Keys>, tenant: Option<&str>, header: &Header, signed: &[u8], signature: &[u8]) -> Attempt {
    let Some(keys) = keys else { return Attempt::UnknownKey(header.unknown_key(iter::empty()), None) };
    let usable = keys.usable().iter();
    let outcome = match tenant {
        None => check_signature(usable, header, signed, signature),
        Some(tenant) => check_signature(usable.filter(|key| key.is_for_tenant(tenant)), header, signed, signature),
    };
    let Err(error) = outcome else { return Attempt::Verified(keys.generation()) };
    // A token without a key id was tried with every key.
    let is_known = header.key_id().is_none_or(|id| keys.usable().iter().any(|key| key.id() == Some(id)));
    if is_known {
        Attempt::Refused(error, keys.generation())
    } else {
        // Also if keys without an id were tried, and refused its signature.
        Attempt::UnknownKey(header.unknown_key(keys.usable().iter()), Some(keys.generation()))
    }
}
