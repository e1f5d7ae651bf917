//! Keys, as the peers want them, and what they are to check of a token.

use jsonwebtoken::{
    DecodingKey, EncodingKey, Validation,
    jwk::{Jwk, JwkSet},
};

use crate::tokens::{AUDIENCE, ISSUER, KEY_ID};

pub(crate) const SECRET: &str = "TEST KEY, known to everybody: never use it";
pub(crate) const RSA_PUBLIC: &str = include_str!("../../../tests/test_keys/rsa2048.pub.pem");
pub(crate) const EC_PUBLIC: &str = include_str!("../../../tests/test_keys/p256.pub.pem");
const RSA_PRIVATE: &str = include_str!("../../../tests/test_keys/rsa2048.pem");
const EC_PRIVATE: &str = include_str!("../../../tests/test_keys/p256.pem");

#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 3] = [Self::Hs256, Self::Rs256, Self::Es256];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    pub(crate) fn jwt11(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
        }
    }

    pub(crate) fn decoding_key(self) -> DecodingKey {
        match self {
            Self::Hs256 => DecodingKey::from_secret(SECRET.as_bytes()),
            Self::Rs256 => DecodingKey::from_rsa_pem(RSA_PUBLIC.as_bytes()).expect("a key"),
            Self::Es256 => DecodingKey::from_ec_pem(EC_PUBLIC.as_bytes()).expect("a key"),
        }
    }

    /// Configured means required, as in this crate: jsonwebtoken by itself lets a token pass that has no `iss` or
    /// `aud`.
    pub(crate) fn validation(self) -> Validation {
        let mut validation = Validation::new(self.jwt11());
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    /// The same for peers that are built on jsonwebtoken 10.
    pub(crate) fn jwt10(self) -> jwt10::Algorithm {
        match self {
            Self::Hs256 => jwt10::Algorithm::HS256,
            Self::Rs256 => jwt10::Algorithm::RS256,
            Self::Es256 => jwt10::Algorithm::ES256,
        }
    }

    pub(crate) fn decoding_key_10(self) -> jwt10::DecodingKey {
        match self {
            Self::Hs256 => jwt10::DecodingKey::from_secret(SECRET.as_bytes()),
            Self::Rs256 => jwt10::DecodingKey::from_rsa_pem(RSA_PUBLIC.as_bytes()).expect("a key"),
            Self::Es256 => jwt10::DecodingKey::from_ec_pem(EC_PUBLIC.as_bytes()).expect("a key"),
        }
    }

    /// Two of the peers want one, to sign with, which nobody does here.
    pub(crate) fn encoding_key_10(self) -> jwt10::EncodingKey {
        match self {
            Self::Hs256 => jwt10::EncodingKey::from_secret(SECRET.as_bytes()),
            Self::Rs256 => jwt10::EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).expect("a key"),
            Self::Es256 => jwt10::EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()).expect("a key"),
        }
    }

    pub(crate) fn validation_10(self) -> jwt10::Validation {
        let mut validation = jwt10::Validation::new(self.jwt10());
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    /// The key as a set, in JSON.
    pub(crate) fn jwks(self) -> String {
        let mut key = Jwk::from_encoding_key(&self.encoding_key(), self.jwt11()).expect("a key");
        key.common.key_id = Some(KEY_ID.to_owned());
        serde_json::to_string(&JwkSet { keys: vec![key] }).expect("JSON")
    }

    pub(crate) fn encoding_key(self) -> EncodingKey {
        match self {
            Self::Hs256 => EncodingKey::from_secret(SECRET.as_bytes()),
            Self::Rs256 => EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).expect("a key"),
            Self::Es256 => EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()).expect("a key"),
        }
    }
}
