//! The head of a handshake in compact form, kept for the whole session.

use axum::extract::{OriginalUri, RawPathParams};
use http::{
    HeaderName, HeaderValue, Method, Request, Uri, Version, header,
    request::Parts,
    uri::{Authority, PathAndQuery},
};

use crate::verify::{PathParams, matched_params};

/// The request head that the verifier sees again when the session is refreshed.
///
/// It is a copy, because hyper's headers share its read buffer and would keep all of that alive. It is a single
/// allocation, because a `HeaderMap` takes five times the memory of its text.
pub(crate) struct Head {
    method: Method,
    version: Version,
    /// The URI, the original URI (or an empty text), and then the path parameters and the headers: name, value and flag
    /// of each. A length precedes every text.
    texts: Box<[u8]>,
}

const PLAIN: u8 = 0;
const SENSITIVE: u8 = 1;
const PATH_PARAM: u8 = 2;
/// Headers that only concern the upgrade, and tell the verifier nothing about the client.
static UPGRADE_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
];

impl Head {
    /// The length of the text that [`from_parts`](Self::from_parts) would allocate, without the path parameters. Those
    /// are parts of the path, and no longer than it.
    pub(crate) fn encoded_len(parts: &Parts) -> usize {
        let uris: usize = uris(parts).into_iter().map(|uri| 4 + uri.map_or(0, uri_len)).sum();
        let headers: usize = headers(parts).map(|(name, value)| name.as_str().len() + value.len() + 9).sum();
        uris + headers
    }

    pub(crate) fn from_parts(parts: &mut Parts) -> Self {
        let params = matched_params(parts);
        let params_len = params.as_ref().map_or(0, params_len);
        let mut texts = Vec::with_capacity(Self::encoded_len(parts) + params_len);
        for uri in uris(parts) {
            push_uri(&mut texts, uri);
        }
        if let Some(params) = &params {
            for (name, value) in params {
                push_pair(&mut texts, name.as_bytes(), value.as_bytes(), PATH_PARAM);
            }
        }
        for (name, value) in headers(parts) {
            let flag = if value.is_sensitive() { SENSITIVE } else { PLAIN };
            push_pair(&mut texts, name.as_str().as_bytes(), value.as_bytes(), flag);
        }
        Self { method: parts.method.clone(), version: parts.version, texts: texts.into_boxed_slice() }
    }

    /// The head again. Its extensions are axum's `OriginalUri` and the path parameters. Never `None`, because all parts
    /// were parsed before.
    pub(crate) fn to_parts(&self) -> Option<Parts> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.version = self.version;
        let mut rest = &*self.texts;
        parts.uri = Uri::try_from(pull(&mut rest)?).ok()?;
        match pull(&mut rest)? {
            [] => {}
            original => {
                parts.extensions.insert(OriginalUri(Uri::try_from(original).ok()?));
            }
        }
        let mut params = Vec::new();
        while !rest.is_empty() {
            let (name, value) = (pull(&mut rest)?, pull(&mut rest)?);
            let (flag, after) = rest.split_first()?;
            rest = after;
            if *flag == PATH_PARAM {
                params.push((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?));
                continue;
            }
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(*flag == SENSITIVE);
            parts.headers.append(HeaderName::from_bytes(name).ok()?, value);
        }
        if !params.is_empty() {
            parts.extensions.insert(PathParams::from_pairs(params));
        }
        Some(parts)
    }
}

fn uris(parts: &Parts) -> [Option<&Uri>; 2] {
    [Some(&parts.uri), parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri)]
}

fn headers(parts: &Parts) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    parts.headers.iter().filter(|(name, _)| !UPGRADE_HEADERS.contains(name))
}

fn params_len(params: &RawPathParams) -> usize {
    params.iter().map(|(name, value)| name.len() + value.len() + 9).sum()
}

/// In the form that [`Uri`] parses, and faster than by [`Display`](std::fmt::Display).
fn push_uri(texts: &mut Vec<u8>, uri: Option<&Uri>) {
    push_len(texts, uri.map_or(0, uri_len));
    if let Some(uri) = uri {
        for part in uri_parts(uri) {
            texts.extend_from_slice(part.as_bytes());
        }
    }
}

fn uri_len(uri: &Uri) -> usize {
    uri_parts(uri).into_iter().map(str::len).sum()
}

fn uri_parts(uri: &Uri) -> [&str; 4] {
    let scheme = uri.scheme_str();
    [
        scheme.unwrap_or_default(),
        scheme.map_or("", |_| "://"),
        uri.authority().map_or("", Authority::as_str),
        uri.path_and_query().map_or("", PathAndQuery::as_str),
    ]
}

fn push_pair(texts: &mut Vec<u8>, name: &[u8], value: &[u8], flag: u8) {
    push(texts, name);
    push(texts, value);
    texts.push(flag);
}

fn push(texts: &mut Vec<u8>, text: &[u8]) {
    push_len(texts, text.len());
    texts.extend_from_slice(text);
}

fn push_len(texts: &mut Vec<u8>, len: usize) {
    // Never saturates: heads that are too large are refused.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    texts.extend_from_slice(&len.to_be_bytes());
}

fn pull<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (text, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *rest = after;
    Some(text)
}
