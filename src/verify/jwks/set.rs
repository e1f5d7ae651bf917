use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::entra::KeyIssuer;
use crate::{
    error::ConfigError,
    verify::keys::{Algorithm, Jwk, JwtKey, wipe},
};

/// A JSON Web Key Set (RFC 7517 §5). Keys are parsed one by one, so an invalid key does not affect the others.
///
/// ```
/// use axum_ws_auth::jwks::JwkSet;
///
/// let set: JwkSet = serde_json::from_str(r#"{"keys": [{"kty": "a new type"}, 7]}"#)?;
/// assert_eq!(set.len(), 2);
/// assert!(serde_json::from_str::<JwkSet>("<html>").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct JwkSet(Vec<Value>);

/// A key that is not used, and the reason; see [`IssuerStatus::unusable`](super::IssuerStatus::unusable).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnusableKey {
    key_id: Option<String>,
    problem: String,
}

/// Where a set comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SetSource {
    /// The configuration.
    Local,
    /// The network. Published keys are public, so symmetric and private ones are refused.
    Network,
    /// The network, for tenants that share the set. A key may be for one of them only.
    Tenants,
}

/// The parsed keys of a set.
#[derive(Default)]
pub(super) struct KeyList {
    pub(super) usable: Vec<JwtKey>,
    pub(super) unusable: Vec<UnusableKey>,
    /// Whether every entry is a key of any type (RFC 7517 §4.1).
    pub(super) is_well_formed: bool,
    /// A hash of the set, for comparison with the next one that is fetched.
    canonical: [u8; 32],
}

impl JwkSet {
    /// The number of keys, usable or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn keys(&self, allowed: Option<&[Algorithm]>, source: SetSource) -> KeyList {
        let mut list = KeyList::default();
        let exposed: Vec<JwtKey> = match source {
            SetSource::Local => Vec::new(),
            SetSource::Network | SetSource::Tenants => self.0.iter().filter_map(exposed_key).collect(),
        };
        for key in &self.0 {
            match usable_keys(key, allowed, source, &exposed) {
                Ok(keys) => list.usable.extend(keys),
                Err(problem) => {
                    let key_id = key.get("kid").and_then(Value::as_str).map(truncate);
                    list.unusable.push(UnusableKey { key_id, problem: truncate(&problem) });
                }
            }
        }
        list.is_well_formed = self.0.iter().all(|key| key.get("kty").is_some_and(Value::is_string));
        // Some issuers list their keys in a different order each time.
        // A local set, which may hold secrets, is not compared.
        if source != SetSource::Local {
            let mut keys: Vec<[u8; 32]> = self.0.iter().map(|key| Sha256::digest(key.to_string()).into()).collect();
            keys.sort_unstable();
            list.canonical = Sha256::digest(keys.concat()).into();
        }
        list
    }
}

/// The key, once for each algorithm that it can be used with.
fn usable_keys(
    key: &Value,
    allowed: Option<&[Algorithm]>,
    source: SetSource,
    exposed: &[JwtKey],
) -> Result<Vec<JwtKey>, String> {
    let jwk = Jwk::deserialize(key).map_err(|_| "it is not a JSON object")?;
    if source != SetSource::Local && jwk.is_symmetric() {
        return Err("it is a symmetric key that is published".to_owned());
    }
    if source != SetSource::Local && jwk.is_private() {
        return Err("it is a private key that is published".to_owned());
    }
    let key = JwtKey::jwk(&jwk).map_err(|error| error.to_string())?;
    let key = if source == SetSource::Tenants { restricted(key, &jwk)? } else { key };
    if exposed.iter().any(|exposed| exposed.is_same_as(&key)) {
        return Err("its private half is published in the same set".to_owned());
    }
    let keys = match allowed {
        None => vec![key],
        // The key names its own algorithm.
        Some(allowed) if jwk.algorithm().is_ok_and(|named| named.is_some()) => {
            if allowed.iter().any(|&algorithm| key.is_for(algorithm)) { vec![key] } else { Vec::new() }
        }
        Some(allowed) => allowed.iter().filter_map(|&algorithm| key.clone().algorithm(algorithm).ok()).collect(),
    };
    if keys.is_empty() { Err("its algorithm is not allowed".to_owned()) } else { Ok(keys) }
}

/// The key, for the tenant that its `issuer` names.
fn restricted(key: JwtKey, jwk: &Jwk) -> Result<JwtKey, String> {
    let Some(issuer) = jwk.issuer() else { return Ok(key) };
    match issuer.as_str().and_then(KeyIssuer::parse) {
        Some(KeyIssuer::AnyTenant) => Ok(key),
        Some(KeyIssuer::Tenant(tenant)) => Ok(key.for_tenant(tenant)),
        None => Err("its `issuer` is not a tenant".to_owned()),
    }
}

/// The public half of a private key in the set.
fn exposed_key(key: &Value) -> Option<JwtKey> {
    let jwk = Jwk::deserialize(key).ok().filter(Jwk::is_private)?;
    JwtKey::jwk(&jwk.public_half()).ok()
}

/// Limits foreign text to 200 characters.
pub(super) fn truncate(text: &str) -> String {
    text.chars().take(200).collect()
}

impl UnusableKey {
    /// The `kid`, if present.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Why the key is not used.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl KeyList {
    /// A key that is not in a set.
    pub(super) fn of_pem(pem: &[u8], key_id: &str) -> Result<Self, ConfigError> {
        let key = JwtKey::pem(pem)?.key_id(key_id)?;
        let canonical = Sha256::digest(pem).into();
        Ok(Self { usable: vec![key], unusable: Vec::new(), is_well_formed: true, canonical })
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }

    /// The problems of the first ten unusable keys.
    pub(super) fn problems(&self) -> String {
        if self.unusable.is_empty() {
            return "the set is empty".to_owned();
        }
        let problem = |key: &UnusableKey| format!("`{}`: {}", key.key_id().unwrap_or_default(), key.problem);
        self.unusable.iter().take(10).map(problem).collect::<Vec<_>>().join("; ")
    }
}

// By hand: a derive would accept an array too.
impl<'de> Deserialize<'de> for JwkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = JwkSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a list of keys")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<JwkSet, A::Error> {
                let mut keys = None;
                while let Some(name) = members.next_key::<String>()? {
                    if name != "keys" {
                        members.next_value::<IgnoredAny>()?;
                    } else if keys.replace(members.next_value()?).is_some() {
                        return Err(de::Error::duplicate_field("keys"));
                    }
                }
                keys.map(JwkSet).ok_or_else(|| de::Error::missing_field("keys"))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// A local set may hold secrets.
impl Drop for JwkSet {
    fn drop(&mut self) {
        self.0.iter_mut().filter_map(Value::as_object_mut).for_each(wipe);
    }
}

// By hand: a local set may hold secrets.
impl fmt::Debug for JwkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_ids = self.0.iter().map(|key| key.get("kid"));
        f.debug_tuple("JwkSet").field(&key_ids.collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::JwkSet;

    /// An array was read as a set, and its first element as the keys.
    #[test]
    fn a_set_is_an_object_with_one_list_of_keys() {
        let len = |json| serde_json::from_str::<JwkSet>(json).ok().map(|set| set.len());
        assert_eq!(len(r#"{"keys":[{},7],"other":[1]}"#), Some(2));
        for json in ["[[{}]]", "[]", "{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"keys":[],"keys":[{}]}"#] {
            assert_eq!(len(json), None, "{json}");
        }
    }
}
