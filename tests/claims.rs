//! The claims scanner, compared with `jsonwebtoken::decode` and a full parser over random claims.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

use axum_ws_auth::{
    Token, Verified, Verifier, VerifyError, VerifyErrorKind, VerifyInput,
    jwt::JwtVerifier,
    test_util::{TEST_SECRET, base64url, handshake},
};
use futures_util::FutureExt;
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use proptest::prelude::*;
use serde_json::Value;

/// Common claims with their values in many JSON encodings, valid and invalid.
const MEMBERS: [(&str, &[&str]); 11] = [
    (
        r#""exp""#,
        &["4000000000", "4000000000.5", "4e9", "4000000000 ", "1000", "-1", "04000000000", "null", r#""4000000000""#],
    ),
    (r#""cnf""#, &["null", "{}", r#"{"jkt":"a"}"#, r#""""#]),
    (r#""iss""#, &[r#""me""#, r#""m\u0065""#, r#""you""#, r#"["me"]"#, "null", r#""me\"#, r#""me" x"#]),
    (r#""aud""#, &[r#""us""#, r#"["us"]"#, r#"["them","us"]"#, r#"["them"]"#, "[]", r#"{"us":1}"#, "7", "\"\tus\""]),
    (r#""sub""#, &[r#""alice""#, r#""al\nice""#, r#""älice""#, r#""al\"ice""#, r#""""#, "7", "true", "\"al\u{1}ice\""]),
    (r#""iat""#, &["1000", "0", "1000.25", "-7", "1e3", "18446744073709551615", "99999999999999999999", r#""1000""#]),
    (r#""nbf""#, &["1000", "4000000000", "00", "1E3", "[]", "null"]),
    (r#""jti""#, &[r#""one""#, r#""on\/e""#, "1", "{}", "null"]),
    (r#""sid""#, &[r#""one""#, r#""on\/e""#, r#""""#, "1", "{}", "null"]),
    (r#""\u0065xp""#, &["1000", "4000000000"]),
    (
        r#""more""#,
        &[
            "1",
            "-1.5e-3",
            "true",
            "false",
            "nul",
            "",
            "]",
            r#"{"exp":1000,"a":[{"b":"}"}]}"#,
            r#"[1,[2,"]\"",{}]]"#,
            r#""\\""#,
            r#""\\\"exp\":1000""#,
            "[1,{\"a\":}]",
            "{",
            "[}",
        ],
    ),
];

fn verifier() -> JwtVerifier<Value> {
    let builder = JwtVerifier::builder().secret(TEST_SECRET).unwrap().issuer("me").audience("us");
    builder.leeway(Duration::ZERO).build().unwrap()
}

fn verify(verifier: &JwtVerifier<Value>, token: &str) -> Result<Verified<Value>, VerifyError> {
    let (token, (parts, _)) = (Token::new(token), handshake().build().into_parts());
    let input = VerifyInput::new(&token, &parts, SystemTime::now());
    let now = verifier.verify_now(input).unwrap();
    // Both methods agree.
    let later = verifier.verify(input).now_or_never().unwrap();
    match (&now, &later) {
        (Ok(now), Ok(later)) => assert!(now == later),
        (Err(now), Err(later)) => assert_eq!(now.kind(), later.kind()),
        _ => panic!("{:?} {:?}", now.is_ok(), later.is_ok()),
    }
    now
}

fn sign(claims: &str) -> String {
    let message = format!("{}.{}", base64url(r#"{"alg":"HS256"}"#), base64url(claims));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &EncodingKey::from_secret(TEST_SECRET)).unwrap();
    format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).unwrap()))
}

/// The time of a number of seconds since the epoch.
fn time(seconds: &Value) -> Option<SystemTime> {
    let seconds = seconds.as_f64()?;
    let distance = Duration::from_secs_f64(seconds.abs());
    Some(if seconds < 0.0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance })
}

/// Each member with one of its values, mostly the first; some members are missing or repeated; with white space in
/// valid and invalid places.
fn claims() -> impl Strategy<Value = String> {
    let space = || prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")];
    let member = MEMBERS.to_vec().into_iter().map(move |(name, values)| {
        let value = prop_oneof![8 => Just(0..1), 2 => Just(0..values.len())]
            .prop_flat_map(|range| range)
            .prop_map(|at| *values.get(at).unwrap());
        let times = match name {
            r#""exp""# | r#""iss""# | r#""aud""# => prop_oneof![1 => Just(0), 30 => Just(1), 1 => Just(2)].boxed(),
            r#""\u0065xp""# | r#""cnf""# => prop_oneof![30 => Just(0), 1 => Just(1)].boxed(),
            _ => prop_oneof![5 => Just(0), 10 => Just(1), 1 => Just(2)].boxed(),
        };
        (times, space(), space(), value)
            .prop_map(move |(times, before, after, value)| vec![format!("{before}{name}{after}:{after}{value}"); times])
    });
    let members = member.collect::<Vec<_>>().prop_map(|members| members.concat()).prop_shuffle();
    let comma = prop_oneof![60 => Just(","), 1 => Just(",,"), 1 => Just(" ,"), 1 => Just(" ")];
    let end = prop_oneof![40 => Just("}"), 1 => Just("} "), 1 => Just("}}"), 1 => Just(",}"), 1 => Just(""), 1 => Just("} 1")];
    (space(), members, comma, end)
        .prop_map(|(space, members, comma, end)| format!("{space}{{{}{end}", members.join(comma)))
}

#[test]
fn claims_are_read_as_by_jsonwebtoken_or_refused() {
    let (verifier, key) = (verifier(), DecodingKey::from_secret(TEST_SECRET));
    let _ = DEFAULT_PROVIDER.install_default();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&["me"]);
    validation.set_audience(&["us"]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = 0;
    let (accepted, stricter) = (Cell::new(0), Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&claims(), |claims| {
        let token = sign(&claims);
        let theirs = jsonwebtoken::decode::<Value>(&token, &key, &validation);
        match verify(&verifier, &token) {
            Ok(ours) => {
                let theirs = theirs.map(|data| data.claims);
                // The only claims accepted here and not there: a `null` in `nbf` counts as absent.
                if ours.claims.get("nbf") != Some(&Value::Null) {
                    prop_assert_eq!(theirs.as_ref().ok(), Some(&ours.claims), "{}", claims);
                }
                prop_assert!(!claims.contains(r#""cnf""#), "{}", claims);
                // An empty string counts as absent.
                let text = |name: &str| ours.claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
                prop_assert_eq!(ours.subject.as_deref(), text("sub"));
                prop_assert_eq!(ours.issuer.as_deref(), text("iss"));
                prop_assert_eq!(ours.token_id.as_deref(), text("jti"));
                prop_assert_eq!(ours.provider_session.as_deref(), text("sid"));
                prop_assert_eq!(ours.issued_at, ours.claims.get("iat").and_then(time), "{}", claims);
                prop_assert_eq!(ours.expires_at, ours.claims.get("exp").and_then(time), "{}", claims);
                accepted.set(accepted.get() + 1);
            }
            Err(error) => {
                if theirs.is_ok() {
                    // Here, claims must have the right type and be unique, and bound tokens are refused.
                    let is_bound = claims.contains(r#""cnf""#) && error.kind() == VerifyErrorKind::SenderConstrained;
                    prop_assert!(is_bound || error.kind() == VerifyErrorKind::MalformedClaim, "{} {}", claims, error);
                    stricter.set(stricter.get() + 1);
                }
            }
        }
        Ok(())
    });
    outcome.unwrap();
    let (accepted, stricter) = (accepted.get(), stricter.get());
    assert!(accepted > 1000 && stricter > 100, "{accepted} accepted, {stricter} refused that jsonwebtoken accepts");
}

/// The scanner must find the end of every string.
#[test]
fn claims_before_and_after_strings_with_escapes_are_found() {
    let verifier = verifier();
    for text in [
        r#""\"""#,
        r#""a\"""#,
        r#""\\""#,
        r#""\\\"""#,
        r#""\\\\""#,
        r#""\"\"""#,
        r#""\u0022""#,
        r#""],\"exp\":4000000000,[""#,
        r#""}""#,
        r#""{""#,
    ] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), ("[[1,", ",2]]"), (r#"[{"\"":"#, "}]"), ("", "")] {
            let more = |name: &str| format!(r#""{name}":{open}{text}{close}"#);
            let claims = |exp: u64| format!(r#"{{{},"exp":{exp},{},"iss":"me","aud":"us"}}"#, more("x"), more("y"));
            let kind = |claims: String| verify(&verifier, &sign(&claims)).err().map(|error| error.kind());
            assert_eq!(kind(claims(1000)), Some(VerifyErrorKind::Expired), "{}", claims(1000));
            assert_eq!(kind(claims(4_000_000_000)), None, "{}", claims(4_000_000_000));
            let bound = claims(4_000_000_000).replace(r#""iss""#, r#""cnf":{},"iss""#);
            assert_eq!(kind(bound), Some(VerifyErrorKind::SenderConstrained));
        }
    }
}

/// Whoever counts brackets in strings too finds the end of `x` only in `y`.
#[test]
fn brackets_in_strings_hide_no_claims() {
    let verifier = verifier();
    for (x, y) in [
        (r#"["["]"#, r#""]""#),
        (r#"["\"["]"#, r#""]""#),
        (r#"["\\["]"#, r#""]\\""#),
        (r#"{"a":"{"}"#, r#""}""#),
        (r#"{"[":1}"#, r#"["]"]"#),
    ] {
        for (hidden, kind) in
            [(r#""cnf":{}"#, VerifyErrorKind::SenderConstrained), (r#""nbf":4e9"#, VerifyErrorKind::NotYetValid)]
        {
            let claims = format!(r#"{{"exp":4000000000,"iss":"me","aud":"us","x":{x},{hidden},"y":{y}}}"#);
            let outcome = verify(&verifier, &sign(&claims));
            assert_eq!(outcome.err().map(|error| error.kind()), Some(kind), "{claims}");
        }
    }
}
