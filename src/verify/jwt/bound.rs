//! Tokens of issuers that have keys of their own.

use std::{sync::Arc, time::SystemTime};

use super::{
    super::{
        VerifyError, VerifyErrorKind as Kind,
        jwks::{Issuer, Keys, Looked},
    },
    claims::Registered,
    compact::{Compact, Memory},
    header::Header,
    rules::{KeyGeneration, Provenance, Rules},
    signature::check_signature,
    verifier::Stop,
};

/// A token whose key may be found where the issuer publishes its keys.
pub(super) struct UnknownKey {
    issuer: Arc<Issuer>,
    /// Which keys were looked at.
    generation: Option<u64>,
}

impl UnknownKey {
    /// Waits until the keys are worth another look, unless the last one was conclusive.
    pub(super) async fn look_for(&self, last: Looked) -> Result<Looked, VerifyError> {
        if last == Looked::Since && self.generation.is_some() {
            return Err(VerifyError::new(Kind::UnknownKey));
        }
        self.issuer.look_for(self.generation).await
    }
}

impl Rules {
    /// Verifies the signature with the keys of the issuer that the token names, and with no others. Tokens of other
    /// issuers are left to the keys that belong to none.
    pub(super) fn check_issuer(
        &self,
        header: &Header,
        compact: &Compact<'_>,
        claims: &Registered<'_>,
        now: SystemTime,
    ) -> Result<Provenance, Stop> {
        let mut memory = Memory::new();
        let signature = memory.decode(compact.signature)?;
        let named = claims.iss.as_ref().and_then(|iss| self.issuers.find(&iss.0));
        let Some((index, issuer)) = named else {
            if self.keys.is_empty() {
                let kind = if claims.iss.is_some() { Kind::WrongIssuer } else { Kind::MissingClaim };
                return Err(VerifyError::of_claim(kind, "iss").into());
            }
            check_signature(&self.keys, header, compact.signed, signature)?;
            return Ok(Provenance::default());
        };
        let generation = match issuer.with_keys(|keys| look(keys, header, compact.signed, signature)) {
            Look::Verified(generation) => {
                return Ok(Provenance(Some(KeyGeneration { issuer: index, generation })));
            }
            Look::Refused(error) => return Err(error.into()),
            Look::Unknown(generation) => generation,
        };
        let Some(remote) = issuer.as_remote() else { return Err(VerifyError::new(Kind::UnknownKey).into()) };
        // All that needs no key comes first: a token that is good for nothing costs no fetch.
        if !remote.may_use(header.algorithm()?) {
            return Err(VerifyError::new(Kind::WrongAlgorithm).into());
        }
        self.check_claims(claims, now)?;
        Err(Stop::Unknown(UnknownKey { issuer: Arc::clone(issuer), generation }))
    }
}

/// What there is to say of a token by these keys, of this generation.
enum Look {
    Verified(u64),
    Refused(VerifyError),
    /// None of them is the token's.
    Unknown(Option<u64>),
}

fn look(keys: Option<&Keys>, header: &Header, signed: &[u8], signature: &[u8]) -> Look {
    let Some(keys) = keys else { return Look::Unknown(None) };
    let Err(error) = check_signature(keys.usable(), header, signed, signature) else {
        return Look::Verified(keys.generation());
    };
    // A token without an id has been tried with all of them.
    let is_known = header.key_id().is_none_or(|id| keys.usable().iter().any(|key| key.id() == Some(id)));
    if is_known { Look::Refused(error) } else { Look::Unknown(Some(keys.generation())) }
}
