//! Builds tokens from their descriptions.

use axum_ws_auth::{jwt::Algorithm, test_util::base64url};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    keys::{own_jwk, signer},
    table::members,
    template::{expand, time},
};
use crate::support::issuer::{EXP, hex, signed};

/// The order of P-256 (SEC 2 §2.4.2).
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// The order of Ed25519's base point (RFC 8032 §5.1), little-endian.
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TokenSpec {
    /// Another text instead of a token.
    text: Option<String>,
    key: Option<String>,
    algorithm: Option<Algorithm>,
    header: Value,
    header_text: Option<String>,
    header_bytes: Option<String>,
    claims: Value,
    claims_text: Option<String>,
    claims_bytes: Option<String>,
    signing_input: Option<String>,
    signature: Option<String>,
    /// Other claims, for which the signature is.
    signature_for: Option<Value>,
    form: Option<String>,
}

impl TokenSpec {
    pub(crate) fn build(&self) -> String {
        if let Some(text) = &self.text {
            return expand(text, &[]);
        }
        let name = self.key.as_deref().unwrap_or("hs");
        let signer = signer(name);
        let algorithm = self.algorithm.unwrap_or(signer.algorithm);
        let header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT", "kid": signer.key_id});
        let mut header = changed(header, &self.header);
        if header.get("jwk").is_some_and(|jwk| jwk == "{own}") {
            header["jwk"] = own_jwk(name);
        }
        let claims = json!({"iss": "https://id.example", "aud": "chat", "sub": "alice", "exp": EXP});
        let claims = changed(claims, &self.claims);
        let h = base64url(bytes(&header, self.header_text.as_deref(), self.header_bytes.as_deref()));
        let p = base64url(bytes(&claims, self.claims_text.as_deref(), self.claims_bytes.as_deref()));
        let input = self.signing_input.as_deref().unwrap_or("{h}.{p}");
        let m = expand(input, &[("h", &h), ("p", &p)]);
        let message = self.signature_for.as_ref().map_or_else(
            || m.clone(),
            |other| format!("{h}.{}", base64url(changed(claims.clone(), other).to_string())),
        );
        let token = signed(&message, algorithm, &signer.key);
        let (_, s) = token.rsplit_once('.').expect("a signature");
        let s = self.signature.as_deref().map_or_else(|| s.to_owned(), |how| spoilt(s, how));
        expand(self.form.as_deref().unwrap_or("{m}.{s}"), &[("h", &h), ("p", &p), ("m", &m), ("s", &s)])
    }
}

/// The object with these changes. `"{absent}"` removes a member.
fn changed(mut object: Value, changes: &Value) -> Value {
    if changes.is_null() {
        return object;
    }
    for (name, value) in members(changes) {
        object[name] = value.clone();
        match value.as_str() {
            Some("{absent}") => _ = object.as_object_mut().expect("an object").remove(name),
            Some(text) => object[name] = time(text).map_or_else(|| expand(text, &[]).into(), Value::from),
            None => {}
        }
    }
    object
}

/// The JSON of a part: the object, or the text or the bytes in its place.
fn bytes(object: &Value, text: Option<&str>, bytes: Option<&str>) -> Vec<u8> {
    match (text, bytes) {
        (None, None) => object.to_string().into_bytes(),
        (Some(text), None) => expand(text, &[]).into_bytes(),
        (_, Some(bytes)) => latin1(&expand(bytes, &[])),
    }
}

/// The bytes of a text whose characters are bytes.
pub(crate) fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("a character up to U+00FF")).collect()
}

fn spoilt(signature: &str, how: &str) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("a signature");
    let half = bytes.len() / 2;
    match how {
        "first bit" => bytes[0] ^= 0x80,
        "last bit" => *bytes.last_mut().expect("a byte") ^= 1,
        "zeros" => bytes.fill(0),
        "ones" => bytes.fill(0xff),
        "r is zero" => bytes[..half].fill(0),
        "s is zero" => bytes[half..].fill(0),
        "r and s are one" => {
            bytes.fill(0);
            bytes[half - 1] = 1;
            bytes[2 * half - 1] = 1;
        }
        "r and s are the order" => bytes = hex(P256_ORDER).repeat(2),
        "r and s swapped" => bytes.rotate_left(half),
        "s plus the order" => add(&mut bytes[half..], &hex(ED25519_ORDER)),
        "der" => bytes = der(&bytes[..half], &bytes[half..]),
        "one byte less" => _ = bytes.pop(),
        "one byte more" => bytes.push(0),
        "a zero before each half" => bytes = [&[0], &bytes[..half], &[0], &bytes[half..]].concat(),
        "half" => bytes.truncate(half),
        "twice" => bytes = bytes.repeat(2),
        "one byte" => bytes.truncate(1),
        _ => panic!("unknown signature {how}"),
    }
    base64url(bytes)
}

/// Adds a little-endian number.
fn add(number: &mut [u8], other: &[u8]) {
    let mut carry = 0;
    for (digit, other) in number.iter_mut().zip(other) {
        let sum = u16::from(*digit) + u16::from(*other) + carry;
        *digit = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
}

/// `ECDSA-Sig-Value` (RFC 3279 §2.2.3), which a JWS does not use.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).expect("not zero");
        let sign = if number[start] > 0x7f { &[0_u8][..] } else { &[] };
        let body = [sign, &number[start..]].concat();
        [&[2, u8::try_from(body.len()).expect("short")], &*body].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).expect("short")], &*body].concat()
}
