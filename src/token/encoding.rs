//! Decodes tokens from the bytes of a request.

use std::borrow::Cow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use super::{Token, TokenErrorKind};
use crate::json;

/// Clients may or may not pad.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A `tchar` (RFC 9110 §5.6.2), the characters of subprotocol names.
// Must be inlined for `all` to be vectorized.
#[inline(always)]
pub(super) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// A token that is not encoded, without white space and control characters.
pub(super) fn plain(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    if all(bytes, |b| b.is_ascii_graphic()) {
        return ascii(bytes);
    }
    let text = str::from_utf8(bytes).map_err(|_| TokenErrorKind::Undecodable)?;
    // A line break would be passed on to whatever the verifier calls.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(TokenErrorKind::Undecodable);
    }
    Ok(Token::new(text))
}

/// Checks a token from elsewhere, such as a first message, by the rules of [`plain`].
pub(crate) fn check(token: &Token) -> Result<(), TokenErrorKind> {
    plain(token.expose().as_bytes()).map(drop)
}

/// A token that is a subprotocol name, or part of one.
pub(super) fn subprotocol_name(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    if all(bytes, is_tchar) { ascii(bytes) } else { Err(TokenErrorKind::Undecodable) }
}

/// `token68` (RFC 9110 §11.2), called `b64token` in RFC 6750.
pub(super) fn token68(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    let unpadded = bytes.iter().rposition(|&b| b != b'=').map_or(0, |last| last + 1);
    let (symbols, _padding) = bytes.split_at_checked(unpadded).ok_or(TokenErrorKind::Undecodable)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    if symbols.is_empty() || !all(symbols, legal) {
        return Err(TokenErrorKind::Undecodable);
    }
    ascii(bytes)
}

/// A token of valid ASCII bytes.
fn ascii(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    match str::from_utf8(bytes) {
        Ok("") => Err(TokenErrorKind::Empty),
        Ok(text) => Ok(Token::new(text)),
        Err(_) => Err(TokenErrorKind::Undecodable),
    }
}

/// Whether the predicate is true for every byte. It does not stop early, so that the compiler can vectorize the loop,
/// and valid tokens never stop early anyway.
fn all(bytes: &[u8], predicate: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, &b| all & predicate(b))
}

/// Base64 in either alphabet. The alphabets differ in disjoint symbols, so this is exact.
pub(super) fn base64(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    plain(&base64_bytes(bytes)?)
}

/// Base64 of a JSON object whose `Authorization` holds the token, with or without `Bearer `.
pub(super) fn appsync(bytes: &[u8]) -> Result<Option<Token>, TokenErrorKind> {
    #[derive(Deserialize)]
    struct Headers<'a> {
        #[serde(rename = "Authorization", borrow, default)]
        authorization: Option<Cow<'a, str>>,
    }

    let json = base64_bytes(bytes)?;
    let headers: Headers<'_> = json::from_object(&json).map_err(|_| TokenErrorKind::Undecodable)?;
    let Some(value) = headers.authorization else { return Ok(None) };
    let token = match value.as_bytes().split_first_chunk::<7>() {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
        _ => value.as_bytes(),
    };
    plain(token).map(Some)
}

/// A token encoded by `encodeURIComponent`.
pub(super) fn percent(bytes: &[u8]) -> Result<Token, TokenErrorKind> {
    // `percent_decode` keeps a `%` without two hexadecimal digits after it. Here that is an error.
    let valid = bytes
        .split(|&b| b == b'%')
        .skip(1)
        .all(|escape| matches!(escape, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()));
    if !valid || !all(bytes, is_tchar) {
        return Err(TokenErrorKind::Undecodable);
    }
    plain(&Cow::from(percent_encoding::percent_decode(bytes)))
}

/// The byte of two hexadecimal digits.
pub(super) fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(16 * digit(high)? + digit(low)?)
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
