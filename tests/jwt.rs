//! `JwtVerifier`: every kind of key, and every check that `jsonwebtoken` does not make by default.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` at each call reads better")]
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_ws_auth::{
    ConfigError, Token, Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput,
    jwt::{Algorithm, Jwk, JwtKey, JwtVerifier, JwtVerifierBuilder},
    test_util::{TEST_SECRET, TestToken, base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;

const RSA: &str = include_str!("test_keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("test_keys/rsa2048.pub.pem");
const RSA_PKCS1: &str = include_str!("test_keys/rsa2048.pkcs1.pub.pem");
const RSA_SHORT: &str = include_str!("test_keys/rsa1024.pub.pem");
const P256: &str = include_str!("test_keys/p256.pem");
const P256_PUBLIC: &str = include_str!("test_keys/p256.pub.pem");
const P384: &str = include_str!("test_keys/p384.pem");
const P384_PUBLIC: &str = include_str!("test_keys/p384.pub.pem");
const P521_PUBLIC: &str = include_str!("test_keys/p521.pub.pem");
const ED25519: &str = include_str!("test_keys/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("test_keys/ed25519.pub.pem");

/// Long enough for every HMAC.
const LONG_SECRET: &[u8] = b"TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY";

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("a PEM body")
}

fn signing_key(algorithm: Algorithm) -> EncodingKey {
    let pem = |pem: &str| pem.as_bytes().to_vec();
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => EncodingKey::from_secret(LONG_SECRET),
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem(P256)).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(&pem(P384)).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem(ED25519)).unwrap(),
        _ => EncodingKey::from_rsa_pem(&pem(RSA)).unwrap(),
    }
}

/// Signs any header and claims, well-formed or not.
fn sign_raw(algorithm: Algorithm, key: &EncodingKey, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("a signing key");
    format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).expect("a signature")))
}

fn sign(algorithm: Algorithm, header: Value, claims: &Value) -> String {
    let mut complete = json!({"alg": format!("{algorithm:?}"), "typ": "JWT"});
    complete.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
    sign_raw(algorithm, &signing_key(algorithm), complete.to_string(), claims.to_string())
}

fn valid_claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

fn with_secret() -> JwtVerifierBuilder<Value> {
    JwtVerifier::builder().secret(LONG_SECRET).unwrap()
}

fn with_key(key: JwtKey) -> JwtVerifier<Value> {
    JwtVerifier::builder().key(key).build().unwrap()
}

async fn verify_at<C: 'static + Send + Sync + serde::de::DeserializeOwned>(
    verifier: &JwtVerifier<C>,
    token: &str,
    now: SystemTime,
) -> Result<Verified<C>, VerifyError> {
    let (parts, _) = handshake().build().into_parts();
    verifier.verify(VerifyInput::new(&Token::new(token), &parts, now)).await
}

async fn verify(verifier: &JwtVerifier<Value>, token: &str) -> Result<Verified<Value>, Kind> {
    verify_at(verifier, token, UNIX_EPOCH + Duration::from_secs(NOW)).await.map_err(|error| error.kind())
}

/// Whether `jsonwebtoken::decode` accepts the token, by the system clock.
fn jsonwebtoken_accepts(token: &str, key: &DecodingKey, validation: &Validation) -> bool {
    // Fails if it is already installed.
    let _ = DEFAULT_PROVIDER.install_default();
    jsonwebtoken::decode::<Value>(token, key, validation).is_ok()
}

#[tokio::test]
async fn every_algorithm_works_with_every_key_format() {
    let rsa = || {
        [
            JwtKey::pem(RSA_PUBLIC),
            JwtKey::pem(RSA_PKCS1),
            JwtKey::der(&der(RSA_PUBLIC)),
            JwtKey::der(&der(RSA_PKCS1)),
            JwtKey::jwk(&rsa_jwk(json!({}))),
        ]
    };
    let ec = |public, jwk: Jwk| vec![JwtKey::pem(public), JwtKey::der(&der(public)), JwtKey::jwk(&jwk)];
    let ed = || vec![JwtKey::pem(ED25519_PUBLIC), JwtKey::der(&der(ED25519_PUBLIC)), JwtKey::jwk(&ed_jwk())];
    let secret =
        || vec![JwtKey::secret(LONG_SECRET), JwtKey::jwk(&jwk(json!({"kty": "oct", "k": base64url(LONG_SECRET)})))];
    for (algorithm, keys) in [
        (Algorithm::HS256, secret()),
        (Algorithm::HS384, secret()),
        (Algorithm::HS512, secret()),
        (Algorithm::RS256, rsa().to_vec()),
        (Algorithm::RS384, rsa().to_vec()),
        (Algorithm::RS512, rsa().to_vec()),
        (Algorithm::PS256, rsa().to_vec()),
        (Algorithm::PS384, rsa().to_vec()),
        (Algorithm::PS512, rsa().to_vec()),
        (Algorithm::ES256, ec(P256_PUBLIC, ec_jwk(P256_PUBLIC, "P-256", 64))),
        (Algorithm::ES384, ec(P384_PUBLIC, ec_jwk(P384_PUBLIC, "P-384", 96))),
        (Algorithm::EdDSA, ed()),
    ] {
        let token = sign(algorithm, json!({}), &valid_claims());
        let (rest, signature) = token.rsplit_once('.').unwrap();
        let mut forged = base64url_decode(signature);
        forged[7] ^= 1;
        let forged = format!("{rest}.{}", base64url(forged));
        for (form, key) in keys.into_iter().enumerate() {
            let verifier = with_key(key.unwrap().algorithm(algorithm).unwrap());
            let verified =
                verify(&verifier, &token).await.unwrap_or_else(|kind| panic!("{algorithm:?} {form}: {kind:?}"));
            assert_eq!(verified.claims["sub"], "alice");
            assert_eq!(verified.subject.as_deref(), Some("alice"));
            assert_eq!(verified.expires_at, Some(UNIX_EPOCH + Duration::from_secs(NOW + 60 + 30)));
            assert_eq!(verify(&verifier, &forged).await, Err(Kind::BadSignature), "{algorithm:?} {form}");
        }
    }
}

#[test]
fn the_algorithm_follows_from_the_key() {
    for (key, algorithm) in [
        (JwtKey::secret(LONG_SECRET), "HS256"),
        (JwtKey::pem(RSA_PUBLIC), "RS256"),
        (JwtKey::pem(P256_PUBLIC), "ES256"),
        (JwtKey::pem(P384_PUBLIC), "ES384"),
        (JwtKey::pem(ED25519_PUBLIC), "EdDSA"),
        (JwtKey::jwk(&rsa_jwk(json!({"alg": "PS384"}))), "PS384"),
    ] {
        assert_eq!(format!("{:?}", key.unwrap()), format!("JwtKey {{ algorithm: {algorithm}, key_id: None, .. }}"));
    }
}

/// Some Java issuers write it, and one of the backends would reject every signature.
#[tokio::test]
async fn a_leading_zero_in_an_rsa_key_makes_no_difference() {
    let original = serde_json::to_value(rsa_jwk(json!({}))).unwrap();
    let padded = |name: &str| base64url([vec![0], base64url_decode(original[name].as_str().unwrap())].concat());
    let key = JwtKey::jwk(&rsa_jwk(json!({"n": padded("n"), "e": padded("e")}))).unwrap();
    assert!(verify(&with_key(key), &sign(Algorithm::RS256, json!({}), &valid_claims())).await.is_ok());
}

#[tokio::test]
async fn keys_are_selected_by_key_id() {
    let other_secret = [7; 32];
    let verifier = JwtVerifier::<Value>::builder()
        .key(JwtKey::secret(&other_secret).unwrap().key_id("old").unwrap())
        .key(JwtKey::secret(LONG_SECRET).unwrap().key_id("new").unwrap())
        .key(JwtKey::pem(RSA_PUBLIC).unwrap().key_id("rsa").unwrap())
        .build()
        .unwrap();
    for (name, algorithm, header, expected) in [
        ("matching", Algorithm::HS256, json!({"kid": "new"}), None),
        ("another", Algorithm::HS256, json!({"kid": "old"}), Some(Kind::BadSignature)),
        ("another algorithm", Algorithm::HS256, json!({"kid": "rsa"}), Some(Kind::WrongAlgorithm)),
        ("rsa", Algorithm::RS256, json!({"kid": "rsa"}), None),
        ("unknown", Algorithm::HS256, json!({"kid": "newer"}), Some(Kind::UnknownKey)),
        ("none: every key of the algorithm is tried", Algorithm::HS256, json!({}), None),
        ("wrong type", Algorithm::HS256, json!({"kid": 1}), Some(Kind::Malformed)),
        ("null", Algorithm::HS256, json!({"kid": null}), None),
        ("empty", Algorithm::HS256, json!({"kid": ""}), None),
    ] {
        let token = sign(algorithm, header, &valid_claims());
        assert_eq!(verify(&verifier, &token).await.err(), expected, "{name}");
    }
    // A key without an id matches any key id.
    let verifier = with_secret().build().unwrap();
    assert!(verify(&verifier, &sign(Algorithm::HS256, json!({"kid": "any"}), &valid_claims())).await.is_ok());
}

/// `jsonwebtoken::decode` with a configured issuer and audience accepts all of these.
#[tokio::test]
async fn tokens_that_jsonwebtoken_accepts_are_refused() {
    struct Case {
        name: &'static str,
        header: Value,
        /// The changed claims, given the current second. `REMOVED` removes a claim.
        change: fn(u64) -> Value,
        expected: Option<Kind>,
    }
    let case = |name, header, change, expected| Case { name, header, change, expected: Some(expected) };
    let typed = || json!({"typ": "at+jwt"});

    let verifier = with_secret().issuer("us").audience("chat").token_type("at+jwt").build().unwrap();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&["us"]);
    validation.set_audience(&["chat"]);
    validation.leeway = 30;
    let key = DecodingKey::from_secret(LONG_SECRET);
    let system_second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    for Case { name, header, change, expected } in [
        Case { name: "valid to both", header: typed(), change: |_| json!({}), expected: None },
        case("no issuer", typed(), |_| json!({"iss": "REMOVED"}), Kind::MissingClaim),
        case("no audience", typed(), |_| json!({"aud": "REMOVED"}), Kind::MissingClaim),
        case("an issuer of the wrong type", typed(), |_| json!({"iss": 7}), Kind::MalformedClaim),
        case("an audience of the wrong type", typed(), |_| json!({"aud": {"chat": 1}}), Kind::MalformedClaim),
        case("an issuer that is null", typed(), |_| json!({"iss": null}), Kind::MissingClaim),
        case("crit", json!({"typ": "at+jwt", "crit": ["b64"]}), |_| json!({}), Kind::CriticalHeader),
        case("empty crit", json!({"typ": "at+jwt", "crit": []}), |_| json!({}), Kind::CriticalHeader),
        case("expired on the second", typed(), |now| json!({"exp": now - 30}), Kind::Expired),
        case("expired by a fraction", typed(), |now| json!({"exp": now as f64 - 30.4}), Kind::Expired),
        case("never expiring", typed(), |_| json!({"exp": u64::MAX}), Kind::MalformedClaim),
        case("another token type", json!({"typ": "JWT"}), |_| json!({}), Kind::WrongType),
        case("not valid yet", typed(), |now| json!({"nbf": now + 60}), Kind::NotYetValid),
    ] {
        // `decode` reads the system clock, so repeat if the second changes meanwhile.
        let (now, token, accepted) = loop {
            let now = system_second();
            let mut claims = json!({"sub": "alice", "exp": now + 60, "iss": "us", "aud": "chat"});
            let claims_object = claims.as_object_mut().unwrap();
            claims_object.extend(change(now).as_object().unwrap().clone());
            claims_object.retain(|_, value| value != "REMOVED");
            let token = sign(Algorithm::HS256, header.clone(), &claims);
            let accepted = jsonwebtoken_accepts(&token, &key, &validation);
            if now == system_second() {
                break (now, token, accepted);
            }
        };
        assert!(accepted, "{name}: jsonwebtoken has become stricter");
        let outcome = verify_at(&verifier, &token, UNIX_EPOCH + Duration::from_secs(now)).await;
        assert_eq!(outcome.err().map(|error| error.kind()), expected, "{name}");
    }
}

/// `jsonwebtoken` accepts these keys, and verifies with them or fails at run time.
#[test]
fn weak_invalid_and_unsupported_keys_are_refused() {
    let weak = |algorithm: &str, bits, minimum| ConfigError::WeakKey { algorithm: algorithm.to_owned(), bits, minimum };
    let mismatch = |algorithm: &str| ConfigError::AlgorithmMismatch { algorithm: algorithm.to_owned() };
    for (key, expected) in [
        (JwtKey::secret(b""), weak("HS256", 0, 256)),
        (JwtKey::secret(&[1; 31]), weak("HS256", 248, 256)),
        (JwtKey::secret(&[1; 47]).and_then(|key| key.algorithm(Algorithm::HS384)), weak("HS384", 376, 384)),
        (JwtKey::secret(&[1; 63]).and_then(|key| key.algorithm(Algorithm::HS512)), weak("HS512", 504, 512)),
        (JwtKey::jwk(&jwk(json!({"kty": "oct", "k": "c2hvcnQ"}))), weak("HS256", 40, 256)),
        (JwtKey::pem(RSA_SHORT), weak("RS256", 1024, 2048)),
        (JwtKey::secret(LONG_SECRET).and_then(|key| key.algorithm(Algorithm::RS256)), mismatch("RS256")),
        (JwtKey::pem(RSA_PUBLIC).and_then(|key| key.algorithm(Algorithm::HS256)), mismatch("HS256")),
        (JwtKey::pem(RSA_PUBLIC).and_then(|key| key.algorithm(Algorithm::ES256)), mismatch("ES256")),
        (JwtKey::pem(P256_PUBLIC).and_then(|key| key.algorithm(Algorithm::ES384)), mismatch("ES384")),
        (JwtKey::pem(P384_PUBLIC).and_then(|key| key.algorithm(Algorithm::ES256)), mismatch("ES256")),
        (JwtKey::jwk(&rsa_jwk(json!({"alg": "ES256"}))), mismatch("ES256")),
        (JwtKey::secret(LONG_SECRET).and_then(|key| key.key_id("")), ConfigError::Empty("key id")),
    ] {
        assert_eq!(key.unwrap_err(), expected);
    }

    let on = |x: &[u8], y: &[u8], curve: &str| json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)});
    let (x, y) = (point(P256_PUBLIC, 64)[..32].to_vec(), point(P256_PUBLIC, 64)[32..].to_vec());
    let mut off = y.clone();
    off[31] ^= 1;
    for (name, key) in [
        ("private RSA", JwtKey::pem(RSA)),
        ("private EC", JwtKey::pem(P256)),
        ("private Ed25519", JwtKey::pem(ED25519)),
        ("P-521", JwtKey::pem(P521_PUBLIC)),
        ("not PEM", JwtKey::pem("secret")),
        ("empty PEM", JwtKey::pem("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n")),
        ("a certificate", JwtKey::pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
        ("not DER", JwtKey::der(b"secret")),
        ("empty DER", JwtKey::der(b"")),
        ("truncated DER", JwtKey::der(&der(RSA_PUBLIC)[..200])),
        ("private DER", JwtKey::der(&der(P256))),
        ("encryption key", JwtKey::jwk(&rsa_jwk(json!({"use": "enc"})))),
        ("key_ops", JwtKey::jwk(&rsa_jwk(json!({"key_ops": ["encrypt"]})))),
        ("RSA-OAEP", JwtKey::jwk(&rsa_jwk(json!({"alg": "RSA-OAEP"})))),
        ("unknown alg", JwtKey::jwk(&rsa_jwk(json!({"alg": "XX"})))),
        ("exponent one", JwtKey::jwk(&rsa_jwk(json!({"e": "AQ"})))),
        ("no exponent", JwtKey::jwk(&rsa_jwk(json!({"e": ""})))),
        ("even exponent", JwtKey::jwk(&rsa_jwk(json!({"e": "Ag"})))),
        ("not base64url", JwtKey::jwk(&rsa_jwk(json!({"n": "+/=="})))),
        ("point off the curve", JwtKey::jwk(&jwk(on(&x, &off, "P-256")))),
        ("wrong curve name", JwtKey::jwk(&jwk(on(&x, &y, "P-384")))),
        ("short coordinate", JwtKey::jwk(&jwk(on(&x[1..], &y, "P-256")))),
        ("shifted coordinates", JwtKey::jwk(&jwk(on(&x[1..], &[&x[..1], &y].concat(), "P-256")))),
        ("short Ed25519", JwtKey::jwk(&jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})))),
        ("long Ed25519", JwtKey::jwk(&jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": base64url([1; 33])})))),
        ("small order", JwtKey::jwk(&ed_of([&[1], [0; 31].as_slice()].concat()))),
        ("small order, negative", JwtKey::jwk(&ed_of([&[1], [0; 30].as_slice(), &[0x80]].concat()))),
        ("order four", JwtKey::jwk(&ed_of(vec![0; 32]))),
        ("order two", JwtKey::jwk(&ed_of([&[0xec], [0xff; 30].as_slice(), &[0x7f]].concat()))),
        ("p for zero", JwtKey::jwk(&ed_of([&[0xed], [0xff; 30].as_slice(), &[0x7f]].concat()))),
        ("p + 1 for one", JwtKey::jwk(&ed_of([&[0xee], [0xff; 30].as_slice(), &[0xff]].concat()))),
        ("order eight", JwtKey::jwk(&ed_of(ORDER_EIGHT.to_vec()))),
        ("a long exponent", JwtKey::jwk(&rsa_jwk(json!({"e": base64url([1, 0, 0, 0, 0, 0, 1])})))),
        ("two PEMs", JwtKey::pem(format!("{RSA_PUBLIC}{P256_PUBLIC}"))),
        ("X25519", JwtKey::jwk(&jwk(json!({"kty": "OKP", "crv": "X25519", "x": base64url([1; 32])})))),
        ("OKP on P-256", JwtKey::jwk(&jwk(json!({"kty": "OKP", "crv": "P-256", "x": base64url([1; 32])})))),
        ("unknown type", JwtKey::jwk(&jwk(json!({"kty": "XX"})))),
    ] {
        assert!(matches!(key, Err(ConfigError::InvalidKey { .. })), "{name}: {key:?}");
    }

    // What the crypto backend would refuse, or would not, is refused before it sees the key.
    let problem = |key: Result<JwtKey, ConfigError>| match key {
        Err(ConfigError::InvalidKey { problem }) => problem,
        other => panic!("{other:?}"),
    };
    let modulus = |bits: usize| {
        let mut n = vec![0; bits.div_ceil(8)];
        n[0] = if bits.is_multiple_of(8) { 0x80 } else { 1 };
        *n.last_mut().unwrap() = 1;
        JwtKey::jwk(&rsa_jwk(json!({ "n": base64url(n) })))
    };
    let longest = if cfg!(feature = "aws-lc-rs") { 8192 } else { 4096 };
    assert!(modulus(longest).is_ok());
    assert_eq!(problem(modulus(longest + 1)), "its modulus is longer than the crypto backend supports");
    for even in [json!({"e": "Ag"}), json!({"e": "AQAA"}), json!({"n": base64url([&[0xff; 255][..], &[2]].concat())})] {
        assert_eq!(problem(JwtKey::jwk(&rsa_jwk(even))), "it is not a well-formed RSA public key");
    }

    assert_eq!(JwtVerifier::<Value>::builder().build().unwrap_err(), ConfigError::NoKey);
    assert_eq!(with_secret().issuer("").build().unwrap_err(), ConfigError::Empty("issuer"));
    assert_eq!(with_secret().audience("").build().unwrap_err(), ConfigError::Empty("audience"));
    let both = with_secret().audience("a").insecure_any_audience().build();
    assert_eq!(both.unwrap_err(), ConfigError::AudienceAndAny);
    let hour = Duration::from_secs(3600);
    assert!(with_secret().leeway(hour).build().is_ok());
    let longer = hour + Duration::from_nanos(1);
    assert_eq!(with_secret().leeway(longer).build().unwrap_err(), ConfigError::LongLeeway(longer));
    for types in [&[""][..], &["at+jwt", ""]] {
        let builder = types.iter().fold(with_secret(), |builder, typ| builder.token_type(*typ));
        assert_eq!(builder.build().unwrap_err(), ConfigError::Empty("token type"));
    }
}

/// `jsonwebtoken` accepts these secrets.
#[test]
fn weak_secrets_are_refused() {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
    for secret in [b"".as_slice(), b"secret"] {
        let key = EncodingKey::from_secret(secret);
        let token = sign_raw(Algorithm::HS256, &key, r#"{"alg":"HS256"}"#, json!({"exp": exp}).to_string());
        assert!(jsonwebtoken_accepts(&token, &DecodingKey::from_secret(secret), &Validation::new(Algorithm::HS256)));
        assert!(JwtKey::secret(secret).is_err());
    }
}

#[tokio::test]
async fn the_key_determines_the_algorithm() {
    let rsa = with_key(JwtKey::pem(RSA_PUBLIC).unwrap());
    let public = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    let claims = valid_claims().to_string();
    let header = |algorithm: &str| json!({"alg": algorithm}).to_string();
    // The public key as an HMAC secret.
    let confused = sign_raw(Algorithm::HS256, &public, header("HS256"), &claims);
    assert_eq!(verify(&rsa, &confused).await, Err(Kind::WrongAlgorithm));
    let renamed = sign_raw(Algorithm::HS256, &public, header("RS256"), &claims);
    assert_eq!(verify(&rsa, &renamed).await, Err(Kind::BadSignature));
    // Another algorithm of the same key.
    let pss = sign(Algorithm::PS256, json!({}), &valid_claims());
    assert_eq!(verify(&rsa, &pss).await, Err(Kind::WrongAlgorithm));
    for none in ["none", "None", "NONE", "", "hs256", "HS257"] {
        let unsigned = format!("{}.{}.", base64url(header(none)), base64url(&claims));
        for verifier in [&rsa, &with_secret().build().unwrap()] {
            assert_eq!(verify(verifier, &unsigned).await, Err(Kind::WrongAlgorithm), "{none}");
        }
    }
    let no_signature = format!("{}.{}.", base64url(header("HS256")), base64url(&claims));
    assert_eq!(verify(&with_secret().build().unwrap(), &no_signature).await, Err(Kind::BadSignature));
}

#[tokio::test]
async fn keys_in_the_header_are_ignored() {
    let verifier = with_secret().build().unwrap();
    let own_key = jwk(json!({"kty": "oct", "k": base64url([9; 32])}));
    let header = json!({
        "alg": "HS256", "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert", "jwk": own_key, "x5c": ["AAAA"],
    });
    let forged =
        sign_raw(Algorithm::HS256, &EncodingKey::from_secret(&[9; 32]), header.to_string(), valid_claims().to_string());
    assert_eq!(verify(&verifier, &forged).await, Err(Kind::BadSignature));
    // A valid token with these members is accepted.
    let valid = sign(Algorithm::HS256, header, &valid_claims());
    assert!(verify(&verifier, &valid).await.is_ok());
}

#[tokio::test]
async fn malformed_tokens_are_refused() {
    let verifier = with_secret().build().unwrap();
    let valid = sign(Algorithm::HS256, json!({}), &valid_claims());
    let (head, signature) = valid.rsplit_once('.').unwrap();
    let raw = |header: &str, claims: &str| sign_raw(Algorithm::HS256, &signing_key(Algorithm::HS256), header, claims);
    let claims = valid_claims().to_string();
    for (name, token, expected) in [
        ("empty", String::new(), Kind::Malformed),
        ("one part", "abc".to_owned(), Kind::Malformed),
        ("two parts", head.to_owned(), Kind::Malformed),
        ("four parts", format!("{valid}."), Kind::Malformed),
        ("five parts (JWE)", format!("{valid}.a.b"), Kind::Malformed),
        ("dots", "..".to_owned(), Kind::Malformed),
        ("padding", format!("{head}.{signature}="), Kind::Malformed),
        ("the other alphabet", format!("{head}.+/{}", &signature[2..]), Kind::Malformed),
        ("a header that is not JSON", raw("nope", &claims), Kind::Malformed),
        ("a header that is an array", raw("[]", &claims), Kind::Malformed),
        ("a header without alg", raw("{}", &claims), Kind::Malformed),
        ("alg twice", raw(r#"{"alg":"HS256","alg":"none"}"#, &claims), Kind::Malformed),
        ("alg of the wrong type", raw(r#"{"alg":1}"#, &claims), Kind::Malformed),
        ("claims that are not JSON", raw(r#"{"alg":"HS256"}"#, "nope"), Kind::MalformedClaim),
        ("a header as an array", raw(r#"["HS256"]"#, &claims), Kind::Malformed),
        ("claims that are an array", raw(r#"{"alg":"HS256"}"#, "[1]"), Kind::MalformedClaim),
        (
            "claims as an array",
            raw(r#"{"alg":"HS256"}"#, &format!(r#"["i","s","a",{}]"#, NOW + 60)),
            Kind::MalformedClaim,
        ),
        (
            "exp twice",
            raw(r#"{"alg":"HS256"}"#, &format!(r#"{{"exp":{},"exp":{}}}"#, NOW - 99, NOW + 99)),
            Kind::MalformedClaim,
        ),
        ("text after the claims", raw(r#"{"alg":"HS256"}"#, &format!("{claims} x")), Kind::MalformedClaim),
        (
            "deeply nested claims",
            raw(r#"{"alg":"HS256"}"#, &format!(r#"{{"exp":{},"x":{}"#, NOW + 60, "[".repeat(4000))),
            Kind::MalformedClaim,
        ),
    ] {
        assert_eq!(verify(&verifier, &token).await.err(), Some(expected), "{name}");
    }
    // Not canonical: the last symbol of the signature has unused bits, one of which is set.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    let noncanonical = format!("{}{next}", &valid[..valid.len() - 1]);
    assert_eq!(verify(&verifier, &noncanonical).await, Err(Kind::Malformed));
}

#[tokio::test]
async fn expiry_is_exact_to_the_nanosecond() {
    let exact = with_secret().leeway(Duration::ZERO).build().unwrap();
    let lenient = with_secret().build().unwrap();
    let at = |seconds: u64, nanos: u32| UNIX_EPOCH + Duration::new(seconds, nanos);
    for (exp, now, expected) in [
        (json!(NOW), at(NOW - 1, 999_999_999), None),
        (json!(NOW), at(NOW, 0), Some(Kind::Expired)),
        (json!(NOW as f64 + 0.5), at(NOW, 499_999_999), None),
        (json!(NOW as f64 + 0.5), at(NOW, 500_000_000), Some(Kind::Expired)),
        (json!(1.7e9), at(NOW - 1, 0), None),
        (json!(0), at(NOW, 0), Some(Kind::Expired)),
        (json!(-1), at(NOW, 0), Some(Kind::Expired)),
        (json!(-1.5), at(NOW, 0), Some(Kind::Expired)),
        (json!(253_402_300_799_u64), at(NOW, 0), None),
        (json!(u64::MAX), at(NOW, 0), Some(Kind::MalformedClaim)),
        (json!(i64::MIN), at(NOW, 0), Some(Kind::Expired)),
        (json!(1e300), at(NOW, 0), Some(Kind::MalformedClaim)),
        (json!("1700000060"), at(NOW, 0), Some(Kind::MalformedClaim)),
        (json!(true), at(NOW, 0), Some(Kind::MalformedClaim)),
        (json!(null), at(NOW, 0), Some(Kind::MalformedClaim)),
    ] {
        let token = sign(Algorithm::HS256, json!({}), &json!({"exp": exp}));
        let outcome = verify_at(&exact, &token, now).await;
        assert_eq!(outcome.as_ref().err().map(VerifyError::kind), expected, "{exp} at {now:?}");
        if let Ok(verified) = outcome {
            // `expires_at` is the first time at which the token is refused.
            let deadline = verified.expires_at.unwrap();
            assert_eq!(verify_at(&exact, &token, deadline).await.unwrap_err().kind(), Kind::Expired, "{exp}");
        }
    }
    let token = sign(Algorithm::HS256, json!({}), &json!({"exp": NOW}));
    assert!(verify_at(&lenient, &token, at(NOW + 29, 999_999_999)).await.is_ok());
    assert_eq!(verify_at(&lenient, &token, at(NOW + 30, 0)).await.unwrap_err().kind(), Kind::Expired);
    // `SystemTime` can represent i64::MAX seconds, but not with leeway added.
    let token = sign(Algorithm::HS256, json!({}), &json!({"exp": i64::MAX}));
    assert_eq!(verify(&lenient, &token).await, Err(Kind::MalformedClaim));
    // A clock before 1970 does not panic.
    let token = sign(Algorithm::HS256, json!({}), &valid_claims());
    assert!(verify_at(&exact, &token, UNIX_EPOCH - Duration::from_secs(1)).await.is_ok());
}

#[tokio::test]
async fn a_token_without_exp_is_refused_unless_allowed() {
    let token = sign(Algorithm::HS256, json!({}), &json!({"sub": "alice"}));
    let verifier = with_secret().build().unwrap();
    assert_eq!(verify(&verifier, &token).await, Err(Kind::MissingClaim));
    let verifier = with_secret().insecure_allow_missing_exp().build().unwrap();
    assert_eq!(verify(&verifier, &token).await.unwrap().expires_at, None);
    let expired = sign(Algorithm::HS256, json!({}), &json!({"exp": 1}));
    assert_eq!(verify(&verifier, &expired).await, Err(Kind::Expired));
}

#[tokio::test]
async fn a_token_before_its_nbf_is_not_valid_yet() {
    let verifier = with_secret().build().unwrap();
    for (nbf, expected) in [
        (json!(NOW + 30), None),
        (json!(NOW + 31), Some(Kind::NotYetValid)),
        (json!(NOW as f64 + 30.5), Some(Kind::NotYetValid)),
        (json!(-5), None),
        (json!(u64::MAX), Some(Kind::MalformedClaim)),
        (json!("0"), Some(Kind::MalformedClaim)),
    ] {
        let token = sign(Algorithm::HS256, json!({}), &json!({"exp": NOW + 99, "nbf": nbf}));
        assert_eq!(verify(&verifier, &token).await.err(), expected, "{nbf}");
    }
}

#[tokio::test]
async fn issuers_and_audiences_are_checked() {
    let token = |claims: Value| {
        let mut all = valid_claims();
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        sign(Algorithm::HS256, json!({}), &all)
    };
    let none = with_secret().build().unwrap();
    let one = with_secret().issuer("a").audience("x").build().unwrap();
    let two = with_secret().issuer("a").issuer("b").audience("x").audience("y").build().unwrap();
    let any = with_secret().insecure_any_audience().build().unwrap();
    for (name, verifier, claims, expected) in [
        ("nothing configured", &none, json!({}), None),
        ("any issuer", &none, json!({"iss": "any"}), None),
        ("an audience, none configured", &none, json!({"aud": "any"}), Some(Kind::WrongAudience)),
        ("an empty audience, none configured", &none, json!({"aud": []}), Some(Kind::WrongAudience)),
        ("any audience", &any, json!({"aud": "any"}), None),
        ("matching", &one, json!({"iss": "a", "aud": "x"}), None),
        ("an array", &one, json!({"iss": "a", "aud": ["w", "x"]}), None),
        ("wrong issuer", &one, json!({"iss": "A", "aud": "x"}), Some(Kind::WrongIssuer)),
        ("issuer with a slash", &one, json!({"iss": "a/", "aud": "x"}), Some(Kind::WrongIssuer)),
        ("wrong audience", &one, json!({"iss": "a", "aud": "y"}), Some(Kind::WrongAudience)),
        ("an empty array", &one, json!({"iss": "a", "aud": []}), Some(Kind::WrongAudience)),
        ("an array of issuers", &one, json!({"iss": ["a"], "aud": "x"}), Some(Kind::MalformedClaim)),
        ("an audience that is not a string", &one, json!({"iss": "a", "aud": ["x", 1]}), Some(Kind::MalformedClaim)),
        ("the second of each", &two, json!({"iss": "b", "aud": "y"}), None),
        ("a subject that is not a string", &one, json!({"iss": "a", "aud": "x", "sub": 1}), Some(Kind::MalformedClaim)),
    ] {
        assert_eq!(verify(verifier, &token(claims)).await.err(), expected, "{name}");
    }
    // The subject is of the issuer that the token names.
    let of_second = verify(&two, &token(json!({"iss": "b", "aud": "y"}))).await.unwrap();
    assert_eq!(of_second.issuer.as_deref(), Some("b"));
    // Escaped strings are equal.
    let escaped = format!(r#"{{"exp":{},"iss":"\u0061","aud":"\u0078"}}"#, NOW + 60);
    let escaped = sign_raw(Algorithm::HS256, &signing_key(Algorithm::HS256), r#"{"alg":"HS256"}"#, escaped);
    assert!(verify(&one, &escaped).await.is_ok());
}

#[tokio::test]
async fn the_token_type_can_be_required() {
    let verifier = with_secret().token_type("at+jwt").build().unwrap();
    for (typ, expected) in [
        (json!("at+jwt"), None),
        (json!("AT+JWT"), None),
        (json!("application/at+jwt"), None),
        (json!("Application/At+Jwt"), None),
        (json!("JWT"), Some(Kind::WrongType)),
        (json!("text/at+jwt"), Some(Kind::WrongType)),
        (json!(""), Some(Kind::WrongType)),
        (json!(1), Some(Kind::Malformed)),
    ] {
        let token = sign(Algorithm::HS256, json!({"typ": typ}), &valid_claims());
        assert_eq!(verify(&verifier, &token).await.err(), expected, "{typ}");
    }
    let untyped =
        sign_raw(Algorithm::HS256, &signing_key(Algorithm::HS256), r#"{"alg":"HS256"}"#, valid_claims().to_string());
    assert_eq!(verify(&verifier, &untyped).await, Err(Kind::WrongType));
}

#[tokio::test]
async fn claims_that_do_not_deserialize_are_unexpected() {
    #[derive(Debug, serde::Deserialize)]
    struct Claims {
        #[expect(dead_code, reason = "only its absence matters")]
        room: String,
    }
    let verifier = JwtVerifier::<Claims>::builder().secret(TEST_SECRET).unwrap().build().unwrap();
    let error = verify_at(&verifier, &TestToken::new("alice").sign(), SystemTime::now()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UnexpectedClaims);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("missing field `room`"), "{source}");
}

#[tokio::test]
async fn errors_name_the_claim() {
    let verifier = with_secret().issuer("us").build().unwrap();
    let token = sign(Algorithm::HS256, json!({}), &valid_claims());
    let error = verify_at(&verifier, &token, UNIX_EPOCH).await.unwrap_err();
    assert_eq!(error.claim(), Some("iss"));
    assert_eq!(error.to_string(), "a required claim is missing (`iss`)");
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
        let mut claims = valid_claims();
        claims["iss"] = json!("us");
        claims[name] = json!({});
        let error = verify_at(&verifier, &sign(Algorithm::HS256, json!({}), &claims), UNIX_EPOCH).await.unwrap_err();
        assert_eq!((error.kind(), error.claim()), (Kind::MalformedClaim, Some(name)));
    }
    // Not a claim is wrong, but the JSON.
    let broken = sign_raw(Algorithm::HS256, &signing_key(Algorithm::HS256), r#"{"alg":"HS256"}"#, r#"{"exp":1"#);
    let error = verify_at(&verifier, &broken, UNIX_EPOCH).await.unwrap_err();
    assert_eq!((error.kind(), error.claim()), (Kind::MalformedClaim, None));
}

#[test]
fn keys_are_never_printed() {
    let builder = with_secret().issuer("us");
    let shown = format!("{builder:?} {:?} {:?}", builder, with_secret().build().unwrap());
    for format in
        [String::from_utf8_lossy(LONG_SECRET).into_owned(), base64url(LONG_SECRET), format!("{LONG_SECRET:?}")]
    {
        assert!(!shown.contains(&format), "{shown}");
    }
}

fn base64url_decode(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

fn jwk(value: Value) -> Jwk {
    serde_json::from_value(value).expect("a JWK")
}

/// The coordinates at the end of the DER of an EC key.
fn point(public: &str, len: usize) -> Vec<u8> {
    let der = der(public);
    der[der.len() - len..].to_vec()
}

fn ec_jwk(public: &str, curve: &str, len: usize) -> Jwk {
    let point = point(public, len);
    let (x, y) = point.split_at(len / 2);
    jwk(json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)}))
}

const ORDER_EIGHT: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac,
    0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];

fn ed_of(point: Vec<u8>) -> Jwk {
    jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(point)}))
}

fn ed_jwk() -> Jwk {
    jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(point(ED25519_PUBLIC, 32))}))
}

fn rsa_jwk(change: Value) -> Jwk {
    let (n, e) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(&der(RSA_PKCS1)).expect("an RSA key");
    let mut value = json!({"kty": "RSA", "n": base64url(n), "e": base64url(e)});
    value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    jwk(value)
}

#[test]
fn at_most_16_keys_are_tried_for_a_token() {
    let verifier = |others: u8| {
        let builder =
            (0..others).fold(JwtVerifier::<Value>::builder(), |builder, other| builder.secret(&[other; 32]).unwrap());
        builder.key(JwtKey::secret(TEST_SECRET).unwrap().key_id("ours").unwrap()).build().unwrap()
    };
    let kind = |others: u8, token: &str| {
        let (token, parts) = (Token::new(token), handshake().build().into_parts().0);
        let outcome = verifier(others).verify_now(VerifyInput::new(&token, &parts, SystemTime::now())).unwrap();
        outcome.map(drop).map_err(|error| error.kind())
    };
    let any = TestToken::new("alice").sign();
    assert_eq!(kind(15, &any), Ok(()));
    assert_eq!(kind(16, &any), Err(Kind::BadSignature));
}
