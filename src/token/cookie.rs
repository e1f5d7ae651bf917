//! A cookie as a token source.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header::COOKIE};
use memchr::{memchr, memmem};

use super::{Token, TokenErrorKind, encoding};
use crate::error::ConfigError;

/// How browsers treat a cookie according to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieKind {
    /// Any page of the host can send it.
    Plain,
    /// Sent over TLS only: its name begins with `__Host-` or `__Secure-` (RFC 6265bis §4.1.3).
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

/// The cookies with one name in a request. Finding them allocates nothing.
#[derive(Clone, Copy)]
pub(super) enum Cookies<'a> {
    None,
    /// One cookie with this value.
    One(&'a [u8]),
    /// The cookies are repeated or ambiguous, and all must be removed.
    Invalid(TokenErrorKind),
}

impl<'a> Cookies<'a> {
    pub(super) fn find(headers: &'a HeaderMap, name: &'a str) -> Self {
        let mut found = Self::None;
        // HTTP/2 clients may split the field into several lines (RFC 9113 §8.2.3).
        let pairs = |line: &'a HeaderValue| pairs_named(line.as_bytes(), name);
        for (_, value) in headers.get_all(COOKIE).iter().flat_map(pairs) {
            found = match (value, found) {
                (Value::Ambiguous, _) => return Self::Invalid(TokenErrorKind::Undecodable),
                (Value::Exact(value), Self::None) => Self::One(value),
                // Several empty cookies, set for different paths, still mean that there is no session.
                (Value::Exact([]), Self::One([])) => Self::One(&[]),
                (Value::Exact(_), _) => return Self::Invalid(TokenErrorKind::Repeated),
            };
        }
        found
    }

    pub(super) const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// The token in the cookie. An empty cookie remains after signing out, and holds no token.
    pub(super) fn token(self, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
        match self {
            Self::None | Self::One([]) => Ok(None),
            Self::One(value) if value.len() > max_len => Err(TokenErrorKind::TooLong),
            // RFC 6265 §4.1.1 allows only ASCII.
            Self::One(value) if !value.is_ascii() => Err(TokenErrorKind::Undecodable),
            Self::One(value) => encoding::plain(value).map(Some),
            Self::Invalid(kind) => Err(kind),
        }
    }
}

/// Removes the cookie from every line. Lines without it are unchanged.
pub(super) fn strip(headers: &mut HeaderMap, name: &str) {
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let text = line.as_bytes();
        let (mut kept, mut from) = (Vec::with_capacity(text.len()), 0);
        for (pair, _) in pairs_named(text, name) {
            kept.extend_from_slice(text.get(from..pair.start).unwrap_or_default());
            from = pair.end + 1;
        }
        match text.get(from..) {
            Some(rest) => kept.extend_from_slice(rest),
            // The last pair was removed, so remove the separator before it.
            None => _ = kept.pop(),
        }
        // This cannot fail: the bytes come from a valid header value. If it did, dropping the line would be safe.
        if let Ok(mut line) = HeaderValue::from_bytes(kept.trim_ascii())
            && !line.is_empty()
        {
            line.set_sensitive(true);
            headers.append(COOKIE, line);
        }
    }
}

/// The value of a matching pair.
enum Value<'a> {
    /// The name matches. Surrounding quotes are removed.
    Exact(&'a [u8]),
    /// The name matches only in some parsers, not in browsers.
    Ambiguous,
}

/// The pairs with this name in a line, with their ranges between the semicolons.
fn pairs_named<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = (Range<usize>, Value<'a>)> {
    // Some parsers trim Unicode white space around a name; browsers trim only ASCII. So a page on a subdomain can set a
    // cookie that such parsers read as `__Host-…`, but whose name has no such prefix to the browser.
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
            return Some((start..end, Value::Exact(unquoted.unwrap_or(value))));
        }
        let is_ambiguous = str::from_utf8(raw).is_ok_and(|raw| raw.trim() == name);
        is_ambiguous.then_some((start..end, Value::Ambiguous))
    })
}
