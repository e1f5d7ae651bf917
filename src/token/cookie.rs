//! A cookie as a token source.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header::COOKIE};
use memchr::{memchr, memmem};

use super::{Token, TokenErrorKind, encoding};
use crate::error::ConfigError;

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
    pub(super) fn named(headers: &'a HeaderMap, name: &'a str) -> Self {
        let mut found = Self::None;
        // HTTP/2 clients split the field into several lines (RFC 9113 §8.2.3).
        let pairs = |line: &'a HeaderValue| named(line.as_bytes(), name);
        for (_, value) in headers.get_all(COOKIE).iter().flat_map(pairs) {
            found = match (value, found) {
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
        let text = line.as_bytes();
        let (mut kept, mut from) = (Vec::with_capacity(text.len()), 0);
        for (pair, _) in named(text, name) {
            kept.extend_from_slice(text.get(from..pair.start).unwrap_or_default());
            from = pair.end + 1;
        }
        match text.get(from..) {
            Some(rest) => kept.extend_from_slice(rest),
            // The last pair is gone, and what separated it from the one before.
            None => _ = kept.pop(),
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

/// The value of a pair.
enum Value<'a> {
    /// Of the cookie that is looked for. Quotes around it are not part of it.
    Is(&'a [u8]),
    /// Of a cookie that some parsers take for the one that is looked for, and browsers do not.
    Misnamed,
}

/// The pairs of this name in a line, and where they are between the semicolons.
fn named<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = (Range<usize>, Value<'a>)> {
    // Some parsers trim white space of all of Unicode around a name, browsers only that of ASCII. So a page on a subdomain
    // may set a cookie that passes for `__Host-…` with them and was none to the browser.
    let may_be_space = |b: &&u8| matches!(b, b' ' | b'\t') || !b.is_ascii();
    memmem::find_iter(line, name).filter_map(move |at| {
        let (before, after) = (line.get(..at)?, line.get(at + name.len()..)?);
        let start = at - before.iter().rev().take_while(may_be_space).count();
        if start.checked_sub(1).is_some_and(|before| line.get(before) != Some(&b';')) {
            return None;
        }
        let equals = line.len() - after.len() + after.iter().take_while(may_be_space).count();
        let value = line.get(equals..)?.strip_prefix(b"=")?;
        let value = value.get(..memchr(b';', value).unwrap_or(value.len()))?;
        let end = equals + 1 + value.len();
        let raw = line.get(start..equals)?;
        if raw.trim_ascii() == name.as_bytes() {
            let value = value.trim_ascii();
            let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            return Some((start..end, Value::Is(unquoted.unwrap_or(value))));
        }
        let is_near = str::from_utf8(raw).is_ok_and(|raw| raw.trim() == name);
        is_near.then_some((start..end, Value::Misnamed))
    })
}
