//! Finds the token in the list of subprotocols.

use http::{HeaderMap, header::SEC_WEBSOCKET_PROTOCOL};

use super::{
    Format, all_names,
    format::{BarePrefix, Prefixed},
};
#[cfg(feature = "dpop")]
use crate::token::proof;
use crate::token::{Sources, Token, TokenErrorKind, copies::TokenFinder, encoding};

/// What the list of subprotocols holds. The header is rewritten later, by [`finish`](Self::finish), because the token
/// may also come from another source.
pub(in crate::token) struct Scan<'a> {
    pub(super) headers: &'a HeaderMap,
    max_len: usize,
    token: Option<Token>,
    pub(super) error: Option<TokenErrorKind>,
    /// Names that hold a token, decodable or not. They must not be shown or selected.
    pub(super) secret_names: Vec<&'a [u8]>,
    /// The indices of the formats found so far. Each may occur once.
    found_formats: Vec<usize>,
    pub(super) fallback: Fallback<'a>,
    /// The length of the longest name.
    pub(super) max_name_len: usize,
    /// The proof that comes with the token (RFC 9449).
    #[cfg(feature = "dpop")]
    proof: Option<&'a [u8]>,
}

/// What to select if the handler selects nothing.
#[derive(Clone, Copy, Default)]
pub(super) enum Fallback<'a> {
    /// Nothing: there is no token in the list.
    #[default]
    None,
    /// This offered name: a marker, or a raw token.
    Name(&'a [u8]),
    /// This marker if it was offered, or else the first name that holds no token.
    MarkerOrFirst(Option<&'static str>),
}

impl<'a> Scan<'a> {
    /// `None` if no subprotocol is offered.
    pub(in crate::token) fn new(headers: &'a HeaderMap, sources: &Sources, max_len: usize) -> Option<Self> {
        headers.get(SEC_WEBSOCKET_PROTOCOL)?;
        let mut scan = Self {
            headers,
            max_len,
            token: None,
            error: None,
            secret_names: Vec::new(),
            found_formats: Vec::new(),
            fallback: Fallback::None,
            max_name_len: 0,
            #[cfg(feature = "dpop")]
            proof: None,
        };
        scan.read(sources);
        if scan.error.is_none()
            && !scan.secret_names.is_empty()
            && scan.fallback_name(scan.token.as_ref().map(TokenFinder::new).as_ref()).is_none()
        {
            scan.fail(TokenErrorKind::NothingToSelect);
        }
        Some(scan)
    }

    /// Takes the token in the list.
    pub(in crate::token) fn take_token(&mut self) -> Result<Option<Token>, TokenErrorKind> {
        self.error.map_or_else(|| Ok(self.token.take()), Err)
    }

    /// Records that the handshake is refused. The first error wins.
    pub(in crate::token) fn fail(&mut self, kind: TokenErrorKind) {
        self.error.get_or_insert(kind);
    }

    #[cfg(feature = "dpop")]
    pub(in crate::token) const fn proof(&self) -> Option<&'a [u8]> {
        self.proof
    }

    fn read(&mut self, sources: &Sources) {
        let formats = &sources.formats;
        let mut names = all_names(self.headers);
        let min_len = formats.iter().filter_map(Format::min_len).min().unwrap_or(usize::MAX);
        // Stop at the first error, which bounds the work for a long list of tokens.
        while self.error.is_none()
            && let Some(name) = names.next()
        {
            self.max_name_len = self.max_name_len.max(name.len());
            #[cfg(feature = "dpop")]
            if sources.reads_proofs
                && let Some(proof) = proof::in_subprotocol(name)
            {
                self.add_proof(name, proof);
                continue;
            }
            if name.len() < min_len {
                continue;
            }
            for (index, format) in formats.iter().enumerate() {
                let matches = match format {
                    Format::Pair { marker } => {
                        let is_marker = name.eq_ignore_ascii_case(marker.as_bytes());
                        if is_marker {
                            self.set_fallback(Fallback::Name(name));
                            self.read_pair(names.next(), marker);
                        }
                        is_marker
                    }
                    Format::Prefixed(prefixed) => self.read_prefixed(name, prefixed),
                    Format::Raw => false,
                };
                if matches {
                    if self.found_formats.contains(&index) {
                        self.fail(TokenErrorKind::Repeated);
                    }
                    self.found_formats.push(index);
                    break;
                }
            }
        }
        #[cfg(feature = "dpop")]
        if self.proof.is_some() {
            self.set_fallback(Fallback::MarkerOrFirst(None));
        }
        if self.found_formats.is_empty() && formats.contains(&Format::Raw) {
            let mut names = all_names(self.headers);
            if let (Some(name), None) = (names.next(), names.next()) {
                self.set_fallback(Fallback::Name(name));
                self.add_token(name, name, |name| encoding::subprotocol_name(name).map(Some));
            }
        }
    }

    /// Adds a proof. It is no secret, but nobody else needs it, and it must not be selected.
    #[cfg(feature = "dpop")]
    fn add_proof(&mut self, name: &'a [u8], proof: &'a [u8]) {
        self.secret_names.push(name);
        if self.proof.replace(proof).is_some() {
            self.fail(TokenErrorKind::Repeated);
        }
    }

    fn read_pair(&mut self, token: Option<&'a [u8]>, marker: &str) {
        match token {
            None => self.fail(TokenErrorKind::Empty),
            // The token could not be told from the name that is selected.
            Some(token) if token.eq_ignore_ascii_case(marker.as_bytes()) => self.fail(TokenErrorKind::Repeated),
            Some(token) => self.add_token(token, token, |token| encoding::subprotocol_name(token).map(Some)),
        }
    }

    fn read_prefixed(&mut self, name: &'a [u8], prefixed: &Prefixed) -> bool {
        let Some(encoded) = prefixed.strip_prefix(name) else { return false };
        if encoded.is_empty() && prefixed.bare_prefix == BarePrefix::NoToken {
            return false;
        }
        self.set_fallback(Fallback::MarkerOrFirst(prefixed.marker));
        self.add_token(name, encoded, |encoded| prefixed.encoding.decode(encoded));
        true
    }

    /// Adds the token in a name, which is secret even if decoding fails.
    fn add_token(
        &mut self,
        name: &'a [u8],
        encoded: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<Option<Token>, TokenErrorKind>,
    ) {
        self.secret_names.push(name);
        let decoded = if encoded.len() > self.max_len { Err(TokenErrorKind::TooLong) } else { decode(encoded) };
        match (decoded, &self.token) {
            (Err(kind), _) => self.fail(kind),
            (Ok(Some(token)), Some(first)) if token.expose() != first.expose() => {
                self.fail(TokenErrorKind::Conflicting);
            }
            (Ok(Some(token)), _) => self.token = Some(token),
            (Ok(None), _) => {}
        }
    }

    /// Sets the fallback. The first format found determines it.
    fn set_fallback(&mut self, fallback: Fallback<'a>) {
        if matches!(self.fallback, Fallback::None) {
            self.fallback = fallback;
        }
    }
}
