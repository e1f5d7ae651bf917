//! Finds and removes copies of the token in other parts of the request.
//!
//! Proxies repeat the URL in their own headers (`X-Original-URI`, `Forwarded`), browsers in `Referer`, and a client may
//! send its token twice. Such copies would still expose a token that was removed from its source.

use std::{
    cell::{OnceCell, RefCell},
    ops::Range,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use memchr::{memchr, memmem::Finder};

use super::{Token, encoding};

/// A shorter token may occur in other text by chance, as `t` in `chat`.
const MIN_SEARCH_LEN: usize = 16;

/// Headers that are not searched. The list of subprotocols has its own rules. `Origin` and `Host` must be checked
/// unchanged. The others concern only the upgrade.
static SKIPPED_HEADERS: [HeaderName; 8] = [
    CONNECTION,
    HOST,
    ORIGIN,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    UPGRADE,
];

/// Finds a token within text: literally, percent-encoded (once or repeatedly), or in base64 of either alphabet. A token
/// of fewer than 16 bytes is found only if it is the whole text.
pub(super) struct TokenFinder<'a> {
    token: &'a [u8],
    literal: OnceCell<Finder<'a>>,
    /// The token, percent-decoded.
    decoded: OnceCell<Finder<'static>>,
    base64: OnceCell<Vec<Finder<'static>>>,
    /// The searched text, percent-decoded.
    scratch: RefCell<DecodedText>,
}

impl<'a> TokenFinder<'a> {
    /// The searchers are built on first use, because most texts are shorter than the token.
    pub(super) fn new(token: &'a Token) -> Self {
        Self {
            token: token.expose().as_bytes(),
            literal: OnceCell::new(),
            decoded: OnceCell::new(),
            base64: OnceCell::new(),
            scratch: RefCell::new(DecodedText::new()),
        }
    }

    /// Whether a text of this length can hold the token. No encoding shortens it.
    pub(super) const fn fits_in(&self, len: usize) -> bool {
        len >= self.token.len()
    }

    pub(super) fn is(&self, token: &Token) -> bool {
        self.token == token.expose().as_bytes()
    }

    pub(super) fn has(&self, byte: u8) -> bool {
        memchr(byte, self.token).is_some()
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        !self.find_in(text).is_empty()
    }

    /// Removes the token from all header values, and keeps the rest of each value. Returns whether there was a copy.
    pub(super) fn remove_from(&self, headers: &mut HeaderMap) -> bool {
        let mut is_removed = false;
        for (name, value) in headers.iter_mut() {
            if !self.fits_in(value.len()) || SKIPPED_HEADERS.contains(name) {
                continue;
            }
            let ranges = self.find_in(value.as_bytes());
            if ranges.is_empty() {
                continue;
            }
            let rest = without(value.as_bytes(), &ranges);
            // If one copy was inside another, the rest is the token again.
            let rest = if self.is_in(&rest) { None } else { HeaderValue::from_bytes(&rest).ok() };
            *value = rest.unwrap_or(HeaderValue::from_static(""));
            value.set_sensitive(true);
            is_removed = true;
        }
        is_removed
    }

    /// The ranges of a text that hold the token, in order. Allocates almost nothing if there are none.
    fn find_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        if !self.fits_in(text.len()) {
            return Vec::new();
        }
        if self.token.len() < MIN_SEARCH_LEN {
            return (text == self.token).then_some(0..text.len()).into_iter().collect();
        }
        let mut ranges = Vec::new();
        ranges.extend(self.literal().find_iter(text).map(|at| at..at + self.token.len()));
        if memchr(b'%', text).is_some() {
            self.find_percent_encoded(text, &mut ranges);
        }
        self.find_base64(text, &mut ranges);
        ranges.sort_unstable_by_key(|range| range.start);
        ranges
    }

    fn literal(&self) -> &Finder<'a> {
        self.literal.get_or_init(|| Finder::new(self.token))
    }

    fn find_percent_encoded(&self, text: &[u8], ranges: &mut Vec<Range<usize>>) {
        let decoded = &mut *self.scratch.borrow_mut();
        decoded.decode(text, escape);
        self.find_decoded(decoded, text.len(), ranges);
        // Only then can there be escaped escapes. Who decodes once reads `%25Ae` as `%Ae`, and who decodes repeatedly
        // as one byte: the token may begin at this `e`.
        if memchr(b'%', &decoded.bytes).is_some() {
            decoded.decode(text, nested_escape);
            self.find_decoded(decoded, text.len(), ranges);
        }
    }

    fn find_decoded(&self, decoded: &DecodedText, text_len: usize, ranges: &mut Vec<Range<usize>>) {
        let mut find = |token: &Finder<'_>| {
            for at in token.find_iter(&decoded.bytes) {
                let start = decoded.starts.get(at);
                let end = decoded.starts.get(at + token.needle().len());
                ranges.extend(start.map(|&start| start..end.copied().unwrap_or(text_len)));
            }
        };
        find(self.literal());
        // If the token itself has escapes, decoding the text has decoded them too.
        if memchr(b'%', self.token).is_some() {
            find(self.decoded.get_or_init(|| {
                let mut decoded = DecodedText::new();
                decoded.decode(self.token, nested_escape);
                Finder::new(&decoded.bytes).into_owned()
            }));
        }
    }

    /// Finds whole runs of base64 symbols that hold the token, with the padding after them.
    fn find_base64(&self, text: &[u8], ranges: &mut Vec<Range<usize>>) {
        let min_len = self.token.len() / 3 * 4;
        let mut start = 0;
        for run in text.split(|&b| !is_base64_symbol(b)) {
            let mut range = start..start + run.len();
            start = range.end + 1;
            if run.len() < min_len {
                continue;
            }
            let encodings = self.base64.get_or_init(|| base64_encodings(self.token));
            if !encodings.iter().any(|encoding| encoding.find(run).is_some()) {
                continue;
            }
            if range.start.checked_sub(1).is_some_and(|before| text.get(before) == Some(&b'%')) {
                // The run begins with the two digits of an escape.
                range.start += 2;
            }
            while text.get(range.end) == Some(&b'=') {
                range.end += 1;
            }
            ranges.push(range);
        }
    }
}

/// A text after percent-decoding.
struct DecodedText {
    bytes: Vec<u8>,
    /// For each byte, its position in the original text.
    starts: Vec<usize>,
}

impl DecodedText {
    const fn new() -> Self {
        Self { bytes: Vec::new(), starts: Vec::new() }
    }

    fn decode(&mut self, text: &[u8], escape: impl Fn(&[u8]) -> Option<(u8, &[u8])>) {
        self.bytes.clear();
        self.starts.clear();
        let mut rest = text;
        while let [first, after @ ..] = rest {
            self.starts.push(text.len() - rest.len());
            let (byte, after) = escape(rest).unwrap_or((*first, after));
            self.bytes.push(byte);
            rest = after;
        }
    }
}

/// Decodes an escape at the beginning of a text, and returns the rest.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    digits(text.strip_prefix(b"%")?)
}

/// The same, until no escape is left: `%252E` is an escaped escape.
fn nested_escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let (mut byte, mut rest) = escape(text)?;
    while byte == b'%'
        && let Some(decoded) = digits(rest)
    {
        (byte, rest) = decoded;
    }
    Some((byte, rest))
}

fn digits(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = text else { return None };
    Some((encoding::hexadecimal(*high, *low)?, rest))
}

/// The base64 encodings of the token at each of the three alignments, without the symbols that depend on adjacent
/// bytes; in both alphabets if they differ.
fn base64_encodings(token: &[u8]) -> Vec<Finder<'static>> {
    let mut encodings = Vec::with_capacity(6);
    for skipped in 0..3 {
        let whole = token.get(skipped..).unwrap_or_default();
        let whole = whole.get(..whole.len() / 3 * 3).unwrap_or_default();
        let (standard, url_safe) = (STANDARD_NO_PAD.encode(whole), URL_SAFE_NO_PAD.encode(whole));
        if standard != url_safe {
            encodings.push(Finder::new(&standard).into_owned());
        }
        encodings.push(Finder::new(&url_safe).into_owned());
    }
    encodings
}

const fn is_base64_symbol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// The text without these ranges, which may overlap.
fn without(text: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        rest.extend_from_slice(text.get(from..range.start).unwrap_or_default());
        from = from.max(range.end);
    }
    rest.extend_from_slice(text.get(from..).unwrap_or_default());
    rest
}
