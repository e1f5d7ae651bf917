use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::jwt::{Algorithm, Jwk, JwtKey};

/// A JSON Web Key Set (RFC 7517 §5), read key by key: one that cannot be read does not spoil the others.
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

/// A key of a set that is not used, and why; see [`IssuerStatus::unusable`](super::IssuerStatus::unusable).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnusableKey {
    key_id: Option<String>,
    problem: String,
}

/// Who a set comes from, which decides what is believed of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Whoever configures the verifier.
    Hand,
    /// Somebody on the network. What is published there is no secret, so no key in it is symmetric.
    Network,
}

/// The keys of a set that can verify signatures, and those that cannot.
#[derive(Default)]
pub(super) struct KeyList {
    pub(super) usable: Vec<JwtKey>,
    pub(super) unusable: Vec<UnusableKey>,
    /// Whether each of them is a key, of whatever type (RFC 7517 §4.1).
    pub(super) is_well_formed: bool,
    /// The set in one canonical form, by which two are compared.
    canonical: Vec<String>,
}

impl JwkSet {
    /// How many keys there are, usable or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn keys(&self, allowed: Option<&[Algorithm]>, origin: Origin) -> KeyList {
        let mut list = KeyList::default();
        let exposed: Vec<JwtKey> = match origin {
            Origin::Hand => Vec::new(),
            Origin::Network => self.0.iter().filter_map(exposed).collect(),
        };
        for key in &self.0 {
            match usable(key, allowed, origin, &exposed) {
                Ok(keys) => list.usable.extend(keys),
                Err(problem) => {
                    let key_id = key.get("kid").and_then(Value::as_str).map(short);
                    list.unusable.push(UnusableKey { key_id, problem: short(&problem) });
                }
            }
        }
        list.is_well_formed = self.0.iter().all(|key| key.get("kty").is_some_and(Value::is_string));
        // Some issuers write their keys in another order each time.
        list.canonical = self.0.iter().map(Value::to_string).collect();
        list.canonical.sort_unstable();
        list
    }
}

/// The key, once for each algorithm that it may be used with.
fn usable(
    key: &Value,
    allowed: Option<&[Algorithm]>,
    origin: Origin,
    exposed: &[JwtKey],
) -> Result<Vec<JwtKey>, String> {
    let jwk = Jwk::deserialize(key).map_err(|_| "it is not a JSON object")?;
    if origin == Origin::Network && jwk.is_symmetric() {
        return Err("it is symmetric, and published".to_owned());
    }
    if origin == Origin::Network && jwk.is_private() {
        return Err("it is private, and published".to_owned());
    }
    let key = JwtKey::jwk(&jwk).map_err(|error| error.to_string())?;
    if exposed.iter().any(|exposed| exposed.is_same_as(&key)) {
        return Err("its private half is published beside it".to_owned());
    }
    let keys = match allowed {
        None => vec![key],
        // It says itself what it is for.
        Some(allowed) if jwk.algorithm().is_ok_and(|named| named.is_some()) => {
            if allowed.iter().any(|&algorithm| key.is_for(algorithm)) { vec![key] } else { Vec::new() }
        }
        Some(allowed) => allowed.iter().filter_map(|&algorithm| key.clone().algorithm(algorithm).ok()).collect(),
    };
    if keys.is_empty() { Err("its algorithm is not allowed".to_owned()) } else { Ok(keys) }
}

/// The public half of a key whose private half is there for everybody to read.
fn exposed(key: &Value) -> Option<JwtKey> {
    let jwk = Jwk::deserialize(key).ok().filter(Jwk::is_private)?;
    JwtKey::jwk(&jwk.public_half()).ok()
}

/// What others wrote, as far as it fits in a line.
pub(super) fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

impl UnusableKey {
    /// Its `kid`, if it has one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Why it is not used.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl KeyList {
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }

    /// What is wrong with the keys that are not used: the first ten.
    pub(super) fn problems(&self) -> String {
        if self.unusable.is_empty() {
            return "the set is empty".to_owned();
        }
        let problem = |key: &UnusableKey| format!("`{}`: {}", key.key_id().unwrap_or_default(), key.problem);
        self.unusable.iter().take(10).map(problem).collect::<Vec<_>>().join("; ")
    }
}

impl<'de> Deserialize<'de> for JwkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }

        Set::deserialize(deserializer).map(|set| Self(set.keys))
    }
}

// By hand: a set in hand may hold secrets.
impl fmt::Debug for JwkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_ids = self.0.iter().map(|key| key.get("kid"));
        f.debug_tuple("JwkSet").field(&key_ids.collect::<Vec<_>>()).finish()
    }
}
