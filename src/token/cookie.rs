//! A cookie as a token source.

use std::borrow::Cow;

use cookie::Cookie;
use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{Token, TokenErrorKind, encoding};
use crate::ConfigError;

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if !name.is_empty() && name.bytes().all(encoding::is_tchar) {
        Ok(())
    } else {
        Err(ConfigError::InvalidCookieName(name.to_owned()))
    }
}

pub(super) fn find(headers: &HeaderMap, name: &str, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let mut found = None;
    // HTTP/2 clients split the field into several lines (RFC 9113 §8.2.3).
    for pair in headers.get_all(COOKIE).iter().flat_map(pairs) {
        let text = String::from_utf8_lossy(pair);
        let Some(cookie) = parse(&text, name) else { continue };
        if !is_named(pair, name) {
            return Err(TokenErrorKind::Undecodable);
        }
        if found.is_some() {
            return Err(TokenErrorKind::Repeated);
        }
        if cookie.value().len() > max_len {
            return Err(TokenErrorKind::TooLong);
        }
        // What is not UTF-8 has become U+FFFD, which no cookie value may hold (RFC 6265 §4.1.1).
        let value = cookie.value_trimmed();
        if !value.is_ascii() {
            return Err(TokenErrorKind::Undecodable);
        }
        found = Some(encoding::plain(value.as_bytes())?);
    }
    Ok(found)
}

/// Takes the cookie out of every line. Lines without it stay byte for byte.
pub(super) fn strip(headers: &mut HeaderMap, name: &str) {
    let is_token = |pair: &&[u8]| parse(&String::from_utf8_lossy(pair), name).is_some();
    if !headers.get_all(COOKIE).iter().flat_map(pairs).any(|pair| is_token(&pair)) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let kept: Vec<&[u8]> = pairs(&line).filter(|pair| !is_token(pair)).collect();
        let kept = kept.join(&b';');
        // Parts of a header value are one; if not, the line is gone, which is on the safe side.
        if let Ok(mut line) = HeaderValue::from_bytes(kept.trim_ascii())
            && !line.is_empty()
        {
            line.set_sensitive(true);
            headers.append(COOKIE, line);
        }
    }
}

fn pairs(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&b| b == b';')
}

fn parse<'a>(pair: &'a str, name: &str) -> Option<Cookie<'a>> {
    // Owned text is only seen where the pair was not UTF-8; a `Cow` keeps the common case from being copied.
    Cookie::parse(Cow::Borrowed(pair)).ok().filter(|cookie| cookie.name() == name)
}

/// The cookie parser trims white space of all of Unicode around a name, a browser only that of ASCII. So a page on a
/// subdomain may set a cookie that passes for `__Host-…` here and was none to the browser: such a name is refused.
fn is_named(pair: &[u8], name: &str) -> bool {
    pair.split(|&b| b == b'=').next().is_some_and(|raw| raw.trim_ascii() == name.as_bytes())
}
