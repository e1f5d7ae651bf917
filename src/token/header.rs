//! `Authorization` and headers of one's own.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, AUTHORIZATION},
};

use super::{Token, TokenErrorKind, encoding};
use crate::error::ConfigError;

/// Headers that the protocol or another token source owns.
const TAKEN: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::UPGRADE,
];

pub(super) fn parse_name(name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|name| !TAKEN.contains(name))
        .ok_or_else(|| ConfigError::InvalidHeaderName(name.to_owned()))
}

/// Finds a bearer token in `Authorization`, which is about one unless this is `Ok(None)`.
pub(super) fn find_bearer(headers: &HeaderMap, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let lines = headers.get_all(AUTHORIZATION);
    let mut each = lines.iter();
    let Some(first) = each.next() else { return Ok(None) };
    if each.next().is_some() {
        // RFC 9110 §5.3: the field is no list, and a proxy may have looked at the other line.
        let any = lines.iter().any(mentions_bearer);
        return if any { Err(TokenErrorKind::Repeated) } else { Ok(None) };
    }
    let Some(rest) = behind_bearer(first.as_bytes()) else {
        return if mentions_bearer(first) { Err(TokenErrorKind::Undecodable) } else { Ok(None) };
    };
    let token = rest.trim_ascii_start();
    if token.is_empty() {
        return Err(TokenErrorKind::Empty);
    }
    if token.len() > max_len {
        return Err(TokenErrorKind::TooLong);
    }
    // RFC 9110 §11.4 separates by spaces only.
    if rest.strip_suffix(token).is_some_and(|gap| gap.iter().any(|&b| b != b' ')) {
        return Err(TokenErrorKind::Undecodable);
    }
    encoding::token68(token).map(Some)
}

/// Whether `Authorization` carries this token.
pub(super) fn is_bearer(headers: &HeaderMap, token: &Token) -> bool {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|line| behind_bearer(line.as_bytes()));
    bearers.map(<[u8]>::trim_ascii).any(|text| text == token.expose().as_bytes())
}

pub(super) fn find(headers: &HeaderMap, name: &HeaderName, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let mut lines = headers.get_all(name).iter();
    let Some(value) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(TokenErrorKind::Repeated);
    }
    if value.len() > max_len {
        return Err(TokenErrorKind::TooLong);
    }
    encoding::plain(value.as_bytes()).map(Some)
}

/// What follows the scheme, if the scheme is `Bearer`. `Bearertoken` is another scheme; `Bearer,` is a broken one of
/// this.
fn behind_bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credentials.split_at_checked("bearer".len())?;
    let ends = rest.first().is_none_or(|&next| !encoding::is_tchar(next));
    (scheme.eq_ignore_ascii_case(b"bearer") && ends).then_some(rest)
}

/// Whether there are bearer credentials anywhere in a line. The field is no list, but somebody may have joined two
/// lines.
fn mentions_bearer(line: &HeaderValue) -> bool {
    line.as_bytes().split(|&b| b == b',').any(|part| behind_bearer(part.trim_ascii()).is_some())
}
