//! Tokens that are signed by the right key, with any header and any claims. What is accepted:
//!
//! - is accepted by `jsonwebtoken`, with the same claims, if the header has no members but those that are read: it
//!   refuses some for what RFC 7515 §4 has ignored, such as an `x5u` that is a number;
//! - obeys the strict rules, as `serde_json` reads header and claims: no registered member twice, for example;
//! - is accepted with the same subject and the same end by the other parser of claims, and what is refused, is refused
//!   by both.
//!
//! The input is the header, a zero byte, and the claims.
#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use axum_ws_auth::{
    Token, Verified, Verifier, VerifyError, VerifyInput,
    jwt::{Algorithm, JwtVerifier},
};
use axum_ws_auth_fuzz::{
    json::{Members, RawMembers, string},
    jwt::{SECRET, sign},
};
use jsonwebtoken::{DecodingKey, Validation, crypto::rust_crypto::DEFAULT_PROVIDER};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: u64 = 1_700_000_000;
const LEEWAY: u64 = 30;
const REGISTERED: [&str; 9] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "cnf"];

static VERIFIER: LazyLock<JwtVerifier<Value>> = LazyLock::new(|| {
    let builder = JwtVerifier::builder().secret(SECRET).expect("a secret").audience("chat");
    builder.build().expect("a verifier")
});

fuzz_target!(init: { let _ = DEFAULT_PROVIDER.install_default(); }, |data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == 0) else { return };
    let (header, claims) = (&data[..end], &data[end + 1..]);
    let token = sign(header, claims);
    let outcome = verify(&token);
    if let Ok(verified) = &outcome {
        check(header, claims, verified);
    }
    compare_parsers(header, claims, &outcome);
});

fn verify(token: &str) -> Result<Verified<Value>, VerifyError> {
    let token = Token::new(token);
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    VERIFIER.verify_now(VerifyInput::without_request(&token, now)).expect("the key is known")
}

fn check(header: &[u8], claims: &[u8], verified: &Verified<Value>) {
    let header: RawMembers = serde_json::from_slice(header).expect("the header is JSON");
    let text = |name| header.only(name).and_then(|value| string(value));
    assert_eq!(text("alg").as_deref(), Some("HS256"));
    assert!(!header.has("crit"));
    assert!(header.all("typ").count() <= 1 && header.all("kid").count() <= 1);
    let typ = text("typ").unwrap_or_default().to_ascii_lowercase();
    assert!(["", "jwt", "at+jwt"].contains(&typ.trim_start_matches("application/")), "{typ}");

    let read = header.sorted(|name| ["alg", "kid", "typ"].contains(&name));
    let read: Vec<_> = read.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let token = sign(format!("{{{}}}", read.join(",")).as_bytes(), claims);
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_secret(SECRET), &validation);
    assert_eq!(decoded.expect("jsonwebtoken accepts it").claims, verified.claims);

    let claims: Members<Value> = serde_json::from_slice(claims).expect("the claims are JSON");
    for name in REGISTERED {
        assert!(claims.all(name).count() <= 1, "{name} occurs twice");
    }
    let exp = claims.only("exp").and_then(Value::as_f64).expect("exp is a number");
    assert!(exp + LEEWAY as f64 > NOW as f64, "expired: {exp}");
    let nbf = claims.only("nbf").filter(|nbf| !nbf.is_null()).map(|nbf| nbf.as_f64().expect("nbf is a number"));
    assert!(nbf.is_none_or(|nbf| nbf <= (NOW + LEEWAY) as f64), "not valid yet: {nbf:?}");
    let is_ours = match claims.only("aud").expect("aud is required") {
        Value::String(one) => one == "chat",
        Value::Array(several) => several.iter().all(Value::is_string) && several.iter().any(|one| one == "chat"),
        _ => false,
    };
    assert!(is_ours, "for another audience");
    for (name, found) in [("sub", &verified.subject), ("iss", &verified.issuer), ("jti", &verified.token_id)] {
        let claim = claims.only(name).filter(|claim| !claim.is_null()).map(|claim| claim.as_str().expect("a string"));
        assert_eq!(claim.filter(|claim| !claim.is_empty()), found.as_deref(), "{name}");
    }
    assert_eq!(claims.all("cnf").count(), 0, "the token is bound to a key");
}

/// Claims without escapes take a fast path. An escape in a member of another name leads to the full parser.
fn compare_parsers(header: &[u8], claims: &[u8], outcome: &Result<Verified<Value>, VerifyError>) {
    let Some(start) = claims.iter().position(|byte| *byte == b'{') else { return };
    let (start, members) = claims.split_at(start + 1);
    // An empty object takes no member before it; and with this nesting the limit of depth would not change.
    if members.trim_ascii_start().starts_with(b"}") {
        return;
    }
    let other = [start, br#""\u0020":0,"#, members].concat();
    let other = verify(&sign(header, &other));
    assert_eq!(outcome.is_ok(), other.is_ok(), "the parsers disagree: {outcome:?}, {other:?}");
    if let (Ok(one), Ok(other)) = (outcome, &other) {
        assert_eq!((&one.subject, &one.issuer, &one.token_id), (&other.subject, &other.issuer, &other.token_id));
        assert_eq!((one.expires_at, one.issued_at), (other.expires_at, other.issued_at));
        assert_eq!(one.provider_session, other.provider_session);
    }
}
