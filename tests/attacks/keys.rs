//! The keys that tokens of the table are signed with. All are test keys.

use axum_ws_auth::{
    jwt::{Algorithm, JwtKey},
    test_util::base64url,
};
use jsonwebtoken::EncodingKey;
use serde_json::json;

use crate::support::issuer::{Key, Pair, der, end_of};

/// The services verify tokens with it.
const SECRET: &[u8] = b"TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY TEST KEY";
/// The services do not know it.
const STRANGE_SECRET: &[u8] = b"ANOTHER TEST KEY ANOTHER TEST KEY ANOTHER TEST KEY";

const RSA_PUBLIC: &str = include_str!("../test_keys/rsa2048.pub.pem");
const RSA_PKCS1: &str = include_str!("../test_keys/rsa2048.pkcs1.pub.pem");
const P256_PUBLIC: &str = include_str!("../test_keys/p256.pub.pem");
const P384_PUBLIC: &str = include_str!("../test_keys/p384.pub.pem");
const ED25519_PUBLIC: &str = include_str!("../test_keys/ed25519.pub.pem");

/// What signs a token.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    /// The `kid` under which the services know the key.
    pub(crate) key_id: &'static str,
    pub(crate) key: EncodingKey,
}

/// The key of this name.
pub(crate) fn signer(name: &str) -> Signer {
    let hmac = |secret: &[u8]| (Algorithm::HS256, "hs", EncodingKey::from_secret(secret));
    let pem = |algorithm, key_id, key: Result<EncodingKey, _>| (algorithm, key_id, key.expect("a test key"));
    let (algorithm, key_id, key) = match name {
        "hs" => hmac(SECRET),
        "rs" => pem(Algorithm::RS256, "rs", EncodingKey::from_rsa_pem(include_bytes!("../test_keys/rsa2048.pem"))),
        "es" => pem(Algorithm::ES256, "es", EncodingKey::from_ec_pem(include_bytes!("../test_keys/p256.pem"))),
        "es384" => pem(Algorithm::ES384, "es384", EncodingKey::from_ec_pem(include_bytes!("../test_keys/p384.pem"))),
        "ed" => pem(Algorithm::EdDSA, "ed", EncodingKey::from_ed_pem(include_bytes!("../test_keys/ed25519.pem"))),
        "stranger hs" => hmac(STRANGE_SECRET),
        // RFC 8032 §7.1, test 1.
        "stranger ed" => (Algorithm::EdDSA, "ed", Key::new(Pair::EdTest1, "ed").private()),
        "partner" => (Algorithm::EdDSA, "partner", Key::new(Pair::EdTest2, "partner").private()),
        "empty secret" => hmac(b""),
        "zero byte" => hmac(b"\0"),
        "word" => hmac(b"secret"),
        // The services' own public keys, as HMAC secrets.
        "pem of rs" => hmac(RSA_PUBLIC.as_bytes()),
        "pem of rs without the last line break" => hmac(RSA_PUBLIC.trim_end().as_bytes()),
        "pem of rs with crlf" => hmac(RSA_PUBLIC.replace('\n', "\r\n").as_bytes()),
        "pkcs1 pem of rs" => hmac(RSA_PKCS1.as_bytes()),
        "der of rs" => hmac(&der(RSA_PUBLIC)),
        "pkcs1 der of rs" => hmac(&der(RSA_PKCS1)),
        "jwk of rs" => hmac(Key::new(Pair::Rsa, "rs").jwk().to_string().as_bytes()),
        "modulus of rs" => hmac(Key::new(Pair::Rsa, "rs").jwk()["n"].as_str().expect("a number").as_bytes()),
        "pem of es" => hmac(P256_PUBLIC.as_bytes()),
        "der of es" => hmac(&der(P256_PUBLIC)),
        "point of es" => hmac(&end_of(P256_PUBLIC, 65)),
        "pem of ed" => hmac(ED25519_PUBLIC.as_bytes()),
        "point of ed" => hmac(&end_of(ED25519_PUBLIC, 32)),
        _ => panic!("there is no key {name}"),
    };
    Signer { algorithm, key_id, key }
}

/// The keys of the services, with their ids.
pub(crate) fn known() -> impl Iterator<Item = JwtKey> {
    let keys = [
        ("hs", JwtKey::secret(SECRET)),
        ("rs", JwtKey::pem(RSA_PUBLIC)),
        ("es", JwtKey::pem(P256_PUBLIC)),
        ("es384", JwtKey::pem(P384_PUBLIC)),
        ("ed", JwtKey::pem(ED25519_PUBLIC)),
    ];
    keys.into_iter().map(|(id, key)| key.expect("a test key").key_id(id).expect("an id"))
}

/// A public key for the header of a token: an attacker's own, in the form of a JWK.
pub(crate) fn own_jwk(name: &str) -> serde_json::Value {
    match name {
        "stranger hs" => json!({"kty": "oct", "k": base64url(STRANGE_SECRET)}),
        "stranger ed" => Key::new(Pair::EdTest1, "ed").jwk(),
        _ => panic!("there is no JWK of {name}"),
    }
}
