use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};

use super::{
    check::{check, ec_algorithm, invalid, without_leading_zeros},
    crypto::Prepared,
};
use crate::ConfigError;

/// One key, for one algorithm (RFC 8725 §3.1).
///
/// The algorithm follows from the key where it can: `ES256` or `ES384` from the curve, `EdDSA`, the `alg` of a JWK.
/// Otherwise it is `HS256` for secrets and `RS256` for RSA keys; [`algorithm`](Self::algorithm) sets another.
///
/// ```
/// use axum_ws_auth::{ConfigError, jwt::{Algorithm, JwtKey}};
///
/// # fn main() -> Result<(), ConfigError> {
/// let key = JwtKey::secret(b"sixty-four bytes, which is what HMAC with SHA-512 wants: 0123456")?
///     .algorithm(Algorithm::HS512)?
///     .key_id("2026-11")?;
/// assert_eq!(format!("{key:?}"), r#"JwtKey { algorithm: HS512, key_id: Some("2026-11"), .. }"#);
///
/// let short = JwtKey::secret(b"at least thirty-two bytes of secret")?.algorithm(Algorithm::HS512);
/// assert!(matches!(short, Err(ConfigError::WeakKey { minimum: 512, .. })));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct JwtKey {
    algorithm: Algorithm,
    key_id: Option<String>,
    /// As it was given, for another algorithm.
    key: DecodingKey,
    prepared: Prepared,
}

const BEGIN: &[u8] = b"-----BEGIN ";

impl JwtKey {
    /// An HMAC secret, for `HS256`.
    ///
    /// # Errors
    ///
    /// If it is shorter than the hash, 32 bytes (RFC 7518 §3.2), or no crypto backend is compiled in.
    pub fn secret(secret: &[u8]) -> Result<Self, ConfigError> {
        Self::new(Algorithm::HS256, DecodingKey::from_secret(secret))
    }

    /// A public key in PEM: `PUBLIC KEY` (RSA, EC on P-256 or P-384, Ed25519) or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// If it is something else, a private key or a certificate for instance, or more than one; if it is broken or too
    /// short, or, for RSA, longer than 8192 bits (4096 with `rust-crypto`); if no crypto backend is compiled in.
    pub fn pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let pem = pem.as_ref();
        if pem.windows(BEGIN.len()).filter(|window| window == &BEGIN).count() > 1 {
            return Err(invalid("it is more than one PEM block; add one key for each"));
        }
        let says = |word: &[u8]| pem.windows(word.len()).any(|window| window == word);
        if says(b"PRIVATE KEY-----") {
            return Err(invalid("it is a private key; a verifier needs the public one"));
        }
        if says(b"BEGIN CERTIFICATE-----") {
            return Err(invalid("it is a certificate; extract its public key"));
        }
        if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            return Self::new(Algorithm::RS256, key);
        }
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            return Self::new(ec_algorithm(&key)?, key);
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Self::new(Algorithm::EdDSA, key);
        }
        Err(invalid("it is not the PEM of an RSA, EC or Ed25519 public key"))
    }

    /// A public key in DER: `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), or `RSAPublicKey` (RFC 8017 §A.1.1).
    ///
    /// # Errors
    ///
    /// As for [`pem`](Self::pem).
    pub fn der(der: &[u8]) -> Result<Self, ConfigError> {
        let pem = |label| {
            let body = STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        match Self::pem(pem("PUBLIC KEY")) {
            Err(ConfigError::InvalidKey { .. }) => Self::pem(pem("RSA PUBLIC KEY"))
                .map_err(|_| invalid("it is not the DER of an RSA, EC or Ed25519 public key")),
            outcome => outcome,
        }
    }

    /// A JSON Web Key (RFC 7517) with its `kid`: `RSA`, `EC` on P-256 or P-384, `OKP` on Ed25519, or `oct`.
    ///
    /// # Errors
    ///
    /// If its `use`, `key_ops` or `alg` is not about verifying signatures, or does not go with the key; if it is of
    /// another type or curve, broken or too short; if no crypto backend is compiled in.
    pub fn jwk(jwk: &Jwk) -> Result<Self, ConfigError> {
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return Err(invalid("its `use` is not `sig`"));
        }
        if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
            return Err(invalid("its `key_ops` does not include `verify`"));
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| invalid("it is of an unknown type, or not base64url"))?;
        let key = without_leading_zeros(key);
        let natural = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(parameters) => {
                let algorithm = ec_algorithm(&key)?;
                let curve = if algorithm == Algorithm::ES256 { EllipticCurve::P256 } else { EllipticCurve::P384 };
                if parameters.curve != curve {
                    return Err(invalid("its coordinates are not of its curve"));
                }
                algorithm
            }
            AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            AlgorithmParameters::OctetKeyPair(_) => return Err(invalid("its curve is not Ed25519")),
            AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
            _ => Algorithm::RS256,
        };
        let algorithm = match common.key_algorithm {
            None => natural,
            Some(named) => Algorithm::try_from(named).map_err(|_| invalid("its `alg` is not for signatures"))?,
        };
        let key = Self::new(algorithm, key)?;
        common.key_id.clone().map_or(Ok(key.clone()), |key_id| key.key_id(key_id))
    }

    /// Sets the algorithm.
    ///
    /// # Errors
    ///
    /// If the key is of another kind or curve, or too short for it.
    pub fn algorithm(self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let key_id = self.key_id;
        Ok(Self { key_id, ..Self::new(algorithm, self.key)? })
    }

    /// Sets the `kid` by which tokens name this key. A key without one is tried for every token of its algorithm.
    ///
    /// # Errors
    ///
    /// If it is empty.
    pub fn key_id(mut self, key_id: impl Into<String>) -> Result<Self, ConfigError> {
        let key_id = key_id.into();
        if key_id.is_empty() {
            return Err(ConfigError::Empty("key id"));
        }
        self.key_id = Some(key_id);
        Ok(self)
    }

    fn new(algorithm: Algorithm, key: DecodingKey) -> Result<Self, ConfigError> {
        check(algorithm, &key)?;
        let prepared = Prepared::new(algorithm, &key)?;
        Ok(Self { algorithm, key_id: None, key, prepared })
    }

    pub(crate) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    pub(crate) fn answers_to(&self, key_id: Option<&str>) -> bool {
        match (&self.key_id, key_id) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        }
    }

    /// Whether the signature over the message is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.prepared.verifies(message, signature)
    }
}

// By hand: a derive would ask what `DecodingKey` prints of itself.
impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
