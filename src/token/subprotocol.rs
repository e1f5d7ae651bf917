//! Tokens in the list of subprotocols.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use crate::error::ConfigError;

use super::{
    Selection, Token, TokenErrorKind, encoding,
    mirror::Mirror,
    spelling::{BarePrefix, Encoding, Prefixed, Spelling},
};

#[derive(Default)]
pub(super) enum Rewrite {
    #[default]
    Keep,
    Remove,
    Replace(HeaderValue),
}

/// Whether a text may stand in a subprotocol's name.
pub(crate) fn check_subprotocol(text: &str) -> Result<(), ConfigError> {
    if !text.is_empty() && is_name(text.as_bytes()) {
        Ok(())
    } else {
        Err(ConfigError::InvalidSubprotocol(text.to_owned()))
    }
}

/// The names in one header line. Empty list elements count for nothing (RFC 9110 §5.6.1).
pub(super) fn names_of(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// What was found in the list of subprotocols, while other sources are still to be searched.
pub(super) struct Scan<'a> {
    headers: &'a HeaderMap,
    max_len: usize,
    token: Option<Token>,
    error: Option<TokenErrorKind>,
    /// Names that hold a token, readable or not. Nobody may see or select them.
    claimed: Vec<&'a [u8]>,
    /// Positions of the spellings seen so far: each may be used once.
    seen: Vec<usize>,
    /// What the convention in use selects.
    choice: Choice<'a>,
    /// How long the longest name is.
    longest: usize,
}

#[derive(Clone, Copy, Default)]
enum Choice<'a> {
    /// No token here: what is selected is the handler's affair alone.
    #[default]
    None,
    /// This name, as it was offered: a marker, or a raw token.
    Name(&'a [u8]),
    /// This public name if it was offered, or else the first that holds no token.
    Other(Option<&'static str>),
}

impl<'a> Scan<'a> {
    /// `None` where no subprotocol is offered.
    pub(super) fn new(headers: &'a HeaderMap, spellings: &[Spelling], max_len: usize) -> Option<Self> {
        headers.get(SEC_WEBSOCKET_PROTOCOL)?;
        let (claimed, seen, choice) = (Vec::new(), Vec::new(), Choice::None);
        let mut scan = Self { headers, max_len, token: None, error: None, claimed, seen, choice, longest: 0 };
        scan.read(spellings);
        if scan.error.is_none()
            && !scan.claimed.is_empty()
            && scan.chosen(scan.token.as_ref().map(Mirror::of).as_ref()).is_none()
        {
            scan.fail(TokenErrorKind::NothingToSelect);
        }
        Some(scan)
    }

    /// The token in the list.
    pub(super) fn token(&self) -> Result<Option<Token>, TokenErrorKind> {
        self.error.map_or_else(|| Ok(self.token.clone()), Err)
    }

    /// What may be selected, and the header as the inner service may see it, now that it is known what the token is.
    pub(super) fn finish(self, token: Option<&Mirror<'_>>) -> (Selection, Rewrite) {
        let fallback = self.chosen(token).and_then(|name| HeaderValue::from_bytes(name).ok()).map(|mut name| {
            // Only the raw spelling names the token itself.
            name.set_sensitive(!self.is_public(name.as_bytes(), token));
            name
        });
        // What is refused is seen by nobody, save that an origin predicate may look at it once more.
        let is_refused = self.error.is_some();
        let rewrite = if is_refused { Rewrite::Remove } else { self.rewrite(token) };
        let offered = match &rewrite {
            _ if is_refused => self.headers.get(SEC_WEBSOCKET_PROTOCOL).cloned(),
            Rewrite::Keep => self.headers.get(SEC_WEBSOCKET_PROTOCOL).cloned(),
            Rewrite::Replace(line) => Some(line.clone()),
            Rewrite::Remove => None,
        };
        (Selection { offered, fallback }, rewrite)
    }

    fn read(&mut self, spellings: &[Spelling]) {
        let mut names = all_names(self.headers);
        let shortest = spellings.iter().filter_map(Spelling::len).min().unwrap_or(usize::MAX);
        // The first error ends it: a long list of tokens must not be work.
        while self.error.is_none()
            && let Some(name) = names.next()
        {
            self.longest = self.longest.max(name.len());
            if name.len() < shortest {
                continue;
            }
            for (position, spelling) in spellings.iter().enumerate() {
                let used = match spelling {
                    Spelling::Pair { marker } => {
                        let is_marker = name.eq_ignore_ascii_case(marker.as_bytes());
                        if is_marker {
                            self.choose(Choice::Name(name));
                            self.pair(names.next(), marker);
                        }
                        is_marker
                    }
                    Spelling::Prefixed(prefixed) => self.prefixed(name, prefixed),
                    Spelling::Raw => false,
                };
                if used {
                    if self.seen.contains(&position) {
                        self.fail(TokenErrorKind::Repeated);
                    }
                    self.seen.push(position);
                    break;
                }
            }
        }
        if self.seen.is_empty() && spellings.contains(&Spelling::Raw) {
            let mut names = all_names(self.headers);
            if let (Some(name), None) = (names.next(), names.next()) {
                self.choose(Choice::Name(name));
                self.claim(name, name, |name| encoding::name(name).map(Some));
            }
        }
    }

    fn pair(&mut self, token: Option<&'a [u8]>, marker: &str) {
        match token {
            None => self.fail(TokenErrorKind::Empty),
            // Nothing could tell the token from the name that is selected.
            Some(token) if token.eq_ignore_ascii_case(marker.as_bytes()) => self.fail(TokenErrorKind::Repeated),
            Some(token) => self.claim(token, token, |token| encoding::name(token).map(Some)),
        }
    }

    fn prefixed(&mut self, name: &'a [u8], prefixed: &Prefixed) -> bool {
        let Some(rest) = prefixed.behind_prefix(name) else { return false };
        if rest.is_empty() && prefixed.bare_prefix == BarePrefix::NoToken {
            return false;
        }
        self.choose(Choice::Other(prefixed.carrier));
        self.claim(name, rest, |rest| decode(prefixed.encoding, rest));
        true
    }

    /// Takes a name as one that holds `token`, however encoded.
    fn claim(
        &mut self,
        name: &'a [u8],
        token: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<Option<Token>, TokenErrorKind>,
    ) {
        self.claimed.push(name);
        let decoded = if token.len() > self.max_len { Err(TokenErrorKind::TooLong) } else { decode(token) };
        match (decoded, &self.token) {
            (Err(kind), _) => self.fail(kind),
            (Ok(Some(token)), Some(first)) if token.expose() != first.expose() => {
                self.fail(TokenErrorKind::Conflicting);
            }
            (Ok(Some(token)), _) => self.token = Some(token),
            (Ok(None), _) => {}
        }
    }

    /// The first convention seen decides what is selected.
    fn choose(&mut self, choice: Choice<'a>) {
        if matches!(self.choice, Choice::None) {
            self.choice = choice;
        }
    }

    /// Records that the handshake is refused. The first error is the one that is told.
    pub(super) fn fail(&mut self, kind: TokenErrorKind) {
        self.error.get_or_insert(kind);
    }

    /// The name to select if the handler selects none.
    fn chosen(&self, token: Option<&Mirror<'_>>) -> Option<&'a [u8]> {
        let is_public = |name: &&[u8]| self.is_public(name, token) && is_name(name);
        match self.choice {
            Choice::None => None,
            Choice::Name(name) => Some(name),
            Choice::Other(carrier) => carrier
                .and_then(|carrier| {
                    let mut named =
                        all_names(self.headers).filter(|name| name.eq_ignore_ascii_case(carrier.as_bytes()));
                    named.find(is_public)
                })
                // Where the handshake is refused, any other name may hold a token: reading ended, or there are several.
                .or_else(|| all_names(self.headers).find(is_public).filter(|_| self.error.is_none())),
        }
    }

    /// Whether a name holds no token: neither one of those claimed, nor the token in a spelling that is no source here.
    fn is_public(&self, name: &[u8], token: Option<&Mirror<'_>>) -> bool {
        if self.claimed.contains(&name) {
            return false;
        }
        let Some(token) = token.filter(|token| token.fits_in(name.len())) else { return true };
        let spells = |prefixed: &Prefixed| {
            let decoded = prefixed.behind_prefix(name).map(|rest| decode(prefixed.encoding, rest));
            matches!(decoded, Some(Ok(Some(decoded))) if token.is(&decoded))
        };
        !token.is_in(name) && !Spelling::known_prefixes().any(spells)
    }

    /// One line with all public names, which is the same list.
    fn rewrite(&self, token: Option<&Mirror<'_>>) -> Rewrite {
        let lines = || self.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let elements = |line: &'a HeaderValue| line.as_bytes().split(|&b| b == b',');
        let is_private = |name: &[u8]| !self.is_public(name.trim_ascii(), token);
        // Most lists hold no token, and need not be searched for one.
        let may_hold_token = !self.claimed.is_empty() || token.is_some_and(|token| token.fits_in(self.longest));
        let first = if may_hold_token { lines().flat_map(elements).position(is_private) } else { None };
        if first.is_none() && lines().nth(1).is_none() {
            return Rewrite::Keep;
        }
        let mut list = Vec::with_capacity(lines().map(|line| line.len() + 2).sum());
        let mut position = 0;
        for line in lines() {
            // What is between the names that go stays as it is.
            let (text, mut from, mut at) = (line.as_bytes(), 0, 0);
            for name in elements(line) {
                if first.is_some_and(|first| position >= first) && is_private(name) {
                    push_names(&mut list, text.get(from..at).unwrap_or_default());
                    from = at + name.len();
                }
                at += name.len() + 1;
                position += 1;
            }
            push_names(&mut list, text.get(from..).unwrap_or_default());
        }
        match HeaderValue::from_maybe_shared(Bytes::from(list)) {
            Ok(mut line) if !line.is_empty() => {
                line.set_sensitive(first.is_some());
                Rewrite::Replace(line)
            }
            _ => Rewrite::Remove,
        }
    }
}

/// Adds a part of a list to a list.
fn push_names(list: &mut Vec<u8>, names: &[u8]) {
    let is_separator = |b: &u8| matches!(b, b',' | b' ' | b'\t');
    let Some(start) = names.iter().position(|b| !is_separator(b)) else { return };
    let end = names.iter().rposition(|b| !is_separator(b)).map_or(start, |last| last + 1);
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(names.get(start..end).unwrap_or_default());
}

fn decode(encoding: Encoding, encoded: &[u8]) -> Result<Option<Token>, TokenErrorKind> {
    match encoding {
        _ if encoded.is_empty() => Err(TokenErrorKind::Empty),
        Encoding::Raw => encoding::name(encoded).map(Some),
        Encoding::Base64 => encoding::base64(encoded).map(Some),
        Encoding::Percent => encoding::percent(encoded).map(Some),
        Encoding::AppSync => encoding::appsync(encoded),
    }
}

/// Several lines are one list (RFC 6455 §11.3.4).
fn all_names(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(names_of)
}

fn is_name(name: &[u8]) -> bool {
    name.iter().copied().all(encoding::is_tchar)
}
