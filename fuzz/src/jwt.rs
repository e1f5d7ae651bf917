//! Signs tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::rust_crypto::DEFAULT_PROVIDER};

pub const SECRET: &[u8] = b"TEST KEY TEST KEY TEST KEY TEST KEY";

/// Any header and any claims, with a right signature.
pub fn sign(header: &[u8], claims: &[u8]) -> String {
    sign_with(Algorithm::HS256, &EncodingKey::from_secret(SECRET), header, claims)
}

/// The same, signed with this key.
pub fn sign_with(algorithm: Algorithm, key: &EncodingKey, header: &[u8], claims: &[u8]) -> String {
    sign_message(algorithm, key, &format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
}

/// This message, with a right signature.
pub fn sign_message(algorithm: Algorithm, key: &EncodingKey, message: &str) -> String {
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("a signer");
    let signature = signer.try_sign(message.as_bytes()).expect("a signature");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
