//! The token as the load balancer writes it, which is not quite a JWT.

use std::time::{Duration, SystemTime};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use super::super::{
    claims::{NumericDate, Payload, Registered},
    compact::{Compact, malformed},
    header::is_present,
};
use crate::{
    json,
    verify::{
        VerifyError, VerifyErrorKind as Kind,
        keys::{Algorithm, JwtKey},
    },
};

/// Base64url with the padding that RFC 7515 §2 forbids and the load balancer writes.
const PADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A decoded token. Nothing of it is authenticated.
pub(super) struct AlbToken<'a> {
    pub(super) header: Header,
    payload: String,
    signature: Vec<u8>,
    /// The signing input, with its padding.
    signed: &'a [u8],
}

/// Claims about the session are in the header; the payload has those about the user.
#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
    pub(super) kid: String,
    signer: String,
    #[serde(default)]
    client: Option<String>,
    pub(super) iss: String,
    exp: NumericDate,
}

/// What a token must say.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) signers: Vec<String>,
    /// Empty for any.
    pub(super) clients: Vec<String>,
    pub(super) leeway: Duration,
}

impl<'a> AlbToken<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, VerifyError> {
        let compact = Compact::parse(token)?;
        let header = json::from_object(text(compact.header)?.as_bytes()).map_err(|_| malformed())?;
        let signature = decode(compact.signature)?;
        Ok(Self { header, payload: text(compact.payload)?, signature, signed: compact.signed })
    }

    pub(super) fn payload(&self) -> Result<Payload<'_>, VerifyError> {
        Payload::from_json(&self.payload)
    }

    pub(super) fn check_signature(&self, key: &JwtKey) -> Result<(), VerifyError> {
        if !key.is_for(Algorithm::ES256) {
            return Err(VerifyError::new(Kind::WrongAlgorithm));
        }
        if key.verifies(self.signed, &self.signature) { Ok(()) } else { Err(VerifyError::new(Kind::BadSignature)) }
    }

    /// Checks all but the signature. Returns the time at which the token expires, leeway included.
    pub(super) fn check(&self, expected: &Expected, now: SystemTime) -> Result<SystemTime, VerifyError> {
        let header = &self.header;
        if header.crit {
            return Err(VerifyError::new(Kind::CriticalHeader));
        }
        if header.typ.as_ref().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(VerifyError::new(Kind::WrongType));
        }
        if header.alg != "ES256" {
            return Err(VerifyError::new(Kind::WrongAlgorithm));
        }
        if !expected.signers.contains(&header.signer) {
            return Err(VerifyError::of_claim(Kind::WrongIssuer, "signer"));
        }
        let is_client = header.client.as_ref().is_some_and(|client| expected.clients.contains(client));
        if !is_client && !expected.clients.is_empty() {
            return Err(VerifyError::of_claim(Kind::WrongAudience, "client"));
        }
        self.check_claims(&registered(&self.payload()?)?, expected.leeway, now)
    }

    fn check_claims(
        &self,
        claims: &Registered<'_>,
        leeway: Duration,
        now: SystemTime,
    ) -> Result<SystemTime, VerifyError> {
        let mut expires_at = deadline(self.header.exp, leeway)?;
        if let Some(exp) = claims.exp {
            expires_at = expires_at.min(deadline(exp, leeway)?);
        }
        if now >= expires_at {
            return Err(VerifyError::of_claim(Kind::Expired, "exp"));
        }
        if claims.nbf.is_some_and(|nbf| !nbf.is_reached(now, leeway)) {
            return Err(VerifyError::of_claim(Kind::NotYetValid, "nbf"));
        }
        // The subject belongs to the issuer in the header.
        if self.header.iss.is_empty() || claims.iss.as_ref().is_some_and(|iss| iss.0 != self.header.iss) {
            return Err(VerifyError::of_claim(Kind::WrongIssuer, "iss"));
        }
        if claims.has_cnf {
            return Err(VerifyError::of_claim(Kind::SenderConstrained, "cnf"));
        }
        Ok(expires_at)
    }
}

/// The claims that other tokens have in the payload too.
pub(super) fn registered<'a>(payload: &Payload<'a>) -> Result<Registered<'a>, VerifyError> {
    payload.registered("sid", false)
}

fn deadline(exp: NumericDate, leeway: Duration) -> Result<SystemTime, VerifyError> {
    exp.plus(leeway).ok_or_else(|| VerifyError::of_claim(Kind::MalformedClaim, "exp"))
}

fn text(part: &str) -> Result<String, VerifyError> {
    String::from_utf8(decode(part)?).map_err(|_| malformed())
}

fn decode(part: &str) -> Result<Vec<u8>, VerifyError> {
    PADDED.decode(part).map_err(|_| malformed())
}
