//! Checks one proof (RFC 9449 §4.3), but for its first use.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use sha2::{Digest, Sha256};

use super::rules::Rules;
use crate::{
    json,
    verify::{
        VerifyError, VerifyErrorKind as Kind,
        jwt::{Algorithm, Jwk, JwtKey, algorithm_named},
    },
};

/// What a proof must be about.
pub(super) struct Expected<'a> {
    /// The thumbprint of the key that the token is bound to.
    pub(super) key: &'a str,
    pub(super) token: &'a str,
    pub(super) method: &'a str,
    /// Whether the request opens a WebSocket. A page does not know by which of the two methods.
    pub(super) is_handshake: bool,
    pub(super) path: &'a str,
    pub(super) now: SystemTime,
}

/// By how much the clock of a client may be ahead.
pub(super) const FUTURE: Duration = Duration::from_secs(10);
/// The longest id of a proof in bytes. RFC 9449 §4.2 suggests 96 bits or a UUID.
const MAX_ID_LEN: usize = 256;

/// No `jku`, `x5u` or `kid` is looked at: the key is that of the token.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    typ: Cow<'a, str>,
    #[serde(borrow)]
    alg: Cow<'a, str>,
    jwk: Jwk,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    jti: Cow<'a, str>,
    #[serde(borrow)]
    htm: Cow<'a, str>,
    #[serde(borrow)]
    htu: Cow<'a, str>,
    /// Seconds since the epoch, fractions allowed.
    iat: f64,
    #[serde(borrow)]
    ath: Cow<'a, str>,
    #[serde(borrow, default)]
    nonce: Option<Cow<'a, str>>,
}

/// Returns the id of the proof, which may be used once.
pub(super) fn check(proof: &str, expected: &Expected<'_>, rules: &Rules) -> Result<String, VerifyError> {
    let (signed, signature) = proof.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    // The key comes before the signature, so that no attacker can have the server verify signatures of a key of his
    // own.
    let key = check_header(&header, expected, rules)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(VerifyError::new(Kind::ProofBadSignature));
    }
    check_claims(&claims, expected, rules)
}

fn check_header(json: &[u8], expected: &Expected<'_>, rules: &Rules) -> Result<JwtKey, VerifyError> {
    let header: Header<'_> = parse(json)?;
    if header.crit || !header.typ.eq_ignore_ascii_case("dpop+jwt") {
        return Err(malformed());
    }
    let algorithm = algorithm_named(&header.alg)
        .filter(|algorithm| rules.algorithms.contains(algorithm))
        .ok_or_else(|| VerifyError::new(Kind::ProofWrongAlgorithm))?;
    if header.jwk.is_private() {
        return Err(malformed());
    }
    // Both are public, so this need not take constant time.
    if header.jwk.thumbprint().ok_or_else(malformed)? != expected.key {
        return Err(VerifyError::new(Kind::ProofWrongKey));
    }
    key_of(&header.jwk, algorithm).ok_or_else(malformed)
}

fn key_of(jwk: &Jwk, algorithm: Algorithm) -> Option<JwtKey> {
    if jwk.algorithm().ok()?.is_some_and(|own| own != algorithm) {
        return None;
    }
    let key = JwtKey::jwk(jwk).ok()?;
    if key.is_for(algorithm) { Some(key) } else { key.algorithm(algorithm).ok() }
}

fn check_claims(json: &[u8], expected: &Expected<'_>, rules: &Rules) -> Result<String, VerifyError> {
    let claims: Claims<'_> = parse(json)?;
    if claims.jti.is_empty() || claims.jti.len() > MAX_ID_LEN {
        return Err(VerifyError::of_claim(Kind::ProofMalformed, "jti"));
    }
    let is_method =
        claims.htm == expected.method || (expected.is_handshake && matches!(&*claims.htm, "GET" | "CONNECT"));
    if !is_method {
        return Err(VerifyError::of_claim(Kind::ProofForElsewhere, "htm"));
    }
    if !rules.base.is_target(&claims.htu, expected.path) {
        return Err(VerifyError::of_claim(Kind::ProofForElsewhere, "htu"));
    }
    if claims.ath != URL_SAFE_NO_PAD.encode(Sha256::digest(expected.token)) {
        return Err(VerifyError::of_claim(Kind::ProofForOtherToken, "ath"));
    }
    if let Some(nonces) = &rules.nonces
        && !claims.nonce.is_some_and(|nonce| nonces.is_current(&nonce, expected.now))
    {
        return Err(nonces.make(expected.now).map_or_else(malformed, VerifyError::use_dpop_nonce));
    }
    check_age(claims.iat, expected.now, rules.max_age)?;
    Ok(claims.jti.into_owned())
}

fn check_age(iat: f64, now: SystemTime, max_age: Duration) -> Result<(), VerifyError> {
    let made = Duration::try_from_secs_f64(iat).ok().and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    let made = made.ok_or_else(|| VerifyError::of_claim(Kind::ProofMalformed, "iat"))?;
    let is_recent = match now.duration_since(made) {
        Ok(age) => age <= max_age,
        Err(ahead) => ahead.duration() <= FUTURE,
    };
    if is_recent { Ok(()) } else { Err(VerifyError::of_claim(Kind::ProofStale, "iat")) }
}

fn decode(part: &str) -> Result<Vec<u8>, VerifyError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed())
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, VerifyError> {
    json::from_object(json).map_err(|_| malformed())
}

fn malformed() -> VerifyError {
    VerifyError::new(Kind::ProofMalformed)
}

/// Deserializes any value of a member as `true`.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{dpop::uri::BaseUrl, telemetry::Throttle, ticket::MemoryTickets};

    /// RFC 9449 §7.1.
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    /// RFC 9449 §6.1.
    const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    #[test]
    fn the_proof_of_the_rfc_is_accepted() {
        let rules = Rules {
            base: BaseUrl::parse("https://resource.example.org").expect("a url"),
            algorithms: vec![Algorithm::ES256],
            max_age: Duration::from_secs(60),
            accepts_bearer: false,
            nonces: None,
            used: Arc::new(MemoryTickets::new()),
            not_noted: Arc::new(Throttle::new()),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_562_262_618);
        let path = "/protectedresource";
        let expected = Expected { key: KEY, token: TOKEN, method: "GET", is_handshake: false, path, now };
        assert_eq!(check(PROOF, &expected, &rules).expect("a good proof"), "e1j3V_bKic8-LAEB");

        let later = now + Duration::from_secs(61);
        for (expected, kind) in [
            (Expected { token: "another", ..expected }, Kind::ProofForOtherToken),
            (Expected { method: "POST", ..expected }, Kind::ProofForElsewhere),
            (Expected { path: "/", ..expected }, Kind::ProofForElsewhere),
            (Expected { key: "another", ..expected }, Kind::ProofWrongKey),
            (Expected { now: later, ..expected }, Kind::ProofStale),
        ] {
            assert_eq!(check(PROOF, &expected, &rules).expect_err("a bad proof").kind(), kind);
        }
    }
}
