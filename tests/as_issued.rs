//! Tokens and keys as issuers write them: what is read, and what is refused because it is something else.

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

// ---- Tokens of other kinds.

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let strict = with_secret::<Value>().build().unwrap();
    let cached = CachedVerifier::new(strict.clone());
    let checked_elsewhere = with_secret::<Value>().insecure_ignore_cnf().build().unwrap();
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
        let verified = verified(&checked_elsewhere, &token).await.unwrap();
        assert_eq!(verified.claims["cnf"], cnf, "whoever checks it needs it");
    }
    let raw = |claims: &str| sign(r#"{"alg":"HS256"}"#, claims.replace("NOW", &(NOW + 60).to_string()));
    for (name, claims, expected) in [
        ("first", r#"{"cnf":{"jkt":"a"},"exp":NOW}"#, Some(Kind::SenderConstrained)),
        ("spelled with an escape", r#"{"exp":NOW,"c\u006ef":{"jkt":"a"}}"#, Some(Kind::SenderConstrained)),
        ("among claims that are not plain", r#"{"exp":NOW,"sub":"\u0061","cnf":{}}"#, Some(Kind::SenderConstrained)),
        ("twice", r#"{"exp":NOW,"cnf":null,"cnf":{}}"#, Some(Kind::MalformedClaim)),
        ("within another claim", r#"{"exp":NOW,"act":{"cnf":{"jkt":"a"}}}"#, None),
        ("another name", r#"{"exp":NOW,"Cnf":{"jkt":"a"},"cnf ":1}"#, None),
        ("as a text", r#"{"exp":NOW,"sub":"\"cnf\":{}"}"#, None),
    ] {
        assert_eq!(outcome(&strict, &raw(claims)).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_token_of_another_type_is_no_access_token() {
    let usual = with_secret::<Value>().build().unwrap();
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
        assert_eq!(outcome(&usual, &token).await, by_default, "{typ}");
        assert_eq!(outcome(&one, &token).await, if_at_jwt, "{typ}, of one type");
        assert_eq!(outcome(&two, &token).await, if_two, "{typ}, of two types");
    }
}

// ---- Members that say nothing.

/// The table of the module's documentation.
#[tokio::test]
async fn null_and_the_empty_string_are_read_where_they_loosen_nothing() {
    let plain = with_secret::<Value>().build().unwrap();
    let lasting = with_secret::<Value>().insecure_allow_missing_exp().build().unwrap();
    let strict = with_secret::<Value>().issuer("us").audience("chat").build().unwrap();
    for (name, verifier, token, expected) in [
        ("kid null", &plain, with_header(json!({"kid": null})), None),
        ("kid empty", &plain, with_header(json!({"kid": ""})), None),
        ("alg null", &plain, with_header(json!({"alg": null})), Some(Kind::Malformed)),
        ("alg empty", &plain, with_header(json!({"alg": ""})), Some(Kind::WrongAlgorithm)),
        ("crit null", &plain, with_header(json!({"crit": null})), Some(Kind::CriticalHeader)),
        ("crit without names", &plain, with_header(json!({"crit": []})), Some(Kind::CriticalHeader)),
        ("crit empty", &plain, with_header(json!({"crit": ""})), Some(Kind::CriticalHeader)),
        (
            "what is not read",
            &plain,
            with_header(json!({"cty": null, "jku": null, "jwk": null, "x5c": null, "x5t": "", "x5u": null})),
            None,
        ),
        ("iss null, none asked for", &plain, with_claims(json!({"iss": null})), None),
        ("iss null", &strict, with_claims(json!({"iss": null, "aud": "chat"})), Some(Kind::MissingClaim)),
        ("iss empty", &strict, with_claims(json!({"iss": "", "aud": "chat"})), Some(Kind::MissingClaim)),
        ("iss empty, none asked for", &plain, with_claims(json!({"iss": ""})), None),
        ("aud null, none asked for", &plain, with_claims(json!({"aud": null})), None),
        ("aud null", &strict, with_claims(json!({"iss": "us", "aud": null})), Some(Kind::MissingClaim)),
        ("aud empty", &strict, with_claims(json!({"iss": "us", "aud": ""})), Some(Kind::WrongAudience)),
        ("aud empty, none asked for", &plain, with_claims(json!({"aud": ""})), Some(Kind::WrongAudience)),
        (
            "aud null in a list",
            &strict,
            with_claims(json!({"iss": "us", "aud": ["chat", null]})),
            Some(Kind::MalformedClaim),
        ),
        ("exp null", &plain, with_claims(json!({"exp": null})), Some(Kind::MalformedClaim)),
        ("exp null, which may be absent", &lasting, with_claims(json!({"exp": null})), Some(Kind::MalformedClaim)),
        ("exp empty", &lasting, with_claims(json!({"exp": ""})), Some(Kind::MalformedClaim)),
        ("nbf null", &plain, with_claims(json!({"nbf": null})), None),
        ("nbf empty", &plain, with_claims(json!({"nbf": ""})), Some(Kind::MalformedClaim)),
        ("iat null", &plain, with_claims(json!({"iat": null})), None),
        ("jti null", &plain, with_claims(json!({"jti": null})), None),
        ("sub null", &plain, with_claims(json!({"sub": null})), None),
        ("sub and jti empty", &plain, with_claims(json!({"sub": "", "jti": ""})), None),
        ("twice, and null", &plain, sign(r#"{"alg":"HS256","kid":null,"kid":"a"}"#, "{}"), Some(Kind::Malformed)),
        ("padding", &plain, with_header(json!({})) + "=", Some(Kind::Malformed)),
    ] {
        assert_eq!(outcome(verifier, &token).await, expected, "{name}");
    }
    // All who have no name are not one user.
    for nothing in [json!(null), json!("")] {
        let claims = with_claims(json!({"sub": nothing, "jti": nothing, "iat": null, "iss": nothing}));
        let verified = verified(&plain, &claims).await.unwrap();
        let found = (&verified.subject, &verified.token_id, verified.issued_at, &verified.issuer);
        assert_eq!(found, (&None, &None, None, &None), "{nothing}");
    }
}

#[tokio::test]
async fn a_header_that_is_not_utf_8_is_refused() {
    let verifier = with_secret::<Value>().build().unwrap();
    let claims = json!({"exp": NOW + 60}).to_string();
    for (name, header) in [
        ("in a member that is not read", b"{\"alg\":\"HS256\",\"x\":\"\xff\"}".as_slice()),
        ("in the name of one", b"{\"alg\":\"HS256\",\"\xc3\":1}"),
        ("in a list", b"{\"x\":[\"\xed\xa0\x80\"],\"alg\":\"HS256\"}"),
        ("in the type", b"{\"alg\":\"HS256\",\"typ\":\"\xc0\xaf\"}"),
        ("UTF-16", &[b"\xff\xfe", r#"{"alg":"HS256"}"#.as_bytes()].concat()),
        ("a byte order mark", b"\xef\xbb\xbf{\"alg\":\"HS256\"}"),
    ] {
        assert_eq!(outcome(&verifier, &sign(header, &claims)).await, Some(Kind::Malformed), "{name}");
    }
    assert_eq!(outcome(&verifier, &sign(r#"{"alg":"HS256","x":"ü€🦀"}"#, &claims)).await, None);
    // Claims likewise (RFC 7519 §7.2).
    let bad = [format!(r#"{{"exp":{},"x":""#, NOW + 60).as_bytes(), b"\xff\"}"].concat();
    assert_eq!(outcome(&verifier, &sign(r#"{"alg":"HS256"}"#, bad)).await, Some(Kind::MalformedClaim));
}

// ---- Claims that nobody wants.

#[tokio::test]
async fn claims_of_no_interest_are_checked_all_the_same() {
    #[derive(Deserialize)]
    struct Nothing;
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
    check::<Nothing>("a unit struct").await;
    check::<Empty>("a struct without fields").await;
    check::<serde::de::IgnoredAny>("ignored").await;
    check::<Value>("a value").await;
    check::<serde_json::Map<String, Value>>("a map").await;
    check::<Option<Value>>("an option").await;
}

#[test]
fn claims_that_no_object_can_be_do_not_build() {
    #[derive(Deserialize)]
    struct Pair(#[expect(dead_code, reason = "it is never read")] u8, #[expect(dead_code, reason = "as above")] u8);
    #[derive(Deserialize)]
    struct Id(#[expect(dead_code, reason = "it is never read")] u64);
    #[derive(Deserialize)]
    struct Nothing(());

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
    check::<Nothing>();
    check::<Option<String>>();
    check::<Box<str>>();
}

// ---- Names of algorithms.

#[tokio::test]
async fn ed25519_and_eddsa_are_one_algorithm() {
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
    // It is the name of that algorithm only.
    let ec = JwtVerifier::<Value>::builder().pem(P256_PUBLIC).unwrap().build().unwrap();
    let ec_private = EncodingKey::from_ec_pem(P256.as_bytes()).unwrap();
    let token = |alg: &str| sign_with(Algorithm::ES256, &ec_private, json!({ "alg": alg }).to_string(), &claims);
    assert_eq!(outcome(&ec, &token("ES256")).await, None);
    assert_eq!(outcome(&ec, &token("Ed25519")).await, Some(Kind::WrongAlgorithm));
    let misnamed = json!({"kty": "RSA", "alg": "Ed25519", "n": base64url([0xff; 256]), "e": "AQAB"});
    assert!(JwtKey::jwk(&serde_json::from_value::<Jwk>(misnamed).unwrap()).is_err());
}

// ---- Numbers of keys.

#[test]
fn numbers_of_keys_are_read_in_every_spelling_that_means_the_same() {
    fn respelled(jwk: &Value, names: &[&str], spell: impl Fn(Vec<u8>) -> String) -> Result<JwtKey, ConfigError> {
        let mut jwk = jwk.clone();
        for name in names {
            jwk[*name] = spell(base64url_decode(jwk[*name].as_str().unwrap())).into();
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
        assert!(respelled(jwk, names, base64url).is_ok(), "{kty}");
        assert!(respelled(jwk, names, |bytes| STANDARD.encode(bytes)).is_ok(), "{kty}: padding, the other alphabet");
        assert!(respelled(jwk, names, |bytes| base64url(bytes) + "\n").is_err(), "{kty}: a line end");
        assert!(respelled(jwk, names, |bytes| base64url(bytes) + "A===").is_err(), "{kty}: wrong padding");
        assert!(respelled(jwk, names, |_| "===".into()).is_err(), "{kty}: nothing but padding");
        // Numbers may have leading zeros. Strings of bytes, as the other two are, may not.
        let is_number = kty == "RSA" || kty == "EC";
        if kty != "oct" {
            assert_eq!(respelled(jwk, names, |bytes| zeros(1, bytes)).is_ok(), is_number, "{kty}: a leading zero");
        }
    }
    // The point on P-256 whose x is 5, with and without the zeros before it.
    for x in [base64url([5]), base64url([[0; 31].as_slice(), &[5]].concat())] {
        let point = json!({"kty": "EC", "crv": "P-256", "x": x, "y": "RZJDuapYGAb-kTvOmYF63hHKUDxk2aPFM0FcCDJI-8w"});
        assert!(JwtKey::jwk(&serde_json::from_value::<Jwk>(point).unwrap()).is_ok(), "{x}");
    }
}

// ---- Keys where a secret was meant.

#[test]
fn what_everybody_may_know_is_no_secret() {
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
        ("PEM, another private", text(P256)),
        ("PEM, a certificate", text("-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n")),
        ("PEM, cut off", text("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ")),
        ("PEM without its first line", text(RSA_PUBLIC.split_once('\n').unwrap().1)),
        ("PEM behind blanks", text(&format!("\n\t  {P256_PUBLIC}"))),
        ("PEM behind a byte order mark", text(&format!("\u{feff}{P256_PUBLIC}"))),
        ("PEM behind text", text(&format!("Bag Attributes\n    friendlyName: a\n{P256_PUBLIC}"))),
        ("PEM with other line ends", text(&P256_PUBLIC.replace('\n', "\r\n"))),
        ("PEM in one line", text(&P256_PUBLIC.replace('\n', "\\n"))),
        ("PEM in quotes", text(&format!("\"{}\"", P256_PUBLIC.replace('\n', "\\n")))),
        ("PEM in a URL", text(&P256_PUBLIC.replace('\n', "%0A").replace(' ', "%20"))),
        ("PEM in UTF-16", utf16.clone()),
        ("PEM in UTF-16 without a mark", utf16[2..].to_vec()),
        ("PEM, of PGP", text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEYzAAABYJKwYBBAHaRw8BAQdA")),
        ("SSH", text(ssh)),
        ("SSH, Ed25519", text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxpdHRsZQ me@example.com")),
        ("SSH, EC", text("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY")),
        ("SSH, a security key", text("sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t")),
        ("SSH, a certificate", text("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAx")),
        ("SSH, with options", text(&format!("restrict,command=\"true\" {ssh}"))),
        ("SSH, of a host", text(&format!("git.example.com,192.0.2.1 {ssh}"))),
        ("SSH behind blanks", text(&format!("\n  {ssh}"))),
        (
            "SSH, RFC 4716",
            text("---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"me\"\nAAAAB3NzaC1yc2E\n---- END SSH2 PUBLIC KEY ----\n"),
        ),
        ("SSH, its bytes", ssh_blob.to_vec()),
        ("SSH, its base64", text(&STANDARD.encode(ssh_blob))),
        ("SSH, private", text(&STANDARD.encode(b"openssh-key-v1\0\0\0\0\x04none"))),
        ("PuTTY", text("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\n")),
        ("JWK", text(jwk)),
        ("JWK of an even newer kind", text(r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AQAB"}"#)),
        ("JWK that is a secret", text(&format!(r#"{{"kty":"oct","k":"{}"}}"#, base64url(SECRET)))),
        ("JWK behind a byte order mark", text(&format!("\u{feff}\n {jwk}"))),
        ("JWK with a comma too many", text(r#"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"2026-11",}"#)),
        ("JWK in another language", text("{kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: '2026-11'}")),
        ("JWK in YAML", text("kid: 2026-11\nkty: RSA\nn: AQAB\ne: AQAB\n")),
        ("JWK in a text", text(&serde_json::to_string(jwk).unwrap())),
        ("JWK set", text(&format!(r#"{{"keys":[{jwk}]}}"#))),
        ("JWK list", text(&format!("[{jwk}]"))),
        ("JWK set without keys", text(r#"{"keys": [], "what": "there are none"}"#)),
        ("certificates of Google", text(r#"{"2026":"-----BEGIN CERTIFICATE-----\nMIIB\n-----END"}"#)),
        ("discovery document", text(r#"{"issuer":"https://id.example.com","jwks_uri":"https://id.example.com/k"}"#)),
        ("URL of a set", text("https://id.example.com/.well-known/jwks.json")),
        ("XML of .NET", text("<RSAKeyValue><Modulus>AQAB</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>")),
        ("XML of SAML", text("<?xml version=\"1.0\"?><ds:X509Certificate>MIIB</ds:X509Certificate>")),
        ("DER, RSA", der(RSA_PUBLIC)),
        ("DER, PKCS#1", der(RSA_PKCS1)),
        ("DER, EC", der(P256_PUBLIC)),
        ("DER, P-384", der(P384_PUBLIC)),
        ("DER, Ed25519", der(ED25519_PUBLIC)),
        ("DER, private", der(RSA)),
        ("DER, private Ed25519", der(ED25519)),
        ("DER, a certificate", certificate.clone()),
        ("DER and a line end", [der(P256_PUBLIC), b"\r\n".to_vec()].concat()),
        ("DER behind a line end", [b"\n".to_vec(), der(P256_PUBLIC)].concat()),
        ("DER, a chain", [certificate.clone(), certificate.clone()].concat()),
        ("DER in base64 that is named so", text(&format!("base64:{}", STANDARD.encode(der(P256_PUBLIC))))),
        ("DER in a variable", text(&format!("KEY={}", STANDARD.encode(der(P256_PUBLIC))))),
        ("DER in a data URL", text(&format!("data:application/pkix-cert;base64,{}", STANDARD.encode(&certificate)))),
        ("DER in base64", text(&STANDARD.encode(der(P256_PUBLIC)))),
        ("DER in base64 lines", text(&body(RSA_PUBLIC))),
        ("DER in base64url", text(&base64url(der(ED25519_PUBLIC)))),
        ("DER in quoted base64", text(&format!("'{}'", STANDARD.encode(certificate)))),
        ("DER in hexadecimal digits", text(&hex(&der(P256_PUBLIC)))),
        ("DER in digits and colons", text(&colons(&der(P256_PUBLIC)))),
        ("DER in base64 in base64", text(&STANDARD.encode(STANDARD.encode(der(P256_PUBLIC))))),
        ("PEM in base64", text(&STANDARD.encode(P256_PUBLIC))),
        ("PEM in base64 without padding", text(STANDARD.encode(P256_PUBLIC).trim_end_matches('='))),
        ("JWK in base64", text(&base64url(jwk))),
        ("a point", point.clone()),
        ("a point in base64", text(&STANDARD.encode(&point))),
        ("a point in hexadecimal digits", text(&hex(&point))),
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
fn secrets_in_every_usual_form_are_secrets() {
    // A few of each length, so that chance would show.
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
            for form in [STANDARD.encode(&secret), base64url(&secret), hex.to_uppercase(), hex] {
                assert!(JwtKey::secret(form.as_bytes()).is_ok(), "{form}");
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
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("a PEM body")
}

fn base64url_decode(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}
