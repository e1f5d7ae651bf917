//! A query parameter as a token source.

use std::{borrow::Cow, iter};

use http::{Uri, uri::PathAndQuery};
use memchr::{memchr, memchr2, memmem};

use super::{Token, TokenErrorKind, copies::TokenFinder, encoding};
use crate::error::ConfigError;

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() { Err(ConfigError::InvalidQueryName(name.to_owned())) } else { Ok(()) }
}

pub(super) fn find(uri: &Uri, name: &str, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let query = uri.query().unwrap_or_default().as_bytes();
    if !may_contain(query, name) {
        return Ok(None);
    }
    let mut matching = parameters(query).filter(|parameter| is_named(parameter, name));
    let Some(parameter) = matching.next() else { return Ok(None) };
    if matching.next().is_some() {
        return Err(TokenErrorKind::Repeated);
    }
    let Some(equals) = memchr(b'=', parameter) else { return Err(TokenErrorKind::Empty) };
    if parameter.len() - equals - 1 > max_len {
        return Err(TokenErrorKind::TooLong);
    }
    let (_, value) = form_urlencoded::parse(parameter).next().ok_or(TokenErrorKind::Empty)?;
    // The decoder replaces invalid UTF-8 with U+FFFD.
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(TokenErrorKind::Undecodable);
    }
    encoding::plain(value.as_bytes()).map(Some)
}

/// Removes the parameters with these names from a URI. The others are unchanged.
pub(super) fn strip(uri: &mut Uri, names: &[Cow<'static, str>]) -> Result<(), TokenErrorKind> {
    let query = uri.query().unwrap_or_default().as_bytes();
    if !names.iter().any(|name| may_contain(query, name)) {
        return Ok(());
    }
    remove(uri, |parameter| names.iter().any(|name| is_named(parameter, name)))
}

/// Removes every parameter that holds the token from a URI.
pub(super) fn remove_token(uri: &mut Uri, token: &TokenFinder<'_>) -> Result<(), TokenErrorKind> {
    let is_left = |uri: &Uri| uri.query().is_some_and(|query| token.is_in(query.as_bytes()));
    if is_left(uri) {
        remove(uri, |parameter| token.is_in(parameter))?;
        // A token with `&` is several parameters.
        if is_left(uri) {
            remove(uri, |_| true)?;
        }
    }
    Ok(())
}

fn remove(uri: &mut Uri, is_removed: impl Fn(&[u8]) -> bool) -> Result<(), TokenErrorKind> {
    let Some(query) = uri.query().map(str::as_bytes) else { return Ok(()) };
    let Some(first) = parameters(query).position(&is_removed) else { return Ok(()) };
    let mut target = Vec::with_capacity(uri.path().len() + 1 + query.len());
    target.extend_from_slice(uri.path().as_bytes());
    let mut separator = b'?';
    for (position, parameter) in parameters(query).enumerate() {
        if position >= first && is_removed(parameter) {
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

/// Whether a query may contain a parameter with this name, encoded or not. A quick check that rules most queries out.
fn may_contain(query: &[u8], name: &str) -> bool {
    memchr2(b'%', b'+', query).is_some() || memmem::find(query, name.as_bytes()).is_some()
}

/// Whether a parameter's decoded name is this one. Allocates nothing, and stops at the first difference.
fn is_named(parameter: &[u8], name: &str) -> bool {
    let may_match = |first: &u8| matches!(first, b'%' | b'+') || name.as_bytes().first() == Some(first);
    parameter.first().is_some_and(may_match) && decoded_name(parameter).eq(name.bytes())
}

/// The decoded name of a parameter (WHATWG URL §5.1). `+` is a space, and an invalid escape stands for itself.
fn decoded_name(parameter: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = parameter;
    iter::from_fn(move || {
        let (&first, mut after) = rest.split_first().filter(|(first, _)| **first != b'=')?;
        let mut byte = if first == b'+' { b' ' } else { first };
        if first == b'%'
            && let [high, low, rest @ ..] = after
            && let Some(escaped) = encoding::hexadecimal(*high, *low)
        {
            (byte, after) = (escaped, rest);
        }
        rest = after;
        Some(byte)
    })
}
