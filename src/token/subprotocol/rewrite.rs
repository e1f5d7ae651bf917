//! Removes tokens from the list of subprotocols, and picks the name to select.

use bytes::Bytes;
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::{
    Format, Selection, all_names, elements,
    format::Prefixed,
    is_name,
    scan::{Fallback, Scan},
};
use crate::token::copies::TokenFinder;

/// What to do with the header.
#[derive(Default)]
pub(in crate::token) enum Rewrite {
    #[default]
    Keep,
    Remove,
    Replace(HeaderValue),
}

impl<'a> Scan<'a> {
    /// What may be selected, and the header for the inner service, given the token of the handshake.
    pub(in crate::token) fn finish(self, token: Option<&TokenFinder<'_>>) -> (Selection, Rewrite) {
        let fallback = self.fallback_name(token).and_then(|name| HeaderValue::from_bytes(name).ok()).map(|mut name| {
            // Only in the raw format, the fallback is the token itself.
            name.set_sensitive(!self.is_public(name.as_bytes(), token));
            name
        });
        // No inner service sees a refused handshake, but an origin predicate may.
        let is_refused = self.error.is_some();
        let rewrite = if is_refused { Rewrite::Remove } else { self.rewrite(token) };
        if token.is_some_and(|token| self.is_left(token, &rewrite)) {
            return (Selection::default(), Rewrite::Remove);
        }
        let offered = match &rewrite {
            _ if is_refused => self.headers.get(SEC_WEBSOCKET_PROTOCOL).cloned(),
            Rewrite::Keep => self.headers.get(SEC_WEBSOCKET_PROTOCOL).cloned(),
            Rewrite::Replace(line) => Some(line.clone()),
            Rewrite::Remove => None,
        };
        (Selection { offered, fallback }, rewrite)
    }

    /// The name to select if the handler selects none.
    pub(super) fn fallback_name(&self, token: Option<&TokenFinder<'_>>) -> Option<&'a [u8]> {
        let is_public = |name: &&[u8]| self.is_public(name, token) && is_name(name);
        match self.fallback {
            Fallback::None => None,
            Fallback::Name(name) => Some(name),
            Fallback::MarkerOrFirst(marker) => marker
                .and_then(|marker| {
                    let mut matching =
                        all_names(self.headers).filter(|name| name.eq_ignore_ascii_case(marker.as_bytes()));
                    matching.find(is_public)
                })
                // If the handshake is refused, any other name may hold a token: the scan stopped, or found several.
                .or_else(|| all_names(self.headers).find(is_public).filter(|_| self.error.is_none())),
        }
    }

    /// Whether a name holds no token: it is not among the secret names, and does not hold the handshake's token in a
    /// format that is not a source.
    fn is_public(&self, name: &[u8], token: Option<&TokenFinder<'_>>) -> bool {
        if self.secret_names.contains(&name) {
            return false;
        }
        let Some(token) = token.filter(|token| token.fits_in(name.len())) else { return true };
        let holds_token = |prefixed: &Prefixed| {
            let decoded = prefixed.strip_prefix(name).map(|encoded| prefixed.encoding.decode(encoded));
            matches!(decoded, Some(Ok(Some(decoded))) if token.is(&decoded))
        };
        !token.is_in(name) && !Format::known_prefixes().any(holds_token)
    }

    /// Whether what is left of the list holds the token, although no name does: a token with commas, of which each name
    /// is a part.
    fn is_left(&self, token: &TokenFinder<'_>, rewrite: &Rewrite) -> bool {
        let is_in = |line: &HeaderValue| token.is_in(line.as_bytes());
        token.has(b',')
            && match rewrite {
                Rewrite::Keep => self.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().any(is_in),
                Rewrite::Replace(line) => is_in(line),
                Rewrite::Remove => false,
            }
    }

    /// Joins all lines without the names that hold a token.
    fn rewrite(&self, token: Option<&TokenFinder<'_>>) -> Rewrite {
        let lines = || self.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let is_secret = |name: &[u8]| !self.is_public(name.trim_ascii(), token);
        // Most lists hold no token, and skip the search.
        let may_hold_token =
            !self.secret_names.is_empty() || token.is_some_and(|token| token.fits_in(self.max_name_len));
        let first = if may_hold_token { lines().flat_map(elements).position(is_secret) } else { None };
        if first.is_none() && lines().nth(1).is_none() {
            return Rewrite::Keep;
        }
        let mut list = Vec::with_capacity(lines().map(|line| line.len() + 2).sum());
        let mut position = 0;
        for line in lines() {
            // Copy the text between the removed names unchanged.
            let (text, mut from, mut at) = (line.as_bytes(), 0, 0);
            for name in elements(line) {
                if first.is_some_and(|first| position >= first) && is_secret(name) {
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

/// Appends a part of a list.
fn push_names(list: &mut Vec<u8>, names: &[u8]) {
    let is_separator = |b: &u8| matches!(b, b',' | b' ' | b'\t');
    let Some(start) = names.iter().position(|b| !is_separator(b)) else { return };
    let end = names.iter().rposition(|b| !is_separator(b)).map_or(start, |last| last + 1);
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(names.get(start..end).unwrap_or_default());
}
