//! All sources of a layer together.

use std::borrow::Cow;

use http::{
    HeaderName, Uri,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};

use super::{
    Selection, Token, TokenError, TokenErrorKind, TokenSource, cookie, header, query,
    source::Source,
    spelling::Spelling,
    subprotocol::{Rewrite, Scan, check_subprotocol},
};
use crate::ConfigError;

/// The sources of a layer, checked, in the order in which they are searched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    authorization: bool,
    headers: Vec<HeaderName>,
    spellings: Vec<Spelling>,
    queries: Vec<Cow<'static, str>>,
    cookies: Vec<Cow<'static, str>>,
}

/// What a handshake carries.
pub(crate) struct Found {
    /// The token, or what is wrong with it, or that there is none.
    pub(crate) token: Result<Option<Token>, TokenError>,
    /// Whether the browser attached the token by itself.
    pub(crate) ambient: bool,
    pub(crate) selection: Selection,
}

impl Sources {
    pub(crate) fn standard() -> Self {
        Self { authorization: true, spellings: vec![Spelling::BEARER], ..Self::default() }
    }

    pub(crate) fn new(sources: impl IntoIterator<Item = TokenSource>) -> Result<Self, ConfigError> {
        let mut checked = Self::default();
        let mut seen = Vec::new();
        for source in sources {
            let name = source.name();
            if seen.contains(&name) {
                return Err(ConfigError::DuplicateTokenSource(name));
            }
            checked.add(source)?;
            seen.push(name);
        }
        if seen.is_empty() { Err(ConfigError::NoTokenSource) } else { Ok(checked) }
    }

    fn add(&mut self, source: TokenSource) -> Result<(), ConfigError> {
        match source.0 {
            Source::Authorization => self.authorization = true,
            Source::Header(name) => self.headers.push(header::parse_name(&name)?),
            Source::Cookie(name) => {
                cookie::check_name(&name)?;
                self.cookies.push(name);
            }
            Source::Query(name) => {
                query::check_name(&name)?;
                self.queries.push(name);
            }
            Source::Subprotocol(spelling) => {
                spelling.custom_part().map_or(Ok(()), check_subprotocol)?;
                self.spellings.push(spelling);
            }
        }
        Ok(())
    }

    /// The name of a cookie that is a source, if there is one.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.cookies.first().map(AsRef::as_ref)
    }

    /// Finds the token and takes it out of the headers and the URI, also where it is refused.
    pub(crate) fn take(&self, parts: &mut Parts, max_len: usize) -> Found {
        let bearer = if self.authorization { header::find_bearer(&parts.headers, max_len) } else { Ok(None) };
        let is_bearer_there = !matches!(bearer, Ok(None));
        let mut scan = Scan::new(&parts.headers, &self.spellings, max_len);
        let offered = scan.as_ref().map_or(Ok(None), Scan::token);
        let (token, ambient) = match self.find(parts, offered, bearer, max_len) {
            Ok(Some((token, ambient))) => (Ok(Some(token)), ambient),
            Ok(None) => (Ok(None), false),
            Err(kind) => {
                if let Some(scan) = &mut scan {
                    scan.fail(kind);
                }
                (Err(kind), false)
            }
        };
        let found = token.as_ref().ok().and_then(Option::as_ref);
        let (selection, rewrite) = scan.map_or_else(Default::default, |scan| scan.finish(found));
        // A client that sends its token in two places may use one that is no source here.
        if is_bearer_there || found.is_some_and(|token| !self.authorization && header::is_bearer(&parts.headers, token))
        {
            parts.headers.remove(AUTHORIZATION);
        }
        let stripped = self.strip(parts, rewrite);
        let token = token.and_then(|token| stripped.map(|()| token));
        Found { token: token.map_err(TokenError::new), ambient, selection }
    }

    /// Takes the token out of a URI.
    pub(crate) fn strip_uri(&self, uri: &mut Uri) -> Result<(), TokenError> {
        query::strip(uri, &self.queries).map_err(TokenError::new)
    }

    /// Whether a token may stand in a URI.
    pub(crate) const fn are_in_uri(&self) -> bool {
        !self.queries.is_empty()
    }

    /// The one token of the request, and whether it is ambient.
    fn find(
        &self,
        parts: &Parts,
        offered: Result<Option<Token>, TokenErrorKind>,
        bearer: Result<Option<Token>, TokenErrorKind>,
        max_len: usize,
    ) -> Result<Option<(Token, bool)>, TokenErrorKind> {
        let mut explicit = offered?;
        merge(&mut explicit, bearer?)?;
        for name in &self.headers {
            merge(&mut explicit, header::find(&parts.headers, name, max_len)?)?;
        }
        for name in &self.queries {
            merge(&mut explicit, query::find(&parts.uri, name, max_len)?)?;
        }
        if let Some(token) = explicit {
            return Ok(Some((token, false)));
        }
        let mut ambient = None;
        for name in &self.cookies {
            merge(&mut ambient, cookie::find(&parts.headers, name, max_len)?)?;
        }
        Ok(ambient.map(|token| (token, true)))
    }

    fn strip(&self, parts: &mut Parts, rewrite: Rewrite) -> Result<(), TokenErrorKind> {
        match rewrite {
            Rewrite::Keep => {}
            Rewrite::Remove => {
                parts.headers.remove(SEC_WEBSOCKET_PROTOCOL);
            }
            Rewrite::Replace(line) => {
                parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, line);
            }
        }
        for name in &self.headers {
            parts.headers.remove(name);
        }
        for name in &self.cookies {
            cookie::strip(&mut parts.headers, name);
        }
        query::strip(&mut parts.uri, &self.queries)
    }
}

/// The same token twice is one token; two different ones are none (RFC 6750 §2).
fn merge(found: &mut Option<Token>, other: Option<Token>) -> Result<(), TokenErrorKind> {
    match (&found, &other) {
        (Some(first), Some(second)) if first.expose() != second.expose() => return Err(TokenErrorKind::Conflicting),
        (None, Some(_)) => *found = other,
        _ => {}
    }
    Ok(())
}
