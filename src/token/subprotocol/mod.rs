//! Tokens in the list of subprotocols, `Sec-WebSocket-Protocol`.

mod format;
mod rewrite;
mod scan;
mod selection;

use std::iter;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use memchr::memchr;

use super::encoding;
use crate::error::ConfigError;

pub(super) use format::Format;
pub(super) use rewrite::Rewrite;
pub(super) use scan::Scan;
pub(crate) use selection::Selection;

/// Checks that a text consists of the characters of a subprotocol name.
pub(crate) fn check_subprotocol(text: &str) -> Result<(), ConfigError> {
    if !text.is_empty() && is_name(text.as_bytes()) {
        Ok(())
    } else {
        Err(ConfigError::InvalidSubprotocol(text.to_owned()))
    }
}

/// The elements of a list, with the space around them. A token is long, so this does not look at each byte by itself.
fn elements(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line.as_bytes());
    iter::from_fn(move || {
        let text = rest?;
        let (element, after) = match memchr(b',', text) {
            Some(comma) => (text.get(..comma)?, text.get(comma + 1..)),
            None => (text, None),
        };
        rest = after;
        Some(element)
    })
}

/// The names in one header line. Empty list elements are ignored (RFC 9110 §5.6.1).
fn names_in(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    elements(line).map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// The names in all header lines, which form one list (RFC 6455 §11.3.4).
fn all_names(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(names_in)
}

fn is_name(name: &[u8]) -> bool {
    name.iter().copied().all(encoding::is_tchar)
}
