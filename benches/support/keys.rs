//! A key for each algorithm, and tokens signed with it.

use axum_ws_auth::{
    jwt::{JwtKey, JwtVerifier},
    test_util::{TEST_SECRET, base64url},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::json;

use super::{AUDIENCE, Claims, DEFAULT_PROVIDER, EXPIRES_AT, ISSUED_AT, ISSUER};

pub(crate) const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// One key, in each side's type.
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    signing: EncodingKey,
    pub(crate) public: JwtKey,
    pub(crate) ours: JwtVerifier<Claims>,
    pub(crate) by_hand: DecodingKey,
}

/// What may be wrong with a token.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    Signature,
    Expired,
}

impl Key {
    pub(crate) fn of(algorithm: Algorithm) -> Self {
        let (signing, key, by_hand) = match algorithm {
            Algorithm::HS256 => (
                Ok(EncodingKey::from_secret(TEST_SECRET)),
                JwtKey::secret(TEST_SECRET),
                Ok(DecodingKey::from_secret(TEST_SECRET)),
            ),
            Algorithm::RS256 => (
                EncodingKey::from_rsa_pem(include_bytes!("../../tests/test_keys/rsa2048.pem")),
                JwtKey::pem(include_str!("../../tests/test_keys/rsa2048.pub.pem")),
                DecodingKey::from_rsa_pem(include_bytes!("../../tests/test_keys/rsa2048.pub.pem")),
            ),
            Algorithm::ES256 => (
                EncodingKey::from_ec_pem(include_bytes!("../../tests/test_keys/p256.pem")),
                JwtKey::pem(include_str!("../../tests/test_keys/p256.pub.pem")),
                DecodingKey::from_ec_pem(include_bytes!("../../tests/test_keys/p256.pub.pem")),
            ),
            Algorithm::EdDSA => (
                EncodingKey::from_ed_pem(include_bytes!("../../tests/test_keys/ed25519.pem")),
                JwtKey::pem(include_str!("../../tests/test_keys/ed25519.pub.pem")),
                DecodingKey::from_ed_pem(include_bytes!("../../tests/test_keys/ed25519.pub.pem")),
            ),
            _ => unreachable!("no key for {algorithm:?}"),
        };
        Self {
            algorithm,
            signing: signing.expect("a key"),
            public: key.as_ref().expect("a key").clone(),
            ours: super::verifier(key),
            by_hand: by_hand.expect("a key"),
        }
    }

    pub(crate) fn token(&self, fault: Fault) -> String {
        let message = self.message("alice", if fault == Fault::Expired { ISSUED_AT + 3600 } else { EXPIRES_AT });
        // The signature of another token: well formed, and as long as the right one.
        let signed = if fault == Fault::Signature { self.message("carol", EXPIRES_AT) } else { message.clone() };
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.algorithm, &self.signing).expect("a key of its kind");
        format!("{message}.{}", base64url(signer.try_sign(signed.as_bytes()).expect("a signature")))
    }

    fn message(&self, subject: &str, expires_at: u64) -> String {
        let header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": ISSUED_AT, "exp": expires_at});
        format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()))
    }
}
