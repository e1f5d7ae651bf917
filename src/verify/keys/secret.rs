//! Detects a public key, certificate or similar that is passed as an HMAC secret.
//!
//! If the secret is a public key, anyone can sign tokens (RFC 8725 §2.1). A public key is long enough to pass as a
//! secret, so only its format reveals it.
//!
//! Whatever is decoded on the way may be the secret, so it is overwritten.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::crypto::Prepared;

/// How many nested encodings are decoded. Environment variables hold PEM in base64, in JSON, and so on.
const MAX_ENCODINGS: u32 = 3;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whether these bytes look like a public or private key, a certificate, a key set, or the URL of one.
pub(super) fn resembles_key(bytes: &[u8]) -> bool {
    resembles_encoded_key(bytes, MAX_ENCODINGS)
}

fn resembles_encoded_key(bytes: &[u8], encodings: u32) -> bool {
    if is_der(bytes.trim_ascii_start())
        || is_ssh_blob(bytes)
        || is_point(bytes)
        || bytes.starts_with(b"openssh-key-v1\0")
    {
        return true;
    }
    let text = as_text(bytes);
    let text = text.trim_start_matches(['\u{feff}', '\u{fffd}']);
    let text = text.trim_matches(|c: char| c.is_whitespace() || "\"'".contains(c));
    if is_armoured(text) || is_ssh_line(text) || is_json(text) || is_xml(text) || is_url(text) {
        return true;
    }
    let is_inside =
        |bytes: Option<Zeroizing<Vec<u8>>>| bytes.is_some_and(|bytes| resembles_encoded_key(&bytes, encodings - 1));
    let is_encoded = |text: &str| is_inside(from_base64(text)) || is_inside(from_hex(text));
    // A variable name, URL scheme or encoding name may precede the key.
    encodings > 0 && (is_encoded(text) || text.split(['=', ':', ',', '"']).any(is_encoded))
}

/// The bytes as text. In UTF-16, every ASCII character is followed or preceded by a zero byte, so zeros are dropped.
fn as_text(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len()));
    text.extend(bytes.iter().copied().filter(|&byte| byte != 0));
    Zeroizing::new(String::from_utf8_lossy(&text).into_owned())
}

/// PEM (RFC 7468), with or without text before it, and the SSH format (RFC 4716).
fn is_armoured(text: &str) -> bool {
    ["-----BEGIN", "-----END", "---- BEGIN", "---- END", "PuTTY-User-Key-File"].iter().any(|mark| text.contains(mark))
}

/// A line of `authorized_keys` or `known_hosts`: the key follows the name of its type.
fn is_ssh_line(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).any(|pair| matches!(pair, [name, key] if is_ssh_name(name) && key.starts_with("AAAA")))
}

fn is_ssh_name(name: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"].iter().any(|prefix| name.starts_with(prefix))
}

/// A JWK, a JWK set, or another JSON document that an issuer publishes; also a JWK in YAML or similar.
fn is_json(text: &str) -> bool {
    let is_jwk = ["kty\"", "kty'", "kty\\", "kty:"].iter().any(|name| text.contains(name));
    is_jwk || (text.starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Keys in .NET and XML signature formats, and certificates in SAML metadata.
fn is_xml(text: &str) -> bool {
    text.starts_with('<') && ["Modulus>", "KeyValue", "X509Certificate"].iter().any(|mark| text.contains(mark))
}

/// The URL of a key set.
fn is_url(text: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme)) && !text.contains(char::is_whitespace)
}

/// A public key in SSH encoding (RFC 4253 §6.6): the length of the type name, then the name.
fn is_ssh_blob(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let name = usize::try_from(u32::from_be_bytes(*len)).ok().and_then(|len| rest.get(..len));
    name.and_then(|name| str::from_utf8(name).ok()).is_some_and(is_ssh_name)
}

/// An uncompressed point on P-256 or P-384 (SEC 1 §2.3.3).
fn is_point(bytes: &[u8]) -> bool {
    let algorithm = match bytes {
        [4, xy @ ..] if xy.len() == 64 => Algorithm::ES256,
        [4, xy @ ..] if xy.len() == 96 => Algorithm::ES384,
        _ => return false,
    };
    Prepared::new(algorithm, &DecodingKey::from_ec_der(bytes)).is_ok()
}

/// ASN.1 sequences with the elements of keys and certificates: `SubjectPublicKeyInfo`, `RSAPublicKey`, `Certificate`,
/// `PrivateKeyInfo`, and so on. They fill the input, except for white space that an editor may have added.
///
/// Fewer than one in a hundred million random secrets match.
fn is_der(bytes: &[u8]) -> bool {
    let Some((SEQUENCE, content, rest)) = element(bytes) else { return false };
    let Some((first, _, _)) = element(content) else { return false };
    let mut elements = 0;
    let mut content = content;
    while !content.is_empty() {
        let Some((_, _, next)) = element(content) else { return false };
        (content, elements) = (next, elements + 1);
    }
    let rest = rest.trim_ascii_start();
    matches!(first, SEQUENCE | INTEGER) && elements >= 2 && (rest.is_empty() || is_der(rest))
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// The tag of an element, its content, and the bytes that follow (X.690 §8.1). Only tags that occur in keys are
/// accepted.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if !matches!(tag, 0x02..=0x06 | SEQUENCE | 0x31 | 0xa0..=0xa3) {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |len, &digit| len << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Accepts lines of any length, either alphabet, and escaped line ends as in environment variables.
    let text = Zeroizing::new(text.replace("\\n", ""));
    let text = Zeroizing::new(text.replace("\\r", ""));
    let mut symbols = Zeroizing::new(String::with_capacity(text.len()));
    symbols.extend(text.chars().filter(|c| !c.is_whitespace()).map(|c| match c {
        '-' => '+',
        '_' => '/',
        other => other,
    }));
    BASE64.decode(&*symbols).ok().map(Zeroizing::new)
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != ':') {
        digits.push(c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())?);
    }
    let bytes = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
    digits.len().is_multiple_of(2).then(|| Zeroizing::new(bytes.collect()))
}
