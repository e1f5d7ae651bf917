//! Tokens and keys as issuers write them: variants that are accepted, and similar input that is refused.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` at each call reads better")]
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]

use std::time::{Duration, UNIX_EPOCH};

use axum_ws_auth::{
    CachedVerifier, ConfigError, Token, Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput,
    jwt::{Algorithm, Jwk, JwtKey, JwtVerifier, JwtVerifierBuilder},
    test_util::{base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::EncodingKey;
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"TEST KEY TEST KEY TEST KEY TEST KEY";

const RSA: &str = include_str!("test_keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("test_keys/rsa2048.pub.pem");
const RSA_PKCS1: &str = include_str!("test_keys/rsa2048.pkcs1.pub.pem");
const P256: &str = include_str!("test_keys/p256.pem");
const P256_PUBLIC: &str = include_str!("test_keys/p256.pub.pem");
const P384_PUBLIC: &str = include_str!("test_keys/p384.pub.pem");
const P521_PUBLIC: &str = include_str!("test_keys/p521.pub.pem");
const ED25519: &str = include_str!("test_keys/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("test_keys/ed25519.pub.pem");
/// RFC 8032 §7.1, test 1.
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn with_secret<C: DeserializeOwned + Send + Sync + 'static>() -> JwtVerifierBuilder<C> {
    JwtVerifier::builder().secret(SECRET).unwrap()
}

fn sign_with(algorithm: Algorithm, key: &EncodingKey, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).unwrap();
    format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).unwrap()))
}

fn sign(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    sign_with(Algorithm::HS256, &EncodingKey::from_secret(SECRET), header, claims)
}

fn with_header(members: Value) -> String {
    let mut header = json!({"alg": "HS256"});
    header.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    sign(header.to_string(), json!({"sub": "alice", "exp": NOW + 60}).to_string())
}

fn with_claims(members: Value) -> String {
    let mut claims = json!({"sub": "alice", "exp": NOW + 60});
    claims.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    sign(r#"{"alg":"HS256"}"#, claims.to_string())
}

async fn verified<V: Verifier>(verifier: &V, token: &str) -> Result<Verified<V::Claims>, VerifyError> {
    let (parts, _) = handshake().build().into_parts();
    verifier.verify(VerifyInput::new(&Token::new(token), &parts, UNIX_EPOCH + Duration::from_secs(NOW))).await
}

async fn outcome(verifier: &impl Verifier, token: &str) -> Option<Kind> {
    verified(verifier, token).await.err().map(|error| error.kind())
}

// ---- Other kinds of tokens.

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_refused() {
    let strict = with_secret::<Value>().build().unwrap();
    let cached = CachedVerifier::new(strict.clone());
    let lenient = with_secret::<Value>().insecure_ignore_cnf().build().unwrap();
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    for cnf in [
        json!({"jkt": thumbprint}),
        json!({"x5t#S256": thumbprint}),
        json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": ED_X}}),
        json!({"jwe": "a.b.c.d.e"}),
        json!({"kid": "a"}),
        json!({"jku": "https://id.example.com/keys", "kid": "a"}),
        json!({"a new member": 1}),
        json!({}),
        json!([]),
        json!(""),
        json!(false),
        json!(null),
    ] {
        let token = with_claims(json!({ "cnf": cnf }));
        let error = verified(&strict, &token).await.unwrap_err();
        assert_eq!((error.kind(), error.claim()), (Kind::SenderConstrained, Some("cnf")), "{cnf}");
        for _ in 0..2 {
            assert_eq!(outcome(&cached, &token).await, Some(Kind::SenderConstrained), "{cnf}");
        }
        let verified = verified(&lenient, &token).await.unwrap();
        assert_eq!(verified.claims["cnf"], cnf, "another check needs it");
    }
    let raw = |claims: &str| sign(r#"{"alg":"HS256"}"#, claims.replace("NOW", &(NOW + 60).to_string()));
    for (name, claims, expected) in [
        ("first", r#"{"cnf":{"jkt":"a"},"exp":NOW}"#, Some(Kind::SenderConstrained)),
        ("escaped name", r#"{"exp":NOW,"c\u006ef":{"jkt":"a"}}"#, Some(Kind::SenderConstrained)),
        ("after an escaped claim", r#"{"exp":NOW,"sub":"\u0061","cnf":{}}"#, Some(Kind::SenderConstrained)),
        ("twice", r#"{"exp":NOW,"cnf":null,"cnf":{}}"#, Some(Kind::MalformedClaim)),
        ("within another claim", r#"{"exp":NOW,"act":{"cnf":{"jkt":"a"}}}"#, None),
        ("another name", r#"{"exp":NOW,"Cnf":{"jkt":"a"},"cnf ":1}"#, None),
        ("inside a string", r#"{"exp":NOW,"sub":"\"cnf\":{}"}"#, None),
    ] {
        assert_eq!(outcome(&strict, &raw(claims)).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_token_of_another_type_is_refused() {
    let default = with_secret::<Value>().build().unwrap();
    let one = with_secret::<Value>().token_type("Application/AT+jwt").build().unwrap();
    let two = with_secret::<Value>().token_type("at+jwt").token_type("my-token").build().unwrap();
    const REFUSED: Option<Kind> = Some(Kind::WrongType);
    for (typ, by_default, if_at_jwt, if_two) in [
        (json!({}), None, REFUSED, REFUSED),
        (json!({"typ": null}), None, REFUSED, REFUSED),
        (json!({"typ": ""}), None, REFUSED, REFUSED),
        (json!({"typ": "JWT"}), None, REFUSED, REFUSED),
        (json!({"typ": "jwt"}), None, REFUSED, REFUSED),
        (json!({"typ": "application/jwt"}), None, REFUSED, REFUSED),
        (json!({"typ": "at+jwt"}), None, None, None),
        (json!({"typ": "AT+JWT"}), None, None, None),
        (json!({"typ": "application/at+jwt"}), None, None, None),
        (json!({"typ": "APPLICATION/At+Jwt"}), None, None, None),
        (json!({"typ": "my-token"}), REFUSED, REFUSED, None),
        (json!({"typ": "logout+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "application/logout+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "Logout+JWT"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "secevent+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "dpop+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "token-introspection+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "oauth-authz-req+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "client-authentication+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "kb+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "dc+sd-jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "id_token+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "JOSE"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "text/jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "application/"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "application/application/jwt"}), REFUSED, REFUSED, REFUSED),
        // As long as `application/`.
        (json!({"typ": "bpplication/jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "bpplication/at+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "at+jwt; charset=utf-8"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": " JWT"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "at+jwt "}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "jwt\u{0}"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": "JWT, at+jwt"}), REFUSED, REFUSED, REFUSED),
        (json!({"typ": 1}), Some(Kind::Malformed), Some(Kind::Malformed), Some(Kind::Malformed)),
        (json!({"typ": ["JWT"]}), Some(Kind::Malformed), Some(Kind::Malformed), Some(Kind::Malformed)),
        (json!({"typ": {}}), Some(Kind::Malformed), Some(Kind::Malformed), Some(Kind::Malformed)),
    ] {
        let token = with_header(typ.clone());
        assert_eq!(outcome(&default, &token).await, by_default, "{typ}");
        assert_eq!(outcome(&one, &token).await, if_at_jwt, "{typ}, one type allowed");
        assert_eq!(outcome(&two, &token).await, if_two, "{typ}, two types allowed");
    }
}

// ---- Null and empty members.

/// The table in the module docs.
#[tokio::test]
async fn null_and_empty_members_are_accepted_where_this_weakens_no_check() {
    let default = with_secret::<Value>().build().unwrap();
    let without_exp = with_secret::<Value>().insecure_allow_missing_exp().build().unwrap();
    let strict = with_secret::<Value>().issuer("us").audience("chat").build().unwrap();
    for (name, verifier, token, expected) in [
        ("kid null", &default, with_header(json!({"kid": null})), None),
        ("kid empty", &default, with_header(json!({"kid": ""})), None),
        ("alg null", &default, with_header(json!({"alg": null})), Some(Kind::Malformed)),
        ("alg empty", &default, with_header(json!({"alg": ""})), Some(Kind::WrongAlgorithm)),
        ("crit null", &default, with_header(json!({"crit": null})), Some(Kind::CriticalHeader)),
        ("crit empty list", &default, with_header(json!({"crit": []})), Some(Kind::CriticalHeader)),
        ("crit empty", &default, with_header(json!({"crit": ""})), Some(Kind::CriticalHeader)),
        (
            "ignored members",
            &default,
            with_header(json!({"cty": null, "jku": null, "jwk": null, "x5c": null, "x5t": "", "x5u": null})),
            None,
        ),
        ("iss null, none configured", &default, with_claims(json!({"iss": null})), None),
        ("iss null", &strict, with_claims(json!({"iss": null, "aud": "chat"})), Some(Kind::MissingClaim)),
        ("iss empty", &strict, with_claims(json!({"iss": "", "aud": "chat"})), Some(Kind::MissingClaim)),
        ("iss empty, none configured", &default, with_claims(json!({"iss": ""})), None),
        ("aud null, none configured", &default, with_claims(json!({"aud": null})), None),
        ("aud null", &strict, with_claims(json!({"iss": "us", "aud": null})), Some(Kind::MissingClaim)),
        ("aud empty", &strict, with_claims(json!({"iss": "us", "aud": ""})), Some(Kind::WrongAudience)),
        ("aud empty, none configured", &default, with_claims(json!({"aud": ""})), Some(Kind::WrongAudience)),
        (
            "aud null in a list",
            &strict,
            with_claims(json!({"iss": "us", "aud": ["chat", null]})),
            Some(Kind::MalformedClaim),
        ),
        ("exp null", &default, with_claims(json!({"exp": null})), Some(Kind::MalformedClaim)),
        ("exp null, not required", &without_exp, with_claims(json!({"exp": null})), Some(Kind::MalformedClaim)),
        ("exp empty", &without_exp, with_claims(json!({"exp": ""})), Some(Kind::MalformedClaim)),
        ("nbf null", &default, with_claims(json!({"nbf": null})), None),
        ("nbf empty", &default, with_claims(json!({"nbf": ""})), Some(Kind::MalformedClaim)),
        ("iat null", &default, with_claims(json!({"iat": null})), None),
        ("jti null", &default, with_claims(json!({"jti": null})), None),
        ("sub null", &default, with_claims(json!({"sub": null})), None),
        ("sub and jti empty", &default, with_claims(json!({"sub": "", "jti": ""})), None),
        ("sid null", &default, with_claims(json!({"sid": null})), None),
        ("sid a number", &default, with_claims(json!({"sid": 7})), Some(Kind::MalformedClaim)),
        (
            "kid twice, once null",
            &default,
            sign(r#"{"alg":"HS256","kid":null,"kid":"a"}"#, "{}"),
            Some(Kind::Malformed),
        ),
        ("padding", &default, with_header(json!({})) + "=", Some(Kind::Malformed)),
    ] {
        assert_eq!(outcome(verifier, &token).await, expected, "{name}");
    }
    // Users without a name are not all the same subject.
    for absent in [json!(null), json!("")] {
        let claims = with_claims(json!({"sub": absent, "jti": absent, "sid": absent, "iat": null, "iss": absent}));
        let verified = verified(&default, &claims).await.unwrap();
        let found = (&verified.subject, &verified.token_id, verified.issued_at, &verified.issuer);
        assert_eq!(found, (&None, &None, None, &None), "{absent}");
        assert_eq!(verified.provider_session, None, "{absent}");
    }
}

#[tokio::test]
async fn integers_in_ids_are_exact_and_accepted_on_request() {
    struct Case {
        json: &'static str,
        expected: Option<&'static str>,
    }
    let strict = with_secret::<Value>().build().unwrap();
    let lenient = with_secret::<Value>().integer_ids().build().unwrap();
    for Case { json, expected } in [
        Case { json: "7", expected: Some("7") },
        Case { json: "0", expected: Some("0") },
        Case { json: "-7", expected: Some("-7") },
        // Beyond 2^53, where a `f64` has gaps.
        Case { json: "9007199254740993", expected: Some("9007199254740993") },
        Case { json: "18446744073709551615", expected: Some("18446744073709551615") },
        Case { json: "-9223372036854775808", expected: Some("-9223372036854775808") },
        Case { json: " 7 ", expected: Some("7") },
        Case { json: "18446744073709551616", expected: None },
        Case { json: "-9223372036854775809", expected: None },
        Case { json: "123456789012345678901234567890", expected: None },
        Case { json: "-0", expected: None },
        Case { json: "7.0", expected: None },
        Case { json: "7.5", expected: None },
        Case { json: "7e0", expected: None },
        Case { json: "1E3", expected: None },
        Case { json: "007", expected: None },
        Case { json: "+7", expected: None },
        Case { json: "0x7", expected: None },
        Case { json: "true", expected: None },
        Case { json: "[7]", expected: None },
        Case { json: r#"{"7": 7}"#, expected: None },
    ] {
        for name in ["sub", "jti"] {
            let token = sign(r#"{"alg": "HS256"}"#, format!(r#"{{"exp": {}, "{name}": {json}}}"#, NOW + 60));
            assert_eq!(outcome(&strict, &token).await, Some(Kind::MalformedClaim), "{name}: {json}");
            let verified = verified(&lenient, &token).await.ok();
            let id = verified.and_then(|verified| if name == "sub" { verified.subject } else { verified.token_id });
            assert_eq!(id.as_deref(), expected, "{name}: {json}");
        }
    }
    // Strings are read as before, and other claims are not integers.
    for (json, expected) in [(r#""7""#, Some("7")), (r#""\u0037""#, Some("7")), (r#""""#, None), ("null", None)] {
        let token = sign(r#"{"alg": "HS256"}"#, format!(r#"{{"exp": {}, "jti": 1, "sub": {json}}}"#, NOW + 60));
        assert_eq!(verified(&lenient, &token).await.unwrap().subject.as_deref(), expected, "{json}");
    }
    for members in [json!({"iss": 7}), json!({"sid": 7}), json!({"aud": 7})] {
        assert_eq!(outcome(&lenient, &with_claims(members)).await, Some(Kind::MalformedClaim));
    }
    let twice = sign(r#"{"alg": "HS256"}"#, format!(r#"{{"exp": {}, "sub": 7, "sub": "7"}}"#, NOW + 60));
    assert_eq!(outcome(&lenient, &twice).await, Some(Kind::MalformedClaim));
}

#[tokio::test]
async fn the_claim_of_the_providers_session_is_settable() {
    let claims = json!({"sid": "a", "session_state": "b", "exp": NOW + 60}).to_string();
    for claims in [claims.clone(), claims.replace("session_state", r"session\u005fstate")] {
        let token = sign(r#"{"alg":"HS256"}"#, &claims);
        for (name, expected) in [("sid", Some("a")), ("session_state", Some("b")), ("other", None)] {
            let verifier = with_secret::<Value>().provider_session_claim(name).build().unwrap();
            let verified = verified(&verifier, &token).await.unwrap();
            assert_eq!(verified.provider_session.as_deref(), expected, "{name} of {claims}");
        }
    }
    for (name, expected) in [
        ("", ConfigError::Empty("claim of the provider's session")),
        ("sub", ConfigError::ReservedClaim("sub".to_owned())),
    ] {
        assert_eq!(with_secret::<Value>().provider_session_claim(name).build().err(), Some(expected));
    }
}

#[tokio::test]
async fn a_token_that_is_not_utf_8_is_refused() {
    let verifier = with_secret::<Value>().build().unwrap();
    let claims = json!({"exp": NOW + 60}).to_string();
    for (name, header) in [
        ("in an ignored member", b"{\"alg\":\"HS256\",\"x\":\"\xff\"}".as_slice()),
        ("in the name of a member", b"{\"alg\":\"HS256\",\"\xc3\":1}"),
        ("in a list", b"{\"x\":[\"\xed\xa0\x80\"],\"alg\":\"HS256\"}"),
        ("in the type", b"{\"alg\":\"HS256\",\"typ\":\"\xc0\xaf\"}"),
        ("UTF-16", &[b"\xff\xfe", r#"{"alg":"HS256"}"#.as_bytes()].concat()),
        ("a byte order mark", b"\xef\xbb\xbf{\"alg\":\"HS256\"}"),
    ] {
        assert_eq!(outcome(&verifier, &sign(header, &claims)).await, Some(Kind::Malformed), "{name}");
    }
    assert_eq!(outcome(&verifier, &sign(r#"{"alg":"HS256","x":"ü€🦀"}"#, &claims)).await, None);
    // The same applies to claims (RFC 7519 §7.2).
    let invalid = [format!(r#"{{"exp":{},"x":""#, NOW + 60).as_bytes(), b"\xff\"}"].concat();
    assert_eq!(outcome(&verifier, &sign(r#"{"alg":"HS256"}"#, invalid)).await, Some(Kind::MalformedClaim));
}

// ---- Claims types.

#[tokio::test]
async fn registered_claims_are_checked_with_every_claims_type() {
    #[derive(Deserialize)]
    struct Unit;
    #[derive(Deserialize)]
    struct Empty {}

    async fn check<C: DeserializeOwned + Send + Sync + 'static>(name: &str) {
        let verifier = with_secret::<C>().audience("chat").build().unwrap();
        for (claims, expected) in [
            (json!({"aud": "chat", "exp": NOW + 60, "sub": "alice"}).to_string(), None),
            (json!({"aud": "chat", "exp": NOW - 60}).to_string(), Some(Kind::Expired)),
            (json!({"aud": "mail", "exp": NOW + 60}).to_string(), Some(Kind::WrongAudience)),
            (format!(r#"{{"aud":"chat","exp":{},"x":nul}}"#, NOW + 60), Some(Kind::UnexpectedClaims)),
            (format!(r#"{{"aud":"chat","exp":{},"x":[}}]}}"#, NOW + 60), Some(Kind::MalformedClaim)),
            ("null".to_owned(), Some(Kind::MalformedClaim)),
            ("[]".to_owned(), Some(Kind::MalformedClaim)),
        ] {
            let token = sign(r#"{"alg":"HS256"}"#, &claims);
            assert_eq!(outcome(&verifier, &token).await, expected, "{name}: {claims}");
        }
        let token = with_claims(json!({"aud": "chat"}));
        assert_eq!(verified(&verifier, &token).await.unwrap().subject.as_deref(), Some("alice"), "{name}");
    }

    check::<()>("()").await;
    check::<Unit>("a unit struct").await;
    check::<Empty>("a struct without fields").await;
    check::<serde::de::IgnoredAny>("IgnoredAny").await;
    check::<Value>("a value").await;
    check::<serde_json::Map<String, Value>>("a map").await;
    check::<Option<Value>>("an option").await;
}

#[test]
fn claims_types_that_are_never_an_object_do_not_build() {
    #[derive(Deserialize)]
    struct Pair(#[expect(dead_code, reason = "it is never read")] u8, #[expect(dead_code, reason = "as above")] u8);
    #[derive(Deserialize)]
    struct Id(#[expect(dead_code, reason = "it is never read")] u64);
    #[derive(Deserialize)]
    struct Newtype(());

    fn check<C: DeserializeOwned + Send + Sync + 'static>() {
        let built = with_secret::<C>().build();
        assert_eq!(built.err(), Some(ConfigError::ClaimsNotAnObject(std::any::type_name::<C>())));
    }

    check::<String>();
    check::<u64>();
    check::<f64>();
    check::<bool>();
    check::<char>();
    check::<Vec<Value>>();
    check::<(Value, Value)>();
    check::<Pair>();
    check::<Id>();
    check::<Newtype>();
    check::<Option<String>>();
    check::<Box<str>>();
}

// ---- Algorithm names.

#[tokio::test]
async fn ed25519_and_eddsa_are_the_same_algorithm() {
    let x = base64url(&der(ED25519_PUBLIC)[12..]);
    let key = |members: Value| {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        JwtKey::jwk(&serde_json::from_value::<Jwk>(jwk).unwrap()).unwrap()
    };
    let private = EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap();
    let claims = json!({"exp": NOW + 60}).to_string();
    for key in [
        key(json!({})),
        key(json!({"alg": "Ed25519"})),
        key(json!({"alg": "EdDSA"})),
        JwtKey::pem(ED25519_PUBLIC).unwrap(),
    ] {
        let verifier = JwtVerifier::<Value>::builder().key(key).build().unwrap();
        for (alg, expected) in [
            ("Ed25519", None),
            ("EdDSA", None),
            ("ed25519", Some(Kind::WrongAlgorithm)),
            ("EDDSA", Some(Kind::WrongAlgorithm)),
            ("Ed448", Some(Kind::WrongAlgorithm)),
            ("ES256", Some(Kind::WrongAlgorithm)),
        ] {
            let token = sign_with(Algorithm::EdDSA, &private, json!({ "alg": alg }).to_string(), &claims);
            assert_eq!(outcome(&verifier, &token).await, expected, "{alg}");
        }
    }
    // `Ed25519` is not another algorithm's name.
    let ec = JwtVerifier::<Value>::builder().pem(P256_PUBLIC).unwrap().build().unwrap();
    let ec_private = EncodingKey::from_ec_pem(P256.as_bytes()).unwrap();
    let token = |alg: &str| sign_with(Algorithm::ES256, &ec_private, json!({ "alg": alg }).to_string(), &claims);
    assert_eq!(outcome(&ec, &token("ES256")).await, None);
    assert_eq!(outcome(&ec, &token("Ed25519")).await, Some(Kind::WrongAlgorithm));
    let wrong_alg = json!({"kty": "RSA", "alg": "Ed25519", "n": base64url([0xff; 256]), "e": "AQAB"});
    assert!(JwtKey::jwk(&serde_json::from_value::<Jwk>(wrong_alg).unwrap()).is_err());
}

// ---- Numbers in keys.

#[test]
fn numbers_in_keys_are_accepted_in_equivalent_encodings() {
    fn reencoded(jwk: &Value, names: &[&str], encode: impl Fn(Vec<u8>) -> String) -> Result<JwtKey, ConfigError> {
        let mut jwk = jwk.clone();
        for name in names {
            jwk[*name] = encode(base64url_decode(jwk[*name].as_str().unwrap())).into();
        }
        JwtKey::jwk(&serde_json::from_value::<Jwk>(jwk).unwrap())
    }

    let (n, e) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(&der(RSA_PKCS1)).unwrap();
    let rsa = json!({"kty": "RSA", "n": base64url(n), "e": base64url(e)});
    let point = der(P256_PUBLIC).split_off(27);
    let ec = json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[..32]), "y": base64url(&point[32..])});
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": ED_X});
    let oct = json!({"kty": "oct", "k": base64url(SECRET)});
    let zeros = |count: usize, bytes: Vec<u8>| base64url([vec![0; count], bytes].concat());
    for (jwk, names) in [(&rsa, &["n", "e"][..]), (&ec, &["x", "y"]), (&ed, &["x"]), (&oct, &["k"])] {
        let kty = &jwk["kty"];
        assert!(reencoded(jwk, names, base64url).is_ok(), "{kty}");
        assert!(reencoded(jwk, names, |bytes| STANDARD.encode(bytes)).is_ok(), "{kty}: padding, the other alphabet");
        assert!(reencoded(jwk, names, |bytes| base64url(bytes) + "\n").is_err(), "{kty}: a line end");
        assert!(reencoded(jwk, names, |bytes| base64url(bytes) + "A===").is_err(), "{kty}: wrong padding");
        assert!(reencoded(jwk, names, |_| "===".into()).is_err(), "{kty}: only padding");
        // Numbers may have leading zeros. Byte strings, as in the other two, may not.
        let is_number = kty == "RSA" || kty == "EC";
        if kty != "oct" {
            assert_eq!(reencoded(jwk, names, |bytes| zeros(1, bytes)).is_ok(), is_number, "{kty}: a leading zero");
        }
    }
    // The point on P-256 whose x is 5, with and without leading zeros.
    for x in [base64url([5]), base64url([[0; 31].as_slice(), &[5]].concat())] {
        let point = json!({"kty": "EC", "crv": "P-256", "x": x, "y": "RZJDuapYGAb-kTvOmYF63hHKUDxk2aPFM0FcCDJI-8w"});
        assert!(JwtKey::jwk(&serde_json::from_value::<Jwk>(point).unwrap()).is_ok(), "{x}");
    }
}

// ---- Public keys in place of a secret.

#[test]
fn public_keys_in_any_format_are_refused_as_secrets() {
    let ssh = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7vbqajDw4o6gJy8UtmIbkcpnkO3Kwc4qsEnSZp0b me@example.com";
    let ssh_blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20TEST KEY TEST KEY TEST KEY TEST!".as_slice();
    let jwk = r#"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"2026-11"}"#;
    let point = der(P256_PUBLIC).split_off(26);
    let certificate = [[0x30, 0x28].as_slice(), &[0x30, 3, 2, 1, 1], &[0x30, 0], &[3, 31, 0], &[7; 30]].concat();
    let utf16 = [vec![0xff, 0xfe], P256_PUBLIC.bytes().flat_map(|byte| [byte, 0]).collect()].concat();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let colons = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let body = |pem: &str| {
        pem.lines().filter(|line| !line.starts_with('-')).map(|line| format!("{line}\n")).collect::<String>()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("PEM, RSA", text(RSA_PUBLIC)),
        ("PEM, PKCS#1", text(RSA_PKCS1)),
        ("PEM, EC", text(P256_PUBLIC)),
        ("PEM, P-521", text(P521_PUBLIC)),
        ("PEM, Ed25519", text(ED25519_PUBLIC)),
        ("PEM, private", text(RSA)),
        ("PEM, private EC", text(P256)),
        ("PEM, a certificate", text("-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n")),
        ("PEM, cut off", text("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ")),
        ("PEM without its first line", text(RSA_PUBLIC.split_once('\n').unwrap().1)),
        ("PEM after white space", text(&format!("\n\t  {P256_PUBLIC}"))),
        ("PEM after a byte order mark", text(&format!("\u{feff}{P256_PUBLIC}"))),
        ("PEM after text", text(&format!("Bag Attributes\n    friendlyName: a\n{P256_PUBLIC}"))),
        ("PEM with CRLF", text(&P256_PUBLIC.replace('\n', "\r\n"))),
        ("PEM in one line", text(&P256_PUBLIC.replace('\n', "\\n"))),
        ("PEM in quotes", text(&format!("\"{}\"", P256_PUBLIC.replace('\n', "\\n")))),
        ("PEM in a URL", text(&P256_PUBLIC.replace('\n', "%0A").replace(' ', "%20"))),
        ("PEM in UTF-16", utf16.clone()),
        ("PEM in UTF-16 without a byte order mark", utf16[2..].to_vec()),
        ("PGP", text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEYzAAABYJKwYBBAHaRw8BAQdA")),
        ("SSH", text(ssh)),
        ("SSH, Ed25519", text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxpdHRsZQ me@example.com")),
        ("SSH, EC", text("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY")),
        ("SSH, a security key", text("sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t")),
        ("SSH, a certificate", text("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAx")),
        ("SSH, with options", text(&format!("restrict,command=\"true\" {ssh}"))),
        ("SSH, known_hosts", text(&format!("git.example.com,192.0.2.1 {ssh}"))),
        ("SSH after white space", text(&format!("\n  {ssh}"))),
        (
            "SSH, RFC 4716",
            text("---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"me\"\nAAAAB3NzaC1yc2E\n---- END SSH2 PUBLIC KEY ----\n"),
        ),
        ("SSH, binary", ssh_blob.to_vec()),
        ("SSH, base64", text(&STANDARD.encode(ssh_blob))),
        ("SSH, private", text(&STANDARD.encode(b"openssh-key-v1\0\0\0\0\x04none"))),
        ("PuTTY", text("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\n")),
        ("JWK", text(jwk)),
        ("JWK, post-quantum", text(r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AQAB"}"#)),
        ("JWK, symmetric", text(&format!(r#"{{"kty":"oct","k":"{}"}}"#, base64url(SECRET)))),
        ("JWK after a byte order mark", text(&format!("\u{feff}\n {jwk}"))),
        ("JWK with a trailing comma", text(r#"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"2026-11",}"#)),
        ("JWK as a JavaScript object", text("{kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: '2026-11'}")),
        ("JWK in YAML", text("kid: 2026-11\nkty: RSA\nn: AQAB\ne: AQAB\n")),
        ("JWK in a JSON string", text(&serde_json::to_string(jwk).unwrap())),
        ("JWK set", text(&format!(r#"{{"keys":[{jwk}]}}"#))),
        ("JWK list", text(&format!("[{jwk}]"))),
        ("empty JWK set", text(r#"{"keys": [], "what": "there are none"}"#)),
        ("certificates in JSON, as from Google", text(r#"{"2026":"-----BEGIN CERTIFICATE-----\nMIIB\n-----END"}"#)),
        ("discovery document", text(r#"{"issuer":"https://id.example.com","jwks_uri":"https://id.example.com/k"}"#)),
        ("URL of a set", text("https://id.example.com/.well-known/jwks.json")),
        ("XML, .NET", text("<RSAKeyValue><Modulus>AQAB</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>")),
        ("XML, SAML", text("<?xml version=\"1.0\"?><ds:X509Certificate>MIIB</ds:X509Certificate>")),
        ("DER, RSA", der(RSA_PUBLIC)),
        ("DER, PKCS#1", der(RSA_PKCS1)),
        ("DER, EC", der(P256_PUBLIC)),
        ("DER, P-384", der(P384_PUBLIC)),
        ("DER, Ed25519", der(ED25519_PUBLIC)),
        ("DER, private", der(RSA)),
        ("DER, private Ed25519", der(ED25519)),
        ("DER, a certificate", certificate.clone()),
        ("DER before a line end", [der(P256_PUBLIC), b"\r\n".to_vec()].concat()),
        ("DER after a line end", [b"\n".to_vec(), der(P256_PUBLIC)].concat()),
        ("DER, a chain", [certificate.clone(), certificate.clone()].concat()),
        ("DER in base64 with a prefix", text(&format!("base64:{}", STANDARD.encode(der(P256_PUBLIC))))),
        ("DER in a variable assignment", text(&format!("KEY={}", STANDARD.encode(der(P256_PUBLIC))))),
        ("DER in a data URL", text(&format!("data:application/pkix-cert;base64,{}", STANDARD.encode(&certificate)))),
        ("DER in base64", text(&STANDARD.encode(der(P256_PUBLIC)))),
        ("DER in several lines of base64", text(&body(RSA_PUBLIC))),
        ("DER in base64url", text(&base64url(der(ED25519_PUBLIC)))),
        ("DER in quoted base64", text(&format!("'{}'", STANDARD.encode(certificate)))),
        ("DER in hexadecimal", text(&hex(&der(P256_PUBLIC)))),
        ("DER in hexadecimal with colons", text(&colons(&der(P256_PUBLIC)))),
        ("DER in base64 in base64", text(&STANDARD.encode(STANDARD.encode(der(P256_PUBLIC))))),
        ("PEM in base64", text(&STANDARD.encode(P256_PUBLIC))),
        ("PEM in base64 without padding", text(STANDARD.encode(P256_PUBLIC).trim_end_matches('='))),
        ("JWK in base64", text(&base64url(jwk))),
        ("a point", point.clone()),
        ("a point on P-384", der(P384_PUBLIC).split_off(23)),
        ("a point in base64", text(&STANDARD.encode(&point))),
        ("a point in hexadecimal", text(&hex(&point))),
    ];
    for (name, bytes) in cases {
        let problem = |built: Result<JwtKey, ConfigError>| match built {
            Err(ConfigError::InvalidKey { problem }) => problem,
            other => panic!("{name}: {other:?}"),
        };
        assert!(problem(JwtKey::secret(&bytes)).starts_with("it is not a secret"), "{name}");
        let oct: Jwk = serde_json::from_value(json!({"kty": "oct", "k": base64url(&bytes)})).unwrap();
        assert!(problem(JwtKey::jwk(&oct)).starts_with("it is not a secret"), "{name}");
        assert!(JwtVerifier::<Value>::builder().secret(&bytes).is_err(), "{name}");
    }
}

#[test]
fn random_secrets_and_passphrases_are_accepted() {
    // Enough secrets of each length to find false positives.
    let mut random = 1_u64;
    let mut bytes = |len: usize| -> Vec<u8> {
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33).to_le_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    };
    for len in (32..=128).cycle().take(20_000) {
        let secret = bytes(len);
        assert!(JwtKey::secret(&secret).is_ok(), "{secret:?}");
        if len == 64 {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            for encoded in [STANDARD.encode(&secret), base64url(&secret), hex.to_uppercase(), hex] {
                assert!(JwtKey::secret(encoded.as_bytes()).is_ok(), "{encoded}");
            }
        }
    }
    for secret in [
        "at least thirty-two bytes of secret",
        "correct horse battery staple and so on and so forth",
        "3f1c8a52-7d8e-4b6a-9a3b-0d2f5c6e7a81",
        "base64:TVkgVEVTVCBLRVkgVEhBVCBJUyBMT05HIEVOT1VHSA==",
        "postgres://user:MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA@db.example.com/x",
        "(a) sentence, with {braces} and [brackets] and ssh-rsa in it",
        "{curly at the beginning, and more of it",
        "-----------------------------------------",
        "0000000000000000000000000000000000000000",
        "ключ, который никому не известен",
    ] {
        assert!(JwtKey::secret(secret.as_bytes()).is_ok(), "{secret}");
    }
    // ASN.1 that is no key: a sequence of one text, and of one number.
    for first in [[0x30, 38, 4, 36], [0x30, 38, 2, 36]] {
        assert!(JwtKey::secret(&[&first[..], &[0xff; 36]].concat()).is_ok(), "{first:?}");
    }
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("a PEM body")
}

fn base64url_decode(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}
