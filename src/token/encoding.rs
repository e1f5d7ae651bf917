//! From the bytes of a request to the text of a token.

use std::borrow::Cow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use super::{Token, TokenErrorKind};

/// Clients pad or not as they like.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A character of a `token` (RFC 9110 §5.6.2), of which subprotocol names consist.
// Always: where it is not, a name is checked a byte at a time.
#[inline(always)]
pub(super) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// A token that is spelled out, in any characters that can be seen: no white space, no controls.
pub(super) fn plain(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    if all(bytes, |b| b.is_ascii_graphic()) {
        return ascii(bytes);
    }
    let text = str::from_utf8(bytes).map_err(|_| TokenErrorKind::Undecodable)?;
    // A line break in a token would reach whatever the verifier hands it on to.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(TokenErrorKind::Undecodable);
    }
    Ok(Token::new(text))
}

/// Checks a token that did not come from a request's head by the same rules as [`plain`].
pub(crate) fn check(token: &Token) -> Result<(), TokenErrorKind> {
    plain(token.expose().as_bytes()).map(drop)
}

/// A token that is spelled out as (a part of) a subprotocol name.
pub(super) fn name(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    if all(bytes, is_tchar) { ascii(bytes) } else { Err(TokenErrorKind::Undecodable) }
}

/// `token68` (RFC 9110 §11.2), which is what RFC 6750 calls `b64token`.
pub(super) fn token68(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    let unpadded = bytes.iter().rposition(|&b| b != b'=').map_or(0, |last| last + 1);
    let (symbols, _padding) = bytes.split_at_checked(unpadded).ok_or(TokenErrorKind::Undecodable)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    if symbols.is_empty() || !all(symbols, legal) {
        return Err(TokenErrorKind::Undecodable);
    }
    ascii(bytes)
}

/// What has no byte that could be wrong.
fn ascii(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    match str::from_utf8(bytes) {
        Ok("") => Err(TokenErrorKind::Empty),
        Ok(text) => Ok(Token::new(text)),
        Err(_) => Err(TokenErrorKind::Undecodable),
    }
}

/// Whether it holds for every byte. All of them are looked at: the compiler makes that many at a time, and a good token
/// has no byte at which to stop.
fn all(bytes: &[u8], holds: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, &b| all & holds(b))
}

/// Base64 in either alphabet: the symbols in which they differ are disjoint, so this is exact.
pub(super) fn base64(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    plain(&base64_bytes(bytes)?)
}

/// Base64 of a JSON object in which `Authorization` holds the token, with or without `Bearer `.
pub(super) fn appsync(bytes: &[u8]) -> Result<Option<Token>, TokenErrorKind> {
    #[derive(Deserialize)]
    struct Headers<'a> {
        #[serde(rename = "Authorization", borrow, default)]
        authorization: Option<Cow<'a, str>>,
    }

    let json = base64_bytes(bytes)?;
    if !is_json_object(&json) {
        return Err(TokenErrorKind::Undecodable);
    }
    let headers: Headers<'_> = serde_json::from_slice(&json).map_err(|_| TokenErrorKind::Undecodable)?;
    let Some(value) = headers.authorization else { return Ok(None) };
    let token = match value.as_bytes().split_first_chunk::<7>() {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
        _ => value.as_bytes(),
    };
    plain(token).map(Some)
}

/// What `encodeURIComponent` makes of a token.
pub(super) fn percent(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    // `percent_decode` lets a `%` stand where no two hexadecimal digits follow; here it is an error.
    let valid = bytes
        .split(|&b| b == b'%')
        .skip(1)
        .all(|escape| matches!(escape, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()));
    if !valid || !all(bytes, is_tchar) {
        return Err(TokenErrorKind::Undecodable);
    }
    plain(&Cow::from(percent_encoding::percent_decode(bytes)))
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Whether this may be a JSON object. serde's derived structs also take an array, by position.
pub(crate) fn is_json_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

fn base64_bytes(bytes: &[u8]) -> Result<Vec<u8>, TokenErrorKind> {
    let url_safe: Vec<u8> = bytes
        .iter()
        .map(|b| match b {
            b'+' => b'-',
            b'/' => b'_',
            &other => other,
        })
        .collect();
    LENIENT.decode(url_safe).map_err(|_| TokenErrorKind::Undecodable)
}
