use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::{
    algorithm_named,
    strength::{invalid, significant},
};
use crate::error::ConfigError;

/// A JSON Web Key (RFC 7517), deserialized from JSON. [`JwtKey::jwk`](super::JwtKey::jwk) checks whether it is usable.
///
/// Parsing tolerates what issuers write. A member that is `null` or an empty string counts as absent. Numbers and
/// points may be padded, use the other base64 alphabet, or have leading zeros. Members that signature verification does
/// not need, such as `x5c`, are ignored.
///
/// Serialization writes all members, including secret ones. Their memory is overwritten on drop.
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

/// The private members of a key pair (RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2). `priv` belongs to post-quantum keys.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// The secret of a symmetric key (RFC 7518 §6.4.1).
const SECRET: &str = "k";

/// Base64url. RFC 7515 §2 forbids padding, but some issuers write it.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Jwk {
    /// Whether `kty` is `oct`.
    pub(crate) fn is_symmetric(&self) -> bool {
        self.get("kty").and_then(Value::as_str) == Some("oct")
    }

    /// Whether it holds more than the public half of a key pair. `k` belongs to symmetric keys only (RFC 7518 §6.4).
    pub(crate) fn is_private(&self) -> bool {
        PRIVATE.iter().any(|name| self.get(name).is_some()) || (!self.is_symmetric() && self.get(SECRET).is_some())
    }

    /// The public half of a private key.
    #[cfg(feature = "jwks")]
    pub(crate) fn public_half(&self) -> Self {
        let mut members = self.0.clone();
        // These describe the private half.
        for name in PRIVATE.iter().chain(&[SECRET, "use", "key_ops", "alg", "kid"]) {
            members.remove(*name);
        }
        Self(members)
    }

    /// Its `alg`, if present.
    pub(crate) fn algorithm(&self) -> Result<Option<Algorithm>, ConfigError> {
        let Some(alg) = self.get("alg") else { return Ok(None) };
        let algorithm = alg.as_str().and_then(algorithm_named);
        algorithm.map(Some).ok_or(invalid("its `alg` is not a supported signature algorithm"))
    }

    /// Its `issuer`, if present: the only issuer that it is for. Microsoft Entra defines this member.
    #[cfg(feature = "jwks")]
    pub(crate) fn issuer(&self) -> Option<&Value> {
        self.get("issuer")
    }

    pub(super) fn key_id(&self) -> Result<Option<&str>, ConfigError> {
        let Some(kid) = self.get("kid") else { return Ok(None) };
        kid.as_str().map(Some).ok_or(invalid("its `kid` is not a string"))
    }

    /// Checks that `use` and `key_ops` allow signature verification (RFC 7517 §4.2 and §4.3).
    pub(super) fn check_use(&self) -> Result<(), ConfigError> {
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

    /// The key, and the algorithm that it defaults to.
    pub(super) fn decode(&self) -> Result<(Algorithm, DecodingKey), ConfigError> {
        match (self.text("kty")?, self.get("crv").and_then(Value::as_str)) {
            ("RSA", _) => {
                let (n, e) = (self.bytes("n")?, self.bytes("e")?);
                // One of the backends rejects every signature if there is a leading zero.
                let key = DecodingKey::from_rsa_raw_components(significant(&n), significant(&e));
                Ok((Algorithm::RS256, key))
            }
            ("EC", Some("P-256")) => Ok((Algorithm::ES256, self.point::<32>()?)),
            ("EC", Some("P-384")) => Ok((Algorithm::ES384, self.point::<48>()?)),
            ("OKP", Some("Ed25519")) => Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(&self.bytes("x")?))),
            ("oct", _) => Ok((Algorithm::HS256, DecodingKey::from_secret(&self.bytes(SECRET)?))),
            _ => Err(invalid("its type or curve is not supported")),
        }
    }

    /// The uncompressed point (SEC 1 §2.3.3) with coordinates of `LEN` bytes.
    fn point<const LEN: usize>(&self) -> Result<DecodingKey, ConfigError> {
        let mut point = vec![4];
        for name in ["x", "y"] {
            let coordinate = self.bytes(name)?;
            // RFC 7518 §6.2.1.2 requires the full length, but big-integer types add or drop leading zeros.
            let number = significant(&coordinate);
            let zeros = LEN.checked_sub(number.len()).ok_or(invalid("its coordinates are not of its curve"))?;
            point.resize(point.len() + zeros, 0);
            point.extend_from_slice(number);
        }
        Ok(DecodingKey::from_ec_der(&point))
    }

    fn bytes(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        // The alphabets differ in disjoint symbols, so this translation is exact.
        let url_safe = self.text(name)?.bytes().map(|symbol| match symbol {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        });
        let bytes = BASE64URL.decode(Zeroizing::new(url_safe.collect::<Vec<_>>()));
        bytes.map(Zeroizing::new).map_err(|_| invalid("one of its numbers is not base64url"))
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, ConfigError> {
        self.get(name).and_then(Value::as_str).ok_or(invalid("a member is missing or of the wrong type"))
    }

    /// A member that is neither `null` nor empty.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null() && *value != "")
    }
}

/// Overwrites the secret members of a key.
pub(crate) fn wipe(key: &mut Map<String, Value>) {
    for name in PRIVATE.iter().chain(&[SECRET]) {
        if let Some(Value::String(text)) = key.get_mut(*name) {
            text.zeroize();
        }
    }
}

impl Drop for Jwk {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

// By hand: a derive would print secrets.
impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk").field("kty", &self.get("kty")).field("kid", &self.get("kid")).finish_non_exhaustive()
    }
}
