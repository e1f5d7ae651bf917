//! A query parameter as a token source.

use std::borrow::Cow;

use http::{Uri, uri::PathAndQuery};

use super::{Token, TokenErrorKind, encoding};
use crate::ConfigError;

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() { Err(ConfigError::InvalidQueryName(name.to_owned())) } else { Ok(()) }
}

pub(super) fn find(uri: &Uri, name: &str, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let mut found = None;
    for parameter in uri.query().into_iter().flat_map(parameters).filter(|parameter| is_named(parameter, name)) {
        if found.is_some() {
            return Err(TokenErrorKind::Repeated);
        }
        if parameter.split_once('=').is_some_and(|(_, value)| value.len() > max_len) {
            return Err(TokenErrorKind::TooLong);
        }
        let (_, value) = decode(parameter).ok_or(TokenErrorKind::Empty)?;
        // The decoder turns what is not UTF-8 into U+FFFD.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(TokenErrorKind::Undecodable);
        }
        found = Some(encoding::plain(value.as_bytes())?);
    }
    Ok(found)
}

/// Takes the parameters of these names out of a URI. The others stay byte for byte.
pub(super) fn strip(uri: &mut Uri, names: &[Cow<'static, str>]) -> Result<(), TokenErrorKind> {
    let Some(query) = uri.query() else { return Ok(()) };
    let is_token = |parameter: &&str| names.iter().any(|name| is_named(parameter, name));
    if !parameters(query).any(|parameter| is_token(&parameter)) {
        return Ok(());
    }
    let kept: Vec<&str> = parameters(query).filter(|parameter| !is_token(parameter)).collect();
    let kept = kept.join("&");
    let target = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{kept}", uri.path()) };

    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| TokenErrorKind::Unstrippable)?);
    *uri = Uri::from_parts(parts).map_err(|_| TokenErrorKind::Unstrippable)?;
    Ok(())
}

fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

fn is_named(parameter: &str, name: &str) -> bool {
    decode(parameter).is_some_and(|(decoded, _)| decoded == name)
}

/// Decodes one parameter. Only the one that is looked at is decoded, and only where it is encoded is it copied.
fn decode(parameter: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(parameter.as_bytes()).next()
}
