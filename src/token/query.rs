//! A query parameter as a token source.

use std::{borrow::Cow, iter};

use http::{Uri, uri::PathAndQuery};
use memchr::{memchr, memchr2, memmem};

use super::{Token, TokenErrorKind, encoding, mirror::Mirror};
use crate::error::ConfigError;

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() { Err(ConfigError::InvalidQueryName(name.to_owned())) } else { Ok(()) }
}

pub(super) fn find(uri: &Uri, name: &str, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let query = uri.query().unwrap_or_default().as_bytes();
    if !may_have(query, name) {
        return Ok(None);
    }
    let mut named = parameters(query).filter(|parameter| is_named(parameter, name));
    let Some(parameter) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err(TokenErrorKind::Repeated);
    }
    let Some(equals) = memchr(b'=', parameter) else { return Err(TokenErrorKind::Empty) };
    if parameter.len() - equals - 1 > max_len {
        return Err(TokenErrorKind::TooLong);
    }
    let (_, value) = form_urlencoded::parse(parameter).next().ok_or(TokenErrorKind::Empty)?;
    // The decoder turns what is not UTF-8 into U+FFFD.
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(TokenErrorKind::Undecodable);
    }
    encoding::plain(value.as_bytes()).map(Some)
}

/// Takes the parameters of these names out of a URI. The others stay byte for byte.
pub(super) fn strip(uri: &mut Uri, names: &[Cow<'static, str>]) -> Result<(), TokenErrorKind> {
    let query = uri.query().unwrap_or_default().as_bytes();
    if !names.iter().any(|name| may_have(query, name)) {
        return Ok(());
    }
    remove(uri, |parameter| names.iter().any(|name| is_named(parameter, name)))
}

/// Takes the parameters out of a URI that hold the token, whatever their names are.
pub(super) fn cut(uri: &mut Uri, mirror: &Mirror<'_>) -> Result<(), TokenErrorKind> {
    if uri.query().is_some_and(|query| mirror.is_in(query.as_bytes())) {
        remove(uri, |parameter| mirror.is_in(parameter))
    } else {
        Ok(())
    }
}

fn remove(uri: &mut Uri, has_token: impl Fn(&[u8]) -> bool) -> Result<(), TokenErrorKind> {
    let Some(query) = uri.query().map(str::as_bytes) else { return Ok(()) };
    let Some(first) = parameters(query).position(&has_token) else { return Ok(()) };
    let mut target = Vec::with_capacity(uri.path().len() + 1 + query.len());
    target.extend_from_slice(uri.path().as_bytes());
    let mut separator = b'?';
    for (position, parameter) in parameters(query).enumerate() {
        if position == first || (position > first && has_token(parameter)) {
            continue;
        }
        target.push(separator);
        target.extend_from_slice(parameter);
        separator = b'&';
    }
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| TokenErrorKind::Unstrippable)?);
    *uri = Uri::from_parts(parts).map_err(|_| TokenErrorKind::Unstrippable)?;
    Ok(())
}

fn parameters(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|&b| b == b'&')
}

/// Whether a name can be in a query at all: as it is, or encoded.
fn may_have(query: &[u8], name: &str) -> bool {
    memchr2(b'%', b'+', query).is_some() || memmem::find(query, name.as_bytes()).is_some()
}

/// Whether a parameter's name, decoded, is this one. It allocates nothing, and stops at the first difference.
fn is_named(parameter: &[u8], name: &str) -> bool {
    let may_begin = |first: &u8| matches!(first, b'%' | b'+') || name.as_bytes().first() == Some(first);
    parameter.first().is_some_and(may_begin) && decoded_name(parameter).eq(name.bytes())
}

/// The name of a parameter (WHATWG URL §5.1): `+` is a space, and what is no escape is itself.
fn decoded_name(parameter: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = parameter;
    iter::from_fn(move || {
        let (&first, mut after) = rest.split_first().filter(|(first, _)| **first != b'=')?;
        let mut byte = if first == b'+' { b' ' } else { first };
        if first == b'%'
            && let [high, low, behind @ ..] = after
            && let Some(escaped) = encoding::hexadecimal(*high, *low)
        {
            (byte, after) = (escaped, behind);
        }
        rest = after;
        Some(byte)
    })
}
