use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
#[cfg(feature = "jwks")]
use jsonwebtoken::DecodingKeyKind;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{
    Jwk,
    crypto::Prepared,
    strength::{check, ec_algorithm, invalid},
};
use crate::error::ConfigError;

/// A verification key for exactly one algorithm (RFC 8725 §3.1).
///
/// The algorithm is the `alg` of a JWK, or follows from the curve: `ES256`, `ES384` or `EdDSA`. Otherwise it defaults
/// to `HS256` for secrets and `RS256` for RSA keys; [`algorithm`](Self::algorithm) sets another.
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
    /// The only tenant that it is for, if tenants share a key set.
    #[cfg(feature = "jwks")]
    tenant: Option<String>,
    /// The unparsed key, from which [`algorithm`](Self::algorithm) builds another.
    key: DecodingKey,
    prepared: Prepared,
}

const BEGIN: &[u8] = b"-----BEGIN ";

impl JwtKey {
    /// An HMAC secret, for `HS256`.
    ///
    /// # Errors
    ///
    /// - If the secret is shorter than the hash, 32 bytes (RFC 7518 §3.2).
    /// - If it is a public key, private key or certificate, or the URL of one, in any form: PEM, DER, JWK, SSH, XML, or
    ///   base64 or hexadecimal of those. Public keys are public, so anyone could sign tokens with one (RFC 8725 §2.1).
    ///   A raw public key without structure, such as the 32 bytes of Ed25519, cannot be told from a secret.
    /// - If no crypto backend is compiled in.
    pub fn secret(secret: &[u8]) -> Result<Self, ConfigError> {
        Self::new(Algorithm::HS256, DecodingKey::from_secret(secret))
    }

    /// A public key in PEM: `PUBLIC KEY` (RSA, EC on P-256 or P-384, Ed25519) or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// If the input is anything else, such as a private key or a certificate, or holds several keys; if the key is
    /// malformed or too short, or an RSA key longer than 8192 bits (4096 with `rust-crypto`); if no crypto backend is
    /// compiled in.
    pub fn pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let pem = pem.as_ref();
        if pem.windows(BEGIN.len()).filter(|window| window == &BEGIN).count() > 1 {
            return Err(invalid("it holds more than one PEM block; add one key for each"));
        }
        let contains = |word: &[u8]| pem.windows(word.len()).any(|window| window == word);
        if contains(b"PRIVATE KEY-----") {
            return Err(invalid("it is a private key; a verifier needs the public one"));
        }
        if contains(b"BEGIN CERTIFICATE-----") {
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
    /// If its `use`, `key_ops` or `alg` does not allow signature verification, or `alg` does not match the key; if it
    /// has a private member such as `d`; if its type or curve is not supported, or the key is malformed or too short;
    /// if an `oct` key is not a [secret](Self::secret); if no crypto backend is compiled in.
    pub fn jwk(jwk: &Jwk) -> Result<Self, ConfigError> {
        if jwk.is_private() {
            return Err(invalid("it is a private key; a verifier needs the public one"));
        }
        jwk.check_use()?;
        let (default, key) = jwk.decode()?;
        let algorithm = jwk.algorithm()?.unwrap_or(default);
        let key = Self::new(algorithm, key)?;
        jwk.key_id()?.map_or(Ok(key.clone()), |key_id| key.key_id(key_id))
    }

    /// Sets the algorithm.
    ///
    /// # Errors
    ///
    /// If the key has another type or curve, or is too short for the algorithm.
    pub fn algorithm(self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let key = Self::new(algorithm, self.key)?;
        Ok(Self {
            key_id: self.key_id,
            #[cfg(feature = "jwks")]
            tenant: self.tenant,
            ..key
        })
    }

    /// Sets the `kid` that tokens select this key by. A key without one is tried for every token with its algorithm.
    ///
    /// At most 16 keys are tried for a token, in the order in which they were added or published, because each costs
    /// processor time and anybody can send tokens. If there are more, they need ids, and tokens have to name them.
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
        Ok(Self {
            algorithm,
            key_id: None,
            #[cfg(feature = "jwks")]
            tenant: None,
            key,
            prepared,
        })
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn for_tenant(mut self, tenant: &str) -> Self {
        self.tenant = Some(tenant.to_owned());
        self
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn is_for_tenant(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }

    pub(crate) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }

    /// Whether the key material is the same, regardless of id and algorithm.
    #[cfg(feature = "jwks")]
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(own), DecodingKeyKind::SecretOrDer(other)) => own == other,
            (DecodingKeyKind::RsaModulusExponent { n, .. }, DecodingKeyKind::RsaModulusExponent { n: other, .. }) => {
                n == other
            }
            _ => false,
        }
    }

    pub(crate) fn algorithm_name(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Whether a token with this `kid` may have been signed with this key.
    pub(crate) fn matches_id(&self, key_id: Option<&str>) -> bool {
        match (&self.key_id, key_id) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        }
    }

    /// Whether this key made the signature over the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.prepared.verifies(message, signature)
    }
}

// By hand: a derive would print whatever `DecodingKey` prints.
impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
