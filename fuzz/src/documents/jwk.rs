//! Keys that an issuer publishes, read plainly (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use axum_ws_auth::jwt::Algorithm;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;

use super::refused::{Outcome, refused, rule};

/// Padding is optional.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that may verify signatures.
#[derive(Clone)]
pub struct Jwk {
    pub id: Option<String>,
    pub material: Material,
    /// The exponent of an RSA key. No part of the material, because whoever knows the factors of a modulus can sign
    /// with any.
    pub exponent: Option<Vec<u8>>,
    named: Option<Algorithm>,
}

/// The public key itself.
#[derive(Clone, PartialEq)]
pub enum Material {
    /// The modulus.
    Rsa(Vec<u8>),
    /// The coordinates.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519([u8; 32]),
}

impl Jwk {
    pub fn read(key: &Value) -> Outcome<Self> {
        rule(key.is_object(), "not an object")?;
        rule(!is_private(key) && !is_symmetric(key), "not public")?;
        rule(member(key, "use").is_none_or(|purpose| purpose == "sig"), "for another use")?;
        let verifies = |value: &Value| value.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
        rule(member(key, "key_ops").is_none_or(verifies), "for other operations")?;
        let material = Material::read(key)?;
        let named = match member(key, "alg").map(|alg| alg.as_str().unwrap_or_default()) {
            None => None,
            Some("Ed25519") => Some(Algorithm::EdDSA),
            Some(name) => Some(name.parse().or_else(|_| refused("an unknown algorithm"))?),
        };
        rule(named.is_none_or(|named| material.algorithms().contains(&named)), "for an algorithm of another type")?;
        let id = match member(key, "kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return refused("its id is not a string"),
        };
        let exponent = matches!(material, Material::Rsa(_)).then(|| number(key, "e")).transpose()?;
        Ok(Self { id, material, exponent, named })
    }

    /// The public half of a private key that is published.
    pub fn exposed(key: &Value) -> Outcome<Material> {
        rule(is_private(key), "not private")?;
        Material::read(key)
    }

    /// The algorithms that it is used with.
    pub fn algorithms(&self, allowed: Option<&[Algorithm]>) -> Vec<Algorithm> {
        let of_type = self.material.algorithms();
        match (allowed, self.named) {
            (None, named) => vec![named.unwrap_or(of_type[0])],
            (Some(allowed), Some(named)) => allowed.iter().copied().filter(|allowed| *allowed == named).collect(),
            (Some(allowed), None) => allowed.iter().copied().filter(|allowed| of_type.contains(allowed)).collect(),
        }
    }
}

impl Material {
    fn read(key: &Value) -> Outcome<Self> {
        let text = |name| member(key, name).and_then(Value::as_str);
        match (text("kty"), text("crv")) {
            (Some("RSA"), _) => {
                let (n, e) = (number(key, "n")?, number(key, "e")?);
                rule((2048..=4096).contains(&bits(&n)) && is_odd(&n), "a modulus that is too short, too long or even")?;
                rule((2..=33).contains(&bits(&e)) && is_odd(&e), "an exponent that is one, too long or even")?;
                Ok(Self::Rsa(n))
            }
            (Some("EC"), Some("P-256")) => {
                let point = point(key, 32)?;
                rule(p256::PublicKey::from_sec1_bytes(&point).is_ok(), "not on the curve")?;
                Ok(Self::P256(point))
            }
            (Some("EC"), Some("P-384")) => {
                let point = point(key, 48)?;
                rule(p384::PublicKey::from_sec1_bytes(&point).is_ok(), "not on the curve")?;
                Ok(Self::P384(point))
            }
            (Some("OKP"), Some("Ed25519")) => {
                let Ok(point) = <[u8; 32]>::try_from(bytes(key, "x")?) else { return refused("not 32 bytes") };
                let Ok(public) = ed25519_dalek::VerifyingKey::from_bytes(&point) else { return refused("not a point") };
                rule(!public.is_weak(), "a point of small order")?;
                Ok(Self::Ed25519(point))
            }
            _ => refused("another type"),
        }
    }

    /// The algorithms of this type. The first is the default.
    fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Self::P256(_) => &[ES256],
            Self::P384(_) => &[ES384],
            Self::Ed25519(_) => &[EdDSA],
        }
    }
}

/// A member that is neither `null` nor empty.
fn member<'a>(key: &'a Value, name: &str) -> Option<&'a Value> {
    key.get(name).filter(|value| !value.is_null() && *value != "")
}

fn is_symmetric(key: &Value) -> bool {
    member(key, "kty").is_some_and(|kty| kty == "oct")
}

fn is_private(key: &Value) -> bool {
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];
    private.iter().any(|name| member(key, name).is_some()) || !is_symmetric(key) && member(key, "k").is_some()
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(key: &Value, len: usize) -> Outcome<Vec<u8>> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let number = number(key, name)?;
        rule(number.len() <= len, "a coordinate of another curve")?;
        point.resize(point.len() + len - number.len(), 0);
        point.extend(number);
    }
    Ok(point)
}

/// Without leading zeros.
fn number(key: &Value, name: &str) -> Outcome<Vec<u8>> {
    Ok(bytes(key, name)?.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// In either alphabet.
fn bytes(key: &Value, name: &str) -> Outcome<Vec<u8>> {
    let Some(Value::String(text)) = member(key, name) else { return refused("a member is missing") };
    BASE64URL.decode(text.replace('+', "-").replace('/', "_")).or_else(|_| refused("not base64url"))
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}
