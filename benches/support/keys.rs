//! A key for each algorithm, with a token that is signed with it.

use axum_ws_auth::{
    jwt::{JwtKey, JwtVerifier},
    test_util::base64url,
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use serde_json::json;

use super::{AUDIENCE, Claims, ISSUER};

pub(crate) fn all() -> impl Iterator<Item = (&'static str, String, JwtVerifier<Claims>)> {
    let pem = |pem: &str| pem.as_bytes().to_vec();
    let rsa = pem(include_str!("../../tests/test_keys/rsa2048.pem"));
    let ec = pem(include_str!("../../tests/test_keys/p256.pem"));
    let ed = pem(include_str!("../../tests/test_keys/ed25519.pem"));
    let secret = b"TEST KEY, known to everybody: never use it";
    [
        ("HS256", Algorithm::HS256, EncodingKey::from_secret(secret), JwtKey::secret(secret)),
        (
            "RS256",
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(&rsa).expect("a key"),
            JwtKey::pem(include_str!("../../tests/test_keys/rsa2048.pub.pem")),
        ),
        (
            "ES256",
            Algorithm::ES256,
            EncodingKey::from_ec_pem(&ec).expect("a key"),
            JwtKey::pem(include_str!("../../tests/test_keys/p256.pub.pem")),
        ),
        (
            "EdDSA",
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(&ed).expect("a key"),
            JwtKey::pem(include_str!("../../tests/test_keys/ed25519.pub.pem")),
        ),
    ]
    .into_iter()
    .map(|(name, algorithm, signing, key)| (name, sign(name, algorithm, &signing), super::verifier(key)))
}

fn sign(name: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let header = json!({"alg": name, "typ": "JWT"});
    let claims =
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": 1_700_000_000, "exp": 9_999_999_999_u64});
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("a key for this algorithm");
    format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).expect("a signature")))
}
