//! All sources of a layer together.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, Uri,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};

use super::{
    Selection, Token, TokenError, TokenErrorKind, TokenSource,
    cookie::{self, CookieKind, Cookies},
    header,
    mirror::Mirror,
    query,
    source::Source,
    spelling::Spelling,
    subprotocol::{Rewrite, Scan, check_subprotocol},
};
use crate::error::ConfigError;

/// The sources of a layer, checked, in the order in which they are searched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    authorization: bool,
    headers: Vec<HeaderName>,
    spellings: Vec<Spelling>,
    queries: Vec<Cow<'static, str>>,
    cookies: Vec<(Cow<'static, str>, CookieKind)>,
}

/// What a handshake carries.
pub(crate) struct Found {
    /// The token, or what is wrong with it, or that there is none.
    pub(crate) token: Result<Option<Token>, TokenError>,
    pub(crate) carrier: Carrier,
    pub(crate) selection: Selection,
}

/// How the token came into the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Somebody chose to send it; or there is none.
    Explicit,
    /// The browser attached it by itself.
    Ambient(CookieKind),
}

/// What was found in the cookies, while their headers are still to be stripped.
struct Jar {
    token: Result<Option<Token>, TokenErrorKind>,
    kind: CookieKind,
    /// Whether any cookie of a source is there, and has to go.
    is_filled: bool,
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
                let kind = CookieKind::of(&name);
                self.cookies.push((name, kind));
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
        self.cookies.first().map(|(name, _)| name.as_ref())
    }

    /// The strictest kind among the cookies that are sources, if there are any.
    pub(crate) fn cookie_kind(&self) -> Option<CookieKind> {
        let is_secure = |(_, kind): &(_, CookieKind)| *kind == CookieKind::Secure;
        let strictest = if self.cookies.iter().any(is_secure) { CookieKind::Secure } else { CookieKind::Plain };
        self.cookies.first().map(|_| strictest)
    }

    /// Finds the token and takes it out of the headers and the URI, also where it is refused.
    pub(crate) fn take(&self, parts: &mut Parts, max_len: usize) -> Found {
        let bearer = if self.authorization { header::find_bearer(&parts.headers, max_len) } else { Ok(None) };
        let is_bearer_there = !matches!(bearer, Ok(None));
        let mut scan = Scan::new(&parts.headers, &self.spellings, max_len);
        let offered = scan.as_ref().map_or(Ok(None), Scan::token);
        let explicit = self.find(parts, offered, bearer, max_len);
        let jar = self.search_cookies(&parts.headers, max_len);
        let (token, carrier) = match explicit {
            // Whatever the cookies are.
            Ok(Some(token)) => (Ok(Some(token)), Carrier::Explicit),
            Ok(None) => match jar.token {
                Ok(Some(token)) => (Ok(Some(token)), Carrier::Ambient(jar.kind)),
                none => (none, Carrier::Explicit),
            },
            Err(kind) => (Err(kind), Carrier::Explicit),
        };
        if let (Err(kind), Some(scan)) = (&token, &mut scan) {
            scan.fail(*kind);
        }
        let found = token.as_ref().ok().and_then(Option::as_ref);
        let mirror = found.map(Mirror::of);
        let (selection, rewrite) = scan.map_or_else(Default::default, |scan| scan.finish(mirror.as_ref()));
        // A client that sends its token in two places may use one that is no source here.
        if is_bearer_there || found.is_some_and(|token| !self.authorization && header::is_bearer(&parts.headers, token))
        {
            parts.headers.remove(AUTHORIZATION);
        }
        let stripped = self.strip(parts, rewrite, jar.is_filled);
        let token = token.and_then(|token| stripped.map(|()| token));
        Found { token: token.map_err(TokenError::new), carrier, selection }
    }

    /// Takes the token out of a URI.
    pub(crate) fn strip_uri(&self, uri: &mut Uri) -> Result<(), TokenError> {
        query::strip(uri, &self.queries).map_err(TokenError::new)
    }

    /// Whether a token may stand in a URI.
    pub(crate) const fn are_in_uri(&self) -> bool {
        !self.queries.is_empty()
    }

    /// The one token that somebody chose to send.
    fn find(
        &self,
        parts: &Parts,
        offered: Result<Option<Token>, TokenErrorKind>,
        bearer: Result<Option<Token>, TokenErrorKind>,
        max_len: usize,
    ) -> Result<Option<Token>, TokenErrorKind> {
        let mut explicit = offered?;
        merge(&mut explicit, bearer?)?;
        for name in &self.headers {
            merge(&mut explicit, header::find(&parts.headers, name, max_len)?)?;
        }
        for name in &self.queries {
            merge(&mut explicit, query::find(&parts.uri, name, max_len)?)?;
        }
        Ok(explicit)
    }

    /// Looks for every cookie once, also where nobody needs what is in it.
    fn search_cookies(&self, headers: &HeaderMap, max_len: usize) -> Jar {
        let mut jar = Jar { token: Ok(None), kind: CookieKind::Plain, is_filled: false };
        for (name, kind) in &self.cookies {
            let cookies = Cookies::named(headers, name);
            if !cookies.are_there() {
                continue;
            }
            jar.is_filled = true;
            let token = cookies.token(max_len);
            if *kind == CookieKind::Secure && matches!(token, Ok(Some(_))) {
                jar.kind = CookieKind::Secure;
            }
            if let Ok(found) = &mut jar.token
                && let Err(error) = token.and_then(|token| merge(found, token))
            {
                jar.token = Err(error);
            }
        }
        jar
    }

    fn strip(&self, parts: &mut Parts, rewrite: Rewrite, has_cookies: bool) -> Result<(), TokenErrorKind> {
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
        if has_cookies {
            for (name, _) in &self.cookies {
                cookie::strip(&mut parts.headers, name);
            }
        }
        query::strip(&mut parts.uri, &self.queries)
    }
}

/// Cuts copies of the token out of headers and of queries, wherever they are.
///
/// The work is in proportion to the head, so a head that is too large is refused before.
pub(crate) fn cut_copies(
    headers: &mut HeaderMap,
    mut uris: [Option<&mut Uri>; 2],
    token: &Token,
) -> Result<(), TokenError> {
    let mirror = Mirror::of(token);
    mirror.cut_from(headers);
    uris.iter_mut().flatten().try_for_each(|uri| query::cut(uri, &mirror)).map_err(TokenError::new)
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
