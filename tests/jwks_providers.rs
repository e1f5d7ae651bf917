//! Key sets as identity providers publish them, recreated from their documentation and sources with the test keys.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` at each call reads better")]
#![cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]

use std::time::{Duration, UNIX_EPOCH};

use axum_ws_auth::{
    ConfigError, Token, Verifier, VerifyErrorKind as Kind, VerifyInput,
    jwks::{IssuerKeys, JwkSet},
    jwt::{
        Algorithm::{self, ES256, ES384, EdDSA, HS256, PS256, RS256, RS512},
        JwtVerifier,
    },
    test_util::{base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::EncodingKey;
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;
const ISSUER: &str = "https://issuer";

const RSA: &str = include_str!("test_keys/rsa2048.pem");
const RSA_PKCS1: &str = include_str!("test_keys/rsa2048.pkcs1.pub.pem");
const P256: &str = include_str!("test_keys/p256.pem");
const P256_PUBLIC: &str = include_str!("test_keys/p256.pub.pem");
const P384: &str = include_str!("test_keys/p384.pem");
const P384_PUBLIC: &str = include_str!("test_keys/p384.pub.pem");
const P521_PUBLIC: &str = include_str!("test_keys/p521.pub.pem");
const ED25519: &str = include_str!("test_keys/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("test_keys/ed25519.pub.pem");
const SECRET: &[u8] = b"TEST KEY TEST KEY TEST KEY TEST KEY";

struct Case {
    name: &'static str,
    set: Value,
    /// The ids of the usable keys in order, and their algorithms.
    usable: &'static [(&'static str, Algorithm)],
    /// The ids of the unusable keys, and a word from the problem.
    unusable: &'static [(&'static str, &'static str)],
}

/// The id shown for a key without one.
const NO_ID: &str = "(none)";
/// The id of a valid key in every set, which the other keys must not affect.
const COMPANION: &str = "companion";

async fn check(cases: impl IntoIterator<Item = Case>) {
    for Case { name, mut set, usable, unusable } in cases {
        if usable.is_empty() {
            let alone = JwtVerifier::<Value>::builder().issuer_keys(issuer_keys(&set)).audience("x").build();
            assert!(matches!(alone, Err(ConfigError::NoUsableKey { .. })), "{name}: {alone:?}");
        }
        set["keys"].as_array_mut().unwrap().push(ed(COMPANION, sig("EdDSA")));
        let built = JwtVerifier::builder().issuer_keys(issuer_keys(&set)).audience("x").build();
        let verifier: JwtVerifier<Value> = built.unwrap_or_else(|error| panic!("{name}: {error}"));

        let statuses = verifier.status();
        let status = &statuses[0];
        let usable = [usable, &[(COMPANION, EdDSA)]].concat();
        let found: Vec<_> = status.key_ids().map(|key_id| key_id.unwrap_or(NO_ID)).collect();
        let expected: Vec<_> = usable.iter().map(|&(key_id, _)| key_id).collect();
        assert_eq!(found, expected, "{name}: {:?}", status.unusable());
        assert_eq!(status.unusable().len(), unusable.len(), "{name}: {:?}", status.unusable());
        for (found, (key_id, word)) in status.unusable().iter().zip(unusable) {
            assert_eq!(found.key_id().unwrap_or(NO_ID), *key_id, "{name}");
            assert!(found.problem().contains(word), "{name}, {key_id}: {}", found.problem());
        }

        for &(key_id, algorithm) in &usable {
            assert_eq!(verify(&verifier, key_id, algorithm).await, Ok(()), "{name}, {key_id} with {algorithm:?}");
        }
        let is_usable = |key_id: &str| usable.iter().any(|&(usable, _)| usable == NO_ID || usable == key_id);
        for key_id in unusable.iter().map(|&(key_id, _)| key_id).filter(|&id| id != NO_ID && !is_usable(id)) {
            // Every private key, including the matching one.
            for algorithm in [HS256, RS256, RS512, PS256, ES256, ES384, EdDSA] {
                let outcome = verify(&verifier, key_id, algorithm).await;
                assert_eq!(outcome, Err(Kind::UnknownKey), "{name}, {key_id} with {algorithm:?}");
            }
        }
    }
}

#[tokio::test]
async fn sets_of_hosted_providers() {
    check([
        // The current key and the next one.
        case(
            "Auth0",
            json!([rsa("current", certified(sig("RS256"))), rsa("next", certified(sig("RS256")))]),
            &[("current", RS256), ("next", RS256)],
            &[],
        ),
        simple("Okta", &[("k1", RS256), ("k2", RS256)]),
        // No `alg`.
        case(
            "Microsoft Entra ID",
            json!([rsa(
                "-MyG",
                json!({
                    "use": "sig", "x5t": "-MyG", "x5c": [certificate()], "cloud_instance_name": "microsoftonline.com",
                    "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
                }),
            )]),
            &[("-MyG", RS256)],
            &[],
        ),
        case("Azure AD B2C", json!([rsa("a", json!({"use": "sig", "nbf": 1_493_763_266}))]), &[("a", RS256)], &[]),
        // One key for ID tokens and one for access tokens. The ids are padded standard base64.
        simple("AWS Cognito", &[("U+/est=", RS256), ("c+/est=", RS256)]),
        simple("Google", &[("93a9358c", RS256), ("d543e21a", RS256)]),
        simple("Firebase (securetoken)", &[("f1", RS256), ("f2", RS256)]),
        simple("Apple", &[("A1", RS256), ("B2", RS256), ("C3", RS256)]),
        simple("GitLab", &[("oidc", RS256), ("ci", RS256)]),
        // Only some keys have certificates.
        case(
            "GitHub Actions",
            json!([rsa("cc413527-173f", sig("RS256")), rsa("38E9B30B", certified(sig("RS256")))]),
            &[("cc413527-173f", RS256), ("38E9B30B", RS256)],
            &[],
        ),
    ])
    .await;
}

#[tokio::test]
async fn sets_of_self_hosted_servers() {
    let ml_dsa = |algorithm| with(sig(algorithm), json!({"kty": "AKP", "kid": "pq", "pub": base64url([1; 1312])}));
    check([
        // A key for each purpose, with certificates for RSA, and other types if the realm has them.
        case(
            "Keycloak",
            json!([
                rsa("sig", doubly_certified(sig("RS256"))),
                rsa("enc", doubly_certified(json!({"alg": "RSA-OAEP", "use": "enc"}))),
                ec("P-256", "es256", sig("ES256")),
                ec("P-256", "ecdh", json!({"alg": "ECDH-ES", "use": "enc"})),
                ec("P-521", "es512", sig("ES512")),
                ed("ed", sig("EdDSA")),
                ml_dsa("ML-DSA-65"),
            ]),
            &[("sig", RS256), ("es256", ES256), ("ed", EdDSA)],
            &[("enc", "`use`"), ("ecdh", "`use`"), ("es512", "curve"), ("pq", "type")],
        ),
        // The ids are numeric strings; type, curve and hash are configurable.
        case(
            "Zitadel",
            json!([
                rsa("2690001", sig("RS512")),
                ec("P-384", "2690002", sig("ES384")),
                ec("P-521", "2690003", sig("ES512")),
                ed("2690004", sig("EdDSA")),
            ]),
            &[("2690001", RS512), ("2690002", ES384), ("2690004", EdDSA)],
            &[("2690003", "curve")],
        ),
        // Old ids have a `public:` prefix.
        case(
            "Ory Hydra",
            json!([rsa("public:hydra.openid.id-token", sig("RS256")), ec("P-256", "9b2d-4c1e", sig("ES256"))]),
            &[("public:hydra.openid.id-token", RS256), ("9b2d-4c1e", ES256)],
            &[],
        ),
        // The encryption key also has `enc`. A key that is neither RSA nor EC has only `alg`.
        case(
            "authentik",
            json!([
                rsa("sig", doubly_certified(sig("RS256"))),
                rsa("enc", doubly_certified(json!({"alg": "RSA-OAEP-256", "use": "enc", "enc": "A256CBC-HS512"}))),
                {"alg": "EdDSA"},
            ]),
            &[("sig", RS256)],
            &[("enc", "`use`"), (NO_ID, "type")],
        ),
        // The current signing key and the previous ones.
        case(
            "Dex",
            json!([ed("4f0e8a0c", sig("EdDSA")), rsa("0a1b2c3d", sig("RS256"))]),
            &[("4f0e8a0c", EdDSA), ("0a1b2c3d", RS256)],
            &[],
        ),
        // The types are configurable.
        case(
            "Kubernetes",
            json!([
                rsa("rsa", sig("RS256")),
                ec("P-256", "es256", sig("ES256")),
                ec("P-384", "es384", sig("ES384")),
                ec("P-521", "es512", sig("ES512")),
                ml_dsa("ML-DSA-44"),
            ]),
            &[("rsa", RS256), ("es256", ES256), ("es384", ES384)],
            &[("es512", "curve"), ("pq", "type")],
        ),
        // No `use` by default.
        case(
            "SPIRE's OIDC discovery provider",
            json!([rsa("rsa", json!({"alg": "RS256"})), ec("P-256", "ec", json!({"alg": "ES256"}))]),
            &[("rsa", RS256), ("ec", ES256)],
            &[],
        ),
        // No `alg`, no id for certificate authorities, and its own `use` values, which RFC 7517 §4.2 permits. Like
        // `enc`, they are not `sig`.
        Case {
            name: "a SPIFFE bundle",
            set: json!({
                "keys": [
                    without("kid", ec("P-384", "", json!({"use": "x509-svid", "x5c": [certificate()]}))),
                    ec("P-256", "jwt", json!({"use": "jwt-svid"})),
                ],
                "spiffe_sequence": 1, "spiffe_refresh_hint": 300,
            }),
            usable: &[],
            unusable: &[(NO_ID, "`use`"), ("jwt", "`use`")],
        },
    ])
    .await;
}

#[tokio::test]
async fn an_invalid_key_does_not_affect_the_others() {
    let secp256k1 = json!({
        "kty": "EC", "crv": "secp256k1", "kid": "k1", "alg": "ES256K",
        "x": "eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g", "y": "SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg",
    });
    let x25519 = |id, more| with(json!({"kty": "OKP", "crv": "X25519", "x": base64url([9; 32]), "kid": id}), more);
    let oct = |id, secret: &[u8], more| with(json!({"kty": "oct", "k": base64url(secret), "kid": id}), more);
    check([
        case("empty", json!([]), &[], &[]),
        case(
            "no `alg`, but a type or curve that implies it",
            json!([rsa("a", json!({})), ec("P-256", "b", json!({})), ec("P-384", "c", json!({})), ed("d", json!({}))]),
            &[("a", RS256), ("b", ES256), ("c", ES384), ("d", EdDSA)],
            &[],
        ),
        case(
            "unsupported curves",
            json!([ec("P-521", "a", json!({})), secp256k1, x25519("b", json!({})), x25519("c", json!({"use": "enc"}))]),
            &[],
            &[("a", "curve"), ("k1", "curve"), ("b", "curve"), ("c", "`use`")],
        ),
        case("the name of RFC 9864", json!([ed("a", json!({"alg": "Ed25519"}))]), &[("a", EdDSA)], &[]),
        // Accepted because the set is local.
        case(
            "secrets",
            json!([oct("a", SECRET, sig("HS256")), oct("b", b"secret", json!({})), oct("c", SECRET, sig("A256KW"))]),
            &[("a", HS256)],
            &[("b", "bits"), ("c", "`alg`")],
        ),
        case(
            "only a certificate",
            json!([with(sig("RS256"), json!({"kty": "RSA", "kid": "a", "x5c": [certificate()]}))]),
            &[],
            &[("a", "type")],
        ),
        case(
            "`key_ops`, as browsers export them",
            json!([
                rsa("a", json!({"alg": "PS256", "key_ops": ["verify"], "ext": true})),
                ec("P-256", "b", json!({"key_ops": ["sign"], "ext": true})),
                rsa("c", json!({"key_ops": []})),
            ]),
            &[("a", PS256)],
            &[("b", "`key_ops`"), ("c", "`key_ops`")],
        ),
        case(
            "an `alg` for another purpose or type",
            json!([
                rsa("a", json!({"alg": "RSA-OAEP-256"})),
                rsa("b", sig("ES256")),
                ec("P-256", "c", sig("ES384")),
                ec("P-256", "d", sig("HS256")),
            ]),
            &[],
            &[("a", "`alg`"), ("b", "ES256"), ("c", "ES384"), ("d", "HS256")],
        ),
        case(
            "invalid numbers",
            json!([
                rsa("a", json!({"n": base64url([0xff; 128])})),
                rsa("b", json!({"e": "AQ"})),
                rsa("c", json!({"n": format!("{}=.", base64url([0xff; 256]))})),
                rsa("d", json!({"e": 65537})),
            ]),
            &[],
            &[("a", "bits"), ("b", "RSA"), ("c", "base64url"), ("d", "type")],
        ),
        case(
            "members of the wrong type",
            json!([rsa("", json!({"kid": 7})), rsa("b", json!({"alg": 256}))]),
            &[],
            &[(NO_ID, "string"), ("b", "`alg`")],
        ),
        case(
            "ignored members of the wrong type",
            json!([rsa("a", json!({"x5c": certificate(), "x5t": 7, "x5u": []}))]),
            &[("a", RS256)],
            &[],
        ),
        case("values that are not keys", json!([7, null, {}]), &[], &[(NO_ID, ""), (NO_ID, ""), (NO_ID, "type")]),
        case(
            "`null` members",
            json!([rsa(
                "a",
                json!({"use": null, "alg": null, "key_ops": null, "x5c": null, "x5t": null, "x5u": null, "d": null})
            )]),
            &[("a", RS256)],
            &[],
        ),
        case(
            "empty members",
            json!([rsa("a", json!({"use": "", "alg": "", "x5t": "", "x5c": [], "d": ""}))]),
            &[("a", RS256)],
            &[],
        ),
        case(
            "private keys",
            json!([
                rsa("a", json!({"d": "AQAB"})),
                rsa("b", json!({"p": "AQAB", "use": "enc"})),
                rsa("c", json!({"q": "AQAB"})),
                rsa("d", json!({"dp": "AQAB"})),
                rsa("e", json!({"dq": "AQAB"})),
                rsa("f", json!({"qi": "AQAB"})),
                rsa("g", json!({"oth": []})),
                rsa("h", json!({"d": 7})),
                ec("P-256", "i", json!({"d": "AQAB"})),
                ed("j", json!({"d": "AQAB"})),
                ed("k", json!({"k": "AQAB"})),
                oct("l", SECRET, json!({"d": "AQAB"})),
            ]),
            &[],
            &[
                ("a", "private"),
                ("b", "private"),
                ("c", "private"),
                ("d", "private"),
                ("e", "private"),
                ("f", "private"),
                ("g", "private"),
                ("h", "private"),
                ("i", "private"),
                ("j", "private"),
                ("k", "private"),
                ("l", "private"),
            ],
        ),
        case(
            "secrets that are public keys",
            json!([
                oct("a", include_bytes!("test_keys/rsa2048.pub.pem"), sig("HS256")),
                oct("b", &der(P256_PUBLIC), json!({})),
            ]),
            &[],
            &[("a", "not a secret"), ("b", "not a secret")],
        ),
        case(
            "no id",
            json!([
                without("kid", rsa("", json!({}))),
                ec("P-256", "", json!({"kid": null})),
                ec("P-384", "", json!({}))
            ]),
            &[(NO_ID, RS256), (NO_ID, ES256), (NO_ID, ES384)],
            &[],
        ),
        // Allowed by RFC 7517 §4.5.
        case(
            "several keys with the same id",
            json!([
                rsa("a", json!({"alg": "RSA-OAEP", "use": "enc"})),
                rsa("a", sig("RS256")),
                rsa("a", sig("PS256")),
                ec("P-256", "a", json!({})),
            ]),
            &[("a", RS256), ("a", PS256), ("a", ES256)],
            &[("a", "`use`")],
        ),
    ])
    .await;
}

/// The first is what authentik returns for an application without keys; the second is an empty list in Go.
#[test]
fn json_without_a_list_of_keys_is_not_a_set() {
    for text in ["{}", r#"{"keys": null}"#, r#"{"keys": {}}"#, r#"{"error": "not_found"}"#, "null", "", "<html>"] {
        assert!(serde_json::from_str::<JwkSet>(text).is_err(), "{text}");
    }
}

fn issuer_keys(set: &Value) -> IssuerKeys {
    IssuerKeys::jwks(ISSUER, serde_json::from_str::<JwkSet>(&set.to_string()).expect("a set"))
}

async fn verify(verifier: &JwtVerifier<Value>, key_id: &str, algorithm: Algorithm) -> Result<(), Kind> {
    let key = match algorithm {
        HS256 => EncodingKey::from_secret(SECRET),
        ES256 => EncodingKey::from_ec_pem(P256.as_bytes()).unwrap(),
        ES384 => EncodingKey::from_ec_pem(P384.as_bytes()).unwrap(),
        EdDSA => EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap(),
        _ => EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap(),
    };
    let mut header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT"});
    if key_id != NO_ID {
        header["kid"] = key_id.into();
    }
    let claims = json!({"iss": ISSUER, "aud": "x", "sub": "alice", "exp": NOW + 60});
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).expect("a signing key");
    let token = format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).expect("a signature")));

    let (parts, _) = handshake().build().into_parts();
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let outcome = verifier.verify(VerifyInput::new(&Token::new(token), &parts, now)).await;
    outcome.map(|_| ()).map_err(|error| error.kind())
}

fn case(
    name: &'static str,
    keys: Value,
    usable: &'static [(&'static str, Algorithm)],
    unusable: &'static [(&'static str, &'static str)],
) -> Case {
    Case { name, set: json!({"keys": keys}), usable, unusable }
}

/// A set of RSA keys with only the usual members.
fn simple(name: &'static str, usable: &'static [(&'static str, Algorithm)]) -> Case {
    let keys = usable.iter().map(|(id, algorithm)| rsa(id, sig(&format!("{algorithm:?}"))));
    case(name, keys.collect(), usable, &[])
}

fn rsa(id: &str, more: Value) -> Value {
    let (n, e) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(&der(RSA_PKCS1)).expect("an RSA key");
    with(json!({"kty": "RSA", "kid": id, "n": base64url(n), "e": base64url(e)}), more)
}

fn ec(curve: &str, id: &str, more: Value) -> Value {
    let (public, len) = match curve {
        "P-256" => (P256_PUBLIC, 32),
        "P-384" => (P384_PUBLIC, 48),
        _ => (P521_PUBLIC, 66),
    };
    let point = point(public, 2 * len);
    let (x, y) = point.split_at(len);
    with(json!({"kty": "EC", "crv": curve, "kid": id, "x": base64url(x), "y": base64url(y)}), more)
}

fn ed(id: &str, more: Value) -> Value {
    with(json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": base64url(point(ED25519_PUBLIC, 32))}), more)
}

fn sig(algorithm: &str) -> Value {
    json!({"alg": algorithm, "use": "sig"})
}

fn certified(key: Value) -> Value {
    with(key, json!({"x5c": [certificate()], "x5t": base64url([1; 20])}))
}

fn doubly_certified(key: Value) -> Value {
    with(certified(key), json!({"x5t#S256": base64url([2; 32])}))
}

/// Not parsed.
fn certificate() -> String {
    STANDARD.encode([0x30; 64])
}

fn with(mut key: Value, more: Value) -> Value {
    key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    key
}

fn without(name: &str, mut key: Value) -> Value {
    key.as_object_mut().unwrap().remove(name);
    key
}

/// The point at the end of a public key's DER.
fn point(public: &str, len: usize) -> Vec<u8> {
    let der = der(public);
    der[der.len() - len..].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("a PEM body")
}
