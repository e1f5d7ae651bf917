use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    check::{invalid, significant},
    header::algorithm_named,
};
use crate::error::ConfigError;

/// A JSON Web Key (RFC 7517), read from JSON; [`JwtKey::jwk`](super::JwtKey::jwk) says whether it can be used.
///
/// It is read as issuers write it. A member that is `null` or an empty string is absent. Numbers and points may have padding,
/// the other base64 alphabet, or leading zeros. Members that verifying a signature does not need are ignored, such as `x5c`.
///
/// It is serialized with all its members, secret ones too.
///
/// ```
/// use axum_ws_auth::jwt::{Jwk, JwtKey};
///
/// let public = r#"{"kty": "OKP", "crv": "Ed25519", "alg": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// let key = JwtKey::jwk(&serde_json::from_str::<Jwk>(public)?)?;
/// assert_eq!(format!("{key:?}"), "JwtKey { algorithm: EdDSA, key_id: None, .. }");
///
/// let private = public.replace(r#""x""#, r#""d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "x""#);
/// assert!(JwtKey::jwk(&serde_json::from_str::<Jwk>(&private)?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Jwk(Map<String, Value>);

/// The members that nobody but the owner of a key pair has (RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2), and `k`, which only a
/// symmetric key has (§6.4). `priv` is that of post-quantum keys.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// Base64url, which RFC 7515 §2 writes without padding and some issuers with it.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Jwk {
    /// Whether it says that it is symmetric.
    pub(crate) fn is_symmetric(&self) -> bool {
        self.get("kty").and_then(Value::as_str) == Some("oct")
    }

    /// Whether it holds more than the public half of a key pair.
    pub(crate) fn is_private(&self) -> bool {
        PRIVATE.iter().any(|name| self.get(name).is_some()) || (!self.is_symmetric() && self.get("k").is_some())
    }

    /// The public half of a private key.
    #[cfg(feature = "jwks")]
    pub(crate) fn public_half(&self) -> Self {
        let mut members = self.0.clone();
        // What it says of the use of the private half does not matter.
        for name in PRIVATE.iter().chain(&["k", "use", "key_ops", "alg", "kid"]) {
            members.remove(*name);
        }
        Self(members)
    }

    /// The algorithm that it names.
    pub(crate) fn algorithm(&self) -> Result<Option<Algorithm>, ConfigError> {
        let Some(alg) = self.get("alg") else { return Ok(None) };
        let algorithm = alg.as_str().and_then(algorithm_named);
        algorithm.map(Some).ok_or(invalid("its `alg` is none that can be verified"))
    }

    pub(super) fn key_id(&self) -> Result<Option<&str>, ConfigError> {
        let Some(kid) = self.get("kid") else { return Ok(None) };
        kid.as_str().map(Some).ok_or(invalid("its `kid` is not a string"))
    }

    /// Whether it is for verifying signatures (RFC 7517 §4.2 and §4.3).
    pub(super) fn check_purpose(&self) -> Result<(), ConfigError> {
        if self.get("use").is_some_and(|purpose| purpose != "sig") {
            return Err(invalid("its `use` is not `sig`"));
        }
        let verifies = |operations: &Value| {
            operations.as_array().is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
        };
        if self.get("key_ops").is_some_and(|operations| !verifies(operations)) {
            return Err(invalid("its `key_ops` does not include `verify`"));
        }
        Ok(())
    }

    /// The key, and what it is for unless it says otherwise.
    pub(super) fn decode(&self) -> Result<(Algorithm, DecodingKey), ConfigError> {
        match (self.text("kty")?, self.get("crv").and_then(Value::as_str)) {
            ("RSA", _) => {
                let (n, e) = (self.bytes("n")?, self.bytes("e")?);
                // With a leading zero one of the backends verifies nothing.
                let key = DecodingKey::from_rsa_raw_components(significant(&n), significant(&e));
                Ok((Algorithm::RS256, key))
            }
            ("EC", Some("P-256")) => Ok((Algorithm::ES256, self.point::<32>()?)),
            ("EC", Some("P-384")) => Ok((Algorithm::ES384, self.point::<48>()?)),
            ("OKP", Some("Ed25519")) => Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(&self.bytes("x")?))),
            ("oct", _) => Ok((Algorithm::HS256, DecodingKey::from_secret(&self.bytes("k")?))),
            _ => Err(invalid("its type or curve is not supported")),
        }
    }

    /// A point, uncompressed (SEC 1 §2.3.3), whose coordinates are so many bytes long.
    fn point<const LEN: usize>(&self) -> Result<DecodingKey, ConfigError> {
        let mut point = vec![4];
        for name in ["x", "y"] {
            let coordinate = self.bytes(name)?;
            // RFC 7518 §6.2.1.2 wants the full length. Big-integer types write a zero more, or leave zeros out.
            let number = significant(&coordinate);
            let zeros = LEN.checked_sub(number.len()).ok_or(invalid("its coordinates are not of its curve"))?;
            point.resize(point.len() + zeros, 0);
            point.extend_from_slice(number);
        }
        Ok(DecodingKey::from_ec_der(&point))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, ConfigError> {
        // The symbols in which the two alphabets differ are disjoint, so this is exact.
        let text = self.text(name)?.replace('+', "-").replace('/', "_");
        BASE64URL.decode(text).map_err(|_| invalid("one of its numbers is not base64url"))
    }

    fn text(&self, name: &str) -> Result<&str, ConfigError> {
        self.get(name).and_then(Value::as_str).ok_or(invalid("a member is missing or of the wrong type"))
    }

    /// A member that says something.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null() && *value != "")
    }
}

// By hand: it may hold a secret.
impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk").field("kty", &self.get("kty")).field("kid", &self.get("kid")).finish_non_exhaustive()
    }
}
