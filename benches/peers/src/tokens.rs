//! Tokens. The claims are the same for all, as far as a peer takes them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::Header;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::keys::Algorithm;

pub(crate) const SUBJECT: &str = "alice";
pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const AUDIENCE: &str = "chat";
/// Two of the peers find their keys by it.
pub(crate) const KEY_ID: &str = "2026-11";

/// What handlers ask for.
#[derive(Clone, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    #[allow(dead_code, reason = "parsed, as an application would have it parsed")]
    exp: u64,
}

pub(crate) fn header(algorithm: Algorithm) -> Header {
    Header { kid: Some(KEY_ID.to_owned()), ..Header::new(algorithm.jwt11()) }
}

pub(crate) fn claims() -> Map<String, Value> {
    let now = now();
    object(json!({
        "sub": SUBJECT, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 24 * 3600, "scope": "chat",
    }))
}

pub(crate) fn sign(algorithm: Algorithm, header: &Header, claims: &Map<String, Value>) -> String {
    jsonwebtoken::encode(header, claims, &algorithm.encoding_key()).expect("a key for this algorithm")
}

/// The claims, with another signature, which has the right form: that of other claims.
pub(crate) fn badly_signed(algorithm: Algorithm, claims: &Map<String, Value>) -> String {
    let mut others = claims.clone();
    others.insert("sub".to_owned(), "mallory".into());
    let [token, other] = [claims, &others].map(|claims| sign(algorithm, &header(algorithm), claims));
    let (message, _) = token.rsplit_once('.').expect("three parts");
    let (_, signature) = other.rsplit_once('.').expect("three parts");
    format!("{message}.{signature}")
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("not an object: {value}") };
    object
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set").as_secs()
}
