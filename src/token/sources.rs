//! Extracts the token from all sources of a layer.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, Uri,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};

#[cfg(feature = "dpop")]
use super::{Presentation, proof};
use super::{
    Selection, Token, TokenError, TokenErrorKind, TokenSource,
    cookie::{self, CookieKind, Cookies},
    copies::TokenFinder,
    header::{self, Scheme},
    query,
    source::Source,
    subprotocol::{Format, Rewrite, Scan, check_subprotocol},
};
use crate::error::ConfigError;

/// The validated sources of a layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    authorization: bool,
    headers: Vec<HeaderName>,
    pub(super) formats: Vec<Format>,
    queries: Vec<Cow<'static, str>>,
    cookies: Vec<(Cow<'static, str>, CookieKind)>,
    /// Whether a proof may come with the token (RFC 9449).
    #[cfg(feature = "dpop")]
    pub(crate) reads_proofs: bool,
}

/// What was extracted from a handshake.
pub(crate) struct Found {
    pub(crate) token: Result<Option<Token>, TokenError>,
    pub(crate) token_kind: TokenKind,
    /// Where the token was, for the metrics: a kind of source, or `none`.
    pub(crate) source: &'static str,
    pub(crate) selection: Selection,
}

/// Who put the token into the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// The client chose to send it, or there is no token.
    Explicit,
    /// The browser attached it: a cookie.
    Ambient(CookieKind),
}

/// What was found in the cookies. The header is not rewritten yet.
struct FoundCookies {
    token: Result<Option<Token>, TokenErrorKind>,
    kind: CookieKind,
    /// Whether any cookie must be removed.
    is_present: bool,
}

impl Sources {
    pub(crate) fn standard() -> Self {
        Self { authorization: true, formats: vec![Format::BEARER], ..Self::default() }
    }

    pub(crate) fn new(sources: impl IntoIterator<Item = TokenSource>) -> Result<Self, ConfigError> {
        let mut added = Self::default();
        let mut seen = Vec::new();
        for source in sources {
            let name = source.name();
            if seen.contains(&name) {
                return Err(ConfigError::DuplicateTokenSource(name));
            }
            added.add(source)?;
            seen.push(name);
        }
        if seen.is_empty() { Err(ConfigError::NoTokenSource) } else { Ok(added) }
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
            Source::Subprotocol(format) => {
                format.custom_part().map_or(Ok(()), check_subprotocol)?;
                self.formats.push(format);
            }
        }
        Ok(())
    }

    /// The name of the first cookie source.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.cookies.first().map(|(name, _)| name.as_ref())
    }

    /// The strictest kind among the cookie sources.
    pub(crate) fn cookie_kind(&self) -> Option<CookieKind> {
        let is_secure = |(_, kind): &(_, CookieKind)| *kind == CookieKind::Secure;
        let strictest = if self.cookies.iter().any(is_secure) { CookieKind::Secure } else { CookieKind::Plain };
        self.cookies.first().map(|_| strictest)
    }

    /// Finds the token and removes it from the headers and the URI, even if it is refused.
    pub(crate) fn take(&self, parts: &mut Parts, max_len: usize) -> Found {
        let credentials = header::find_credentials(&parts.headers, self.schemes(), max_len);
        let has_credentials = !matches!(credentials, Ok(None));
        let mut scan = Scan::new(&parts.headers, self, max_len);
        #[cfg(feature = "dpop")]
        let presentation = self.find_proof(&parts.headers, scan.as_ref(), &credentials);
        let authorized = credentials.map(|found| found.map(|(_, token)| token));
        let offered = scan.as_mut().map_or(Ok(None), Scan::take_token);
        let explicit = self.find_explicit(parts, offered, authorized, max_len);
        let cookies = self.find_cookies(&parts.headers, max_len);
        let (token, token_kind, source) = match explicit {
            // An explicit token takes precedence over cookies, even invalid ones.
            Ok(Some((token, source))) => (Ok(Some(token)), TokenKind::Explicit, source),
            Ok(None) => match cookies.token {
                Ok(Some(token)) => (Ok(Some(token)), TokenKind::Ambient(cookies.kind), "cookie"),
                none => (none, TokenKind::Explicit, "none"),
            },
            Err(error) => (Err(error), TokenKind::Explicit, "none"),
        };
        if let (Err(error), Some(scan)) = (&token, &mut scan) {
            scan.fail(*error);
        }
        let found = token.as_ref().ok().and_then(Option::as_ref);
        let (selection, rewrite) =
            scan.map_or_else(Default::default, |scan| scan.finish(found.map(TokenFinder::new).as_ref()));
        // A client may also send its token in `Authorization` if that is not a source.
        if has_credentials
            || found.is_some_and(|token| !self.authorization && header::has_bearer(&parts.headers, token))
        {
            parts.headers.remove(AUTHORIZATION);
        }
        let stripped = self.strip(parts, rewrite, cookies.is_present);
        let token = token.and_then(|token| stripped.map(|()| token));
        #[cfg(feature = "dpop")]
        let token = token.map(|token| token.map(|token| token.presented(presentation)));
        Found { token: token.map_err(TokenError::new), token_kind, source, selection }
    }

    /// Removes the token from a URI.
    pub(crate) fn strip_uri(&self, uri: &mut Uri) -> Result<(), TokenError> {
        query::strip(uri, &self.queries).map_err(TokenError::new)
    }

    /// Removes copies of the token from all headers and query parameters.
    ///
    /// The work is linear in the size of the request head. Heads that are too large must be refused before.
    pub(crate) fn remove_copies(
        &self,
        headers: &mut HeaderMap,
        mut uris: [Option<&mut Uri>; 2],
        token: &Token,
    ) -> Result<(), TokenError> {
        let finder = TokenFinder::new(token);
        if finder.remove_from(headers) {
            self.strip_again(headers);
        }
        uris.iter_mut().flatten().try_for_each(|uri| query::remove_token(uri, &finder)).map_err(TokenError::new)
    }

    /// Removes another token, which the client has hidden around a copy: `sess<copy>ion=…`.
    fn strip_again(&self, headers: &mut HeaderMap) {
        if !matches!(header::find_credentials(headers, self.schemes(), usize::MAX), Ok(None)) {
            headers.remove(AUTHORIZATION);
        }
        for (name, _) in &self.cookies {
            cookie::strip(headers, name);
        }
    }

    /// The schemes of `Authorization` that hold a token.
    const fn schemes(&self) -> &'static [Scheme] {
        match self.authorization {
            #[cfg(feature = "dpop")]
            true if self.reads_proofs => &[Scheme::Bearer, Scheme::Dpop],
            true => &[Scheme::Bearer],
            false => &[],
        }
    }

    /// How the token is presented.
    #[cfg(feature = "dpop")]
    fn find_proof(
        &self,
        headers: &HeaderMap,
        scan: Option<&Scan<'_>>,
        credentials: &Result<Option<(Scheme, Token)>, TokenErrorKind>,
    ) -> Presentation {
        if !self.reads_proofs {
            return Presentation::Bearer;
        }
        let scheme = credentials.as_ref().ok().and_then(Option::as_ref).map(|(scheme, _)| *scheme);
        Presentation::find(headers, scan.and_then(Scan::proof), scheme)
    }

    /// The explicit token, and the first kind of source that holds it.
    fn find_explicit(
        &self,
        parts: &Parts,
        offered: Result<Option<Token>, TokenErrorKind>,
        authorized: Result<Option<Token>, TokenErrorKind>,
        max_len: usize,
    ) -> Result<Option<(Token, &'static str)>, TokenErrorKind> {
        let (mut explicit, mut first) = (None, "none");
        let mut add = |source, token: Option<Token>| {
            if explicit.is_none() && token.is_some() {
                first = source;
            }
            merge(&mut explicit, token)
        };
        add("subprotocol", offered?)?;
        add("authorization", authorized?)?;
        for name in &self.headers {
            add("header", header::find(&parts.headers, name, max_len)?)?;
        }
        for name in &self.queries {
            add("query", query::find(&parts.uri, name, max_len)?)?;
        }
        Ok(explicit.map(|token| (token, first)))
    }

    /// The token in the cookies. Reads all cookie sources, because all must be removed.
    fn find_cookies(&self, headers: &HeaderMap, max_len: usize) -> FoundCookies {
        let mut found = FoundCookies { token: Ok(None), kind: CookieKind::Plain, is_present: false };
        for (name, kind) in &self.cookies {
            let cookies = Cookies::find(headers, name);
            if cookies.is_none() {
                continue;
            }
            found.is_present = true;
            let token = cookies.token(max_len);
            if *kind == CookieKind::Secure && matches!(token, Ok(Some(_))) {
                found.kind = CookieKind::Secure;
            }
            if let Ok(first) = &mut found.token
                && let Err(error) = token.and_then(|token| merge(first, token))
            {
                found.token = Err(error);
            }
        }
        found
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
        #[cfg(feature = "dpop")]
        if self.reads_proofs {
            parts.headers.remove(&proof::HEADER);
        }
        if has_cookies {
            for (name, _) in &self.cookies {
                cookie::strip(&mut parts.headers, name);
            }
        }
        query::strip(&mut parts.uri, &self.queries)
    }
}

/// Merges the tokens of two sources. The same token twice is fine; different tokens are an error (RFC 6750 §2).
fn merge(found: &mut Option<Token>, other: Option<Token>) -> Result<(), TokenErrorKind> {
    match (&found, &other) {
        (Some(first), Some(second)) if first.expose() != second.expose() => return Err(TokenErrorKind::Conflicting),
        (None, Some(_)) => *found = other,
        _ => {}
    }
    Ok(())
}
