use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::token::{base64url, unix_seconds};
use crate::verify::jwt::provider;

/// A key for tests of [`Dpop`](crate::Dpop), which signs proofs with Ed25519. It is public: never use it in production.
///
/// ```
/// use axum_ws_auth::test_util::{DpopKey, TestToken};
/// use serde_json::json;
///
/// let key = DpopKey::first();
/// let token = TestToken::new("alice").claim("cnf", json!({ "jkt": key.thumbprint() })).sign();
/// let proof = key.proof("GET", "https://ws.example.com/chat", &token);
/// assert_eq!(proof.split('.').count(), 3);
/// ```
#[derive(Clone)]
pub struct DpopKey {
    /// PKCS #8 (RFC 8410 §7).
    der: [u8; 48],
    public: &'static str,
}

/// What precedes the seed of a private key.
const PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

impl DpopKey {
    /// The key of test 1 of RFC 8032 §7.1.
    #[must_use]
    pub fn first() -> Self {
        let seed = b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
        Self::of(seed, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    }

    /// The key of test 2 of RFC 8032 §7.1.
    #[must_use]
    pub fn second() -> Self {
        let seed = b"\x4c\xcd\x08\x9b\x28\xff\x96\xda\x9d\xb6\xc3\x46\xec\x11\x4e\x0f\x5b\x8a\x31\x9f\x35\xab\xa6\x24\xda\x8c\xf6\xed\x4f\xb8\xa6\xfb";
        Self::of(seed, "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw")
    }

    fn of(seed: &[u8; 32], public: &'static str) -> Self {
        let mut der = [0; 48];
        let (prefix, rest) = der.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(&PREFIX);
        rest.copy_from_slice(seed);
        Self { der, public }
    }

    /// The thumbprint, for the claim `cnf.jkt` of a token.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        base64url(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.public)))
    }

    /// A new proof for this request and token.
    ///
    /// # Panics
    ///
    /// If no crypto backend is compiled in.
    #[must_use]
    pub fn proof(&self, method: &str, uri: &str, token: &str) -> String {
        self.proof_with(method, uri, token, &Value::Null)
    }

    /// The same, with members that replace or extend its claims, such as `{"nonce": "…"}`.
    ///
    /// # Panics
    ///
    /// If no crypto backend is compiled in.
    #[must_use]
    pub fn proof_with(&self, method: &str, uri: &str, token: &str, claims: &Value) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let standard = [
            ("jti", format!("proof-{}", NEXT.fetch_add(1, Ordering::Relaxed)).into()),
            ("htm", method.into()),
            ("htu", uri.into()),
            ("iat", unix_seconds(SystemTime::now()).into()),
            ("ath", base64url(Sha256::digest(token)).into()),
        ];
        let standard = standard.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value));
        let own = claims.as_object().cloned().unwrap_or_default();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": self.public });
        self.sign(&json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk }), &standard.chain(own).collect())
    }

    /// Signs a proof with any header and claims.
    ///
    /// # Panics
    ///
    /// If no crypto backend is compiled in.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let provider = provider().expect("a crypto backend");
        let key = EncodingKey::from_ed_der(&self.der);
        let signer = (provider.signer_factory)(&Algorithm::EdDSA, &key).expect("an Ed25519 key");
        let signature = signer.try_sign(message.as_bytes()).expect("Ed25519 does not fail");
        format!("{message}.{}", base64url(signature))
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey").field("public", &self.public).finish_non_exhaustive()
    }
}
