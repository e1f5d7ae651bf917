//! Copies of the token in other places of the request.
//!
//! A proxy in front repeats the URL in headers of its own (`X-Original-URI`, `Forwarded`), a browser in `Referer`, and a
//! client may send its token twice. What was stripped from its source would still be seen there.

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

/// A token at least this long is in no other text by chance, as `t` is in `chat`.
const NO_COINCIDENCE: usize = 16;

/// Headers in which nothing is cut. The list of subprotocols has rules of its own. The origin and the host must be checked
/// as they are. The others are about the upgrade alone.
static UNTOUCHED: [HeaderName; 8] = [
    CONNECTION,
    HOST,
    ORIGIN,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    UPGRADE,
];

/// Finds a token in texts: as it is, percent-encoded (also more than once), and in base64 of either alphabet, alone or in
/// a longer text. A short token is only found where it is the whole text.
pub(super) struct Mirror<'a> {
    token: &'a [u8],
    plain: OnceCell<Finder<'a>>,
    /// The token, percent-decoded as far as it goes.
    decoded: OnceCell<Finder<'static>>,
    base64: OnceCell<Vec<Finder<'static>>>,
    /// The text that is searched, percent-decoded as far as it goes.
    scratch: RefCell<Decoded>,
}

impl<'a> Mirror<'a> {
    /// Prepares nothing yet: most texts are shorter than the token.
    pub(super) const fn of(token: &'a Token) -> Self {
        Self {
            token: token.expose().as_bytes(),
            plain: OnceCell::new(),
            decoded: OnceCell::new(),
            base64: OnceCell::new(),
            scratch: RefCell::new(Decoded::new()),
        }
    }

    /// Whether a text of that length is long enough for it. Every spelling is at least as long as the token.
    pub(super) const fn fits_in(&self, len: usize) -> bool {
        len >= self.token.len()
    }

    pub(super) fn is(&self, token: &Token) -> bool {
        self.token == token.expose().as_bytes()
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        !self.places_in(text).is_empty()
    }

    /// Cuts the token out of all header values. What is left of them stays.
    pub(super) fn cut_from(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            if !self.fits_in(value.len()) || UNTOUCHED.contains(name) {
                continue;
            }
            let places = self.places_in(value.as_bytes());
            if places.is_empty() {
                continue;
            }
            // Parts of a header value are one.
            let rest = HeaderValue::from_bytes(&without(value.as_bytes(), &places));
            *value = rest.unwrap_or(HeaderValue::from_static(""));
            value.set_sensitive(true);
        }
    }

    /// Where the token is in a text, in order. It allocates next to nothing where the token is not.
    fn places_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        if !self.fits_in(text.len()) {
            return Vec::new();
        }
        if self.token.len() < NO_COINCIDENCE {
            return (text == self.token).then_some(0..text.len()).into_iter().collect();
        }
        let mut places = Vec::new();
        places.extend(self.plain().find_iter(text).map(|at| at..at + self.token.len()));
        if memchr(b'%', text).is_some() {
            self.percent_encoded(text, &mut places);
        }
        self.base64(text, &mut places);
        places.sort_unstable_by_key(|place| place.start);
        places
    }

    fn plain(&self) -> &Finder<'a> {
        self.plain.get_or_init(|| Finder::new(self.token))
    }

    fn percent_encoded(&self, text: &[u8], places: &mut Vec<Range<usize>>) {
        let mut decoded = self.scratch.borrow_mut();
        decoded.read(text);
        let mut find = |token: &Finder<'_>| {
            for at in token.find_iter(&decoded.bytes) {
                let start = decoded.starts.get(at);
                let end = decoded.starts.get(at + token.needle().len());
                places.extend(start.map(|&start| start..end.copied().unwrap_or(text.len())));
            }
        };
        find(self.plain());
        // A token with escapes in it may have been decoded with the text.
        if memchr(b'%', self.token).is_some() {
            find(self.decoded.get_or_init(|| {
                let mut decoded = Decoded::new();
                decoded.read(self.token);
                Finder::new(&decoded.bytes).into_owned()
            }));
        }
    }

    /// Finds whole runs of base64 symbols with the token in them, and the padding behind.
    fn base64(&self, text: &[u8], places: &mut Vec<Range<usize>>) {
        let least = self.token.len() / 3 * 4;
        let mut start = 0;
        for run in text.split(|&b| !is_symbol(b)) {
            let mut place = start..start + run.len();
            start = place.end + 1;
            if run.len() < least {
                continue;
            }
            let spellings = self.base64.get_or_init(|| base64_of(self.token));
            if !spellings.iter().any(|spelling| spelling.find(run).is_some()) {
                continue;
            }
            if place.start.checked_sub(1).is_some_and(|before| text.get(before) == Some(&b'%')) {
                // Two digits of an escape.
                place.start += 2;
            }
            while text.get(place.end) == Some(&b'=') {
                place.end += 1;
            }
            places.push(place);
        }
    }
}

/// A text in which nothing can be percent-decoded any more.
struct Decoded {
    bytes: Vec<u8>,
    /// Where the spelling of each byte begins.
    starts: Vec<usize>,
}

impl Decoded {
    const fn new() -> Self {
        Self { bytes: Vec::new(), starts: Vec::new() }
    }

    fn read(&mut self, text: &[u8]) {
        self.bytes.clear();
        self.starts.clear();
        let mut rest = text;
        while let [first, after @ ..] = rest {
            self.starts.push(text.len() - rest.len());
            let (byte, after) = escaped(rest).unwrap_or((*first, after));
            self.bytes.push(byte);
            rest = after;
        }
    }
}

/// The byte that an escape stands for, and what follows. `%252E` is an escaped escape.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = text.strip_prefix(b"%")?;
    let mut byte = None;
    while let [high, low, after @ ..] = rest {
        let Some(value) = encoding::hexadecimal(*high, *low) else { break };
        byte = Some((value, after));
        if value != b'%' {
            break;
        }
        rest = after;
    }
    byte
}

/// What base64 makes of the token behind none, one or two bytes of a group, without the symbols that depend on what is
/// around it; in both alphabets, if they differ.
fn base64_of(token: &[u8]) -> Vec<Finder<'static>> {
    let mut spellings = Vec::with_capacity(6);
    for skipped in 0..3 {
        let whole = token.get(skipped..).unwrap_or_default();
        let whole = whole.get(..whole.len() / 3 * 3).unwrap_or_default();
        let (standard, url_safe) = (STANDARD_NO_PAD.encode(whole), URL_SAFE_NO_PAD.encode(whole));
        if standard != url_safe {
            spellings.push(Finder::new(&standard).into_owned());
        }
        spellings.push(Finder::new(&url_safe).into_owned());
    }
    spellings
}

const fn is_symbol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// A text without these parts, which may overlap.
fn without(text: &[u8], places: &[Range<usize>]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(text.len());
    let mut from = 0;
    for place in places {
        rest.extend_from_slice(text.get(from..place.start).unwrap_or_default());
        from = from.max(place.end);
    }
    rest.extend_from_slice(text.get(from..).unwrap_or_default());
    rest
}
