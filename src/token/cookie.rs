//! A cookie as a token source.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{Token, TokenErrorKind, encoding};
use crate::ConfigError;

/// How browsers treat a cookie, as far as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieKind {
    /// It may have been sent by any page of the host.
    Plain,
    /// Browsers send it over TLS only: its name begins with `__Host-` or `__Secure-` (RFC 6265bis §4.1.3).
    Secure,
}

impl CookieKind {
    pub(super) fn of(name: &str) -> Self {
        let has_prefix =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if has_prefix("__Host-") || has_prefix("__Secure-") { Self::Secure } else { Self::Plain }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if !name.is_empty() && name.bytes().all(encoding::is_tchar) {
        Ok(())
    } else {
        Err(ConfigError::InvalidCookieName(name.to_owned()))
    }
}

/// The cookies of one name in a request. Finding them allocates nothing, however many others there are.
#[derive(Clone, Copy)]
pub(super) enum Cookies<'a> {
    None,
    /// One with this value.
    One(&'a [u8]),
    /// Nothing can be read from these, and all of them have to go.
    Bad(TokenErrorKind),
}

impl<'a> Cookies<'a> {
    pub(super) fn named(headers: &'a HeaderMap, name: &str) -> Self {
        let mut found = Self::None;
        // HTTP/2 clients split the field into several lines (RFC 9113 §8.2.3).
        for pair in headers.get_all(COOKIE).iter().flat_map(pairs) {
            found = match (value_of(pair, name), found) {
                (Value::Other, _) => continue,
                (Value::Misnamed, _) => return Self::Bad(TokenErrorKind::Undecodable),
                (Value::Is(value), Self::None) => Self::One(value),
                // Left over under another path, and as empty as the first: still a visitor without a session.
                (Value::Is([]), Self::One([])) => Self::One(&[]),
                (Value::Is(_), _) => return Self::Bad(TokenErrorKind::Repeated),
            };
        }
        found
    }

    pub(super) const fn are_there(self) -> bool {
        !matches!(self, Self::None)
    }

    /// The token in the cookie. An empty cookie is what is left of a session that is over, and holds none.
    pub(super) fn token(self, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
        match self {
            Self::None | Self::One([]) => Ok(None),
            Self::One(value) if value.len() > max_len => Err(TokenErrorKind::TooLong),
            // RFC 6265 §4.1.1 allows no other characters.
            Self::One(value) if !value.is_ascii() => Err(TokenErrorKind::Undecodable),
            Self::One(value) => encoding::plain(value).map(Some),
            Self::Bad(kind) => Err(kind),
        }
    }
}

/// Takes the cookie out of every line. Lines without it stay byte for byte.
pub(super) fn strip(headers: &mut HeaderMap, name: &str) {
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let mut kept = Vec::with_capacity(line.len());
        for pair in pairs(&line).filter(|pair| matches!(value_of(pair, name), Value::Other)) {
            if !kept.is_empty() {
                kept.push(b';');
            }
            kept.extend_from_slice(pair);
        }
        // Parts of a header value are one; if not, the line is gone, which is on the safe side.
        if let Ok(mut line) = HeaderValue::from_bytes(kept.trim_ascii())
            && !line.is_empty()
        {
            line.set_sensitive(true);
            headers.append(COOKIE, line);
        }
    }
}

/// What a pair is to somebody who looks for a name.
enum Value<'a> {
    /// The cookie, with this value; quotes around it are not part of it.
    Is(&'a [u8]),
    /// A cookie that some parsers take for the one looked for, and browsers do not.
    Misnamed,
    Other,
}

fn pairs(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&b| b == b';')
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Value<'a> {
    let pair = pair.trim_ascii();
    if let Some(rest) = pair.strip_prefix(name.as_bytes())
        && let [b'=', value @ ..] = rest.trim_ascii_start()
    {
        return match value.trim_ascii() {
            [b'"', value @ .., b'"'] => Value::Is(value),
            value => Value::Is(value),
        };
    }
    // Some parsers trim white space of all of Unicode around a name, browsers only that of ASCII. So a page on a
    // subdomain may set a cookie that passes for `__Host-…` with them and was none to the browser.
    let is_near = !pair.first().is_none_or(u8::is_ascii) || pair.starts_with(name.as_bytes());
    if is_near
        && let Some((raw, _)) = split_once(pair, b'=')
        && str::from_utf8(raw).is_ok_and(|raw| raw.trim() == name)
    {
        return Value::Misnamed;
    }
    Value::Other
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == separator)?;
    let (before, rest) = text.split_at_checked(at)?;
    Some((before, rest.get(1..)?))
}
