//! Tokens in the list of subprotocols.

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::{
    Selection, Token, TokenErrorKind, encoding,
    spelling::{BarePrefix, Encoding, Prefixed, Spelling},
};

/// What the list of subprotocols says.
pub(super) struct Offer {
    pub(super) token: Result<Option<Token>, TokenErrorKind>,
    pub(super) selection: Selection,
    /// The header as the inner service may see it; `None` where it stays as it is.
    pub(super) rewrite: Option<Rewrite>,
}

pub(super) enum Rewrite {
    Remove,
    Replace(HeaderValue),
}

/// The names in one header line. Empty list elements count for nothing (RFC 9110 §5.6.1).
pub(super) fn names_of(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

pub(super) fn read(headers: &HeaderMap, spellings: &[Spelling], max_len: usize) -> Offer {
    let mut scan = Scan { max_len, ..Scan::default() };
    scan.read(headers, spellings);
    scan.finish(headers)
}

#[derive(Default)]
struct Scan<'a> {
    max_len: usize,
    token: Option<Token>,
    error: Option<TokenErrorKind>,
    /// Names that hold a token, readable or not. Nobody may see or select them.
    claimed: Vec<&'a [u8]>,
    /// Positions of the spellings seen so far: each may be used once.
    seen: Vec<usize>,
    /// What the convention in use selects.
    choice: Choice<'a>,
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
    fn read(&mut self, headers: &'a HeaderMap, spellings: &[Spelling]) {
        let mut names = all_names(headers);
        while let Some(name) = names.next() {
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
            let mut names = all_names(headers);
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
        let Some((start, rest)) = name.split_at_checked(prefixed.prefix.len()) else { return false };
        if !start.eq_ignore_ascii_case(prefixed.prefix.as_bytes())
            || (rest.is_empty() && prefixed.bare_prefix == BarePrefix::NoToken)
        {
            return false;
        }
        self.choose(Choice::Other(prefixed.carrier));
        self.claim(name, rest, |rest| match prefixed.encoding {
            _ if rest.is_empty() => Err(TokenErrorKind::Empty),
            Encoding::Raw => encoding::name(rest).map(Some),
            Encoding::Base64 => encoding::base64(rest).map(Some),
            Encoding::Percent => encoding::percent(rest).map(Some),
            Encoding::AppSync => encoding::appsync(rest),
        });
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
            (Ok(Some(token)), Some(first)) if token != *first => self.fail(TokenErrorKind::Conflicting),
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

    /// The first error is the one that is told.
    fn fail(&mut self, kind: TokenErrorKind) {
        self.error.get_or_insert(kind);
    }

    /// Whether a name holds no token: it is none of those claimed, nor what one of them decodes to.
    fn is_public(&self, name: &[u8]) -> bool {
        !self.claimed.contains(&name) && self.token.as_ref().is_none_or(|token| token.expose().as_bytes() != name)
    }

    fn finish(mut self, headers: &'a HeaderMap) -> Offer {
        let chosen = match self.choice {
            Choice::None => None,
            Choice::Name(name) => Some(name),
            Choice::Other(carrier) => {
                let public = || all_names(headers).filter(|name| self.is_public(name) && is_name(name));
                carrier
                    .and_then(|carrier| public().find(|name| name.eq_ignore_ascii_case(carrier.as_bytes())))
                    .or_else(|| public().next())
            }
        };
        if chosen.is_none() && !self.claimed.is_empty() {
            self.fail(TokenErrorKind::NothingToSelect);
        }
        let fallback = chosen.and_then(|name| HeaderValue::from_bytes(name).ok()).map(|mut name| {
            // Only the raw spelling names the token itself.
            name.set_sensitive(!self.is_public(name.as_bytes()));
            name
        });
        let rewrite = self.rewrite(headers);
        let offered = match &rewrite {
            None => headers.get(SEC_WEBSOCKET_PROTOCOL).cloned(),
            Some(Rewrite::Replace(value)) => Some(value.clone()),
            Some(Rewrite::Remove) => None,
        };
        Offer { token: self.error.map_or(Ok(self.token), Err), selection: Selection { offered, fallback }, rewrite }
    }

    /// One line with all public names, which is the same list (RFC 6455 §11.3.4).
    fn rewrite(&mut self, headers: &'a HeaderMap) -> Option<Rewrite> {
        if self.claimed.is_empty() && headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().nth(1).is_none() {
            return None;
        }
        let public: Vec<&[u8]> = all_names(headers).filter(|name| self.is_public(name)).collect();
        if public.is_empty() {
            return Some(Rewrite::Remove);
        }
        match HeaderValue::from_bytes(&public.join(&b", "[..])) {
            Ok(mut line) => {
                line.set_sensitive(!self.claimed.is_empty());
                Some(Rewrite::Replace(line))
            }
            Err(_) => {
                self.fail(TokenErrorKind::Unstrippable);
                Some(Rewrite::Remove)
            }
        }
    }
}

/// Several lines are one list (RFC 6455 §11.3.4).
fn all_names(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(names_of)
}

fn is_name(name: &[u8]) -> bool {
    name.iter().copied().all(encoding::is_tchar)
}
