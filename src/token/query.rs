//! A query parameter as a token source.

use std::{borrow::Cow, iter};

use http::{Uri, uri::PathAndQuery};

use super::{Token, TokenErrorKind, encoding, mirror::Mirror};
use crate::ConfigError;

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() { Err(ConfigError::InvalidQueryName(name.to_owned())) } else { Ok(()) }
}

pub(super) fn find(uri: &Uri, name: &str, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let mut named = uri.query().into_iter().flat_map(parameters).filter(|parameter| is_named(parameter, name));
    let Some(parameter) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err(TokenErrorKind::Repeated);
    }
    let Some((_, value)) = parameter.split_once('=') else { return Err(TokenErrorKind::Empty) };
    if value.len() > max_len {
        return Err(TokenErrorKind::TooLong);
    }
    let (_, value) = form_urlencoded::parse(parameter.as_bytes()).next().ok_or(TokenErrorKind::Empty)?;
    // The decoder turns what is not UTF-8 into U+FFFD.
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(TokenErrorKind::Undecodable);
    }
    encoding::plain(value.as_bytes()).map(Some)
}

/// Takes the parameters of these names out of a URI. The others stay byte for byte.
pub(super) fn strip(uri: &mut Uri, names: &[Cow<'static, str>]) -> Result<(), TokenErrorKind> {
    remove(uri, |parameter| names.iter().any(|name| is_named(parameter, name)))
}

/// Takes the parameters out of a URI that hold the token, whatever their names are.
pub(super) fn cut(uri: &mut Uri, mirror: &Mirror<'_>) -> Result<(), TokenErrorKind> {
    if uri.query().is_some_and(|query| mirror.is_in(query.as_bytes())) {
        remove(uri, |parameter| mirror.is_in(parameter.as_bytes()))
    } else {
        Ok(())
    }
}

fn remove(uri: &mut Uri, has_token: impl Fn(&str) -> bool) -> Result<(), TokenErrorKind> {
    let Some(query) = uri.query() else { return Ok(()) };
    if !parameters(query).any(&has_token) {
        return Ok(());
    }
    let mut target = String::with_capacity(uri.path().len() + 1 + query.len());
    target.push_str(uri.path());
    let mut separator = '?';
    for parameter in parameters(query).filter(|parameter| !has_token(parameter)) {
        target.push(separator);
        target.push_str(parameter);
        separator = '&';
    }
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| TokenErrorKind::Unstrippable)?);
    *uri = Uri::from_parts(parts).map_err(|_| TokenErrorKind::Unstrippable)?;
    Ok(())
}

fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

/// Whether a parameter's name, decoded, is this one. It allocates nothing, and stops at the first difference.
fn is_named(parameter: &str, name: &str) -> bool {
    decoded_name(parameter.as_bytes()).eq(name.bytes())
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
