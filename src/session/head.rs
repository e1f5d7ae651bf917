//! The head of a handshake in compact form, kept for the whole session.

use std::net::IpAddr;

use axum::extract::{OriginalUri, RawPathParams};
use http::{
    HeaderName, HeaderValue, Method, Request, Uri, Version, header,
    request::Parts,
    uri::{Authority, PathAndQuery},
};

use crate::{
    forwarded::ClientAddr,
    verify::{PathParams, matched_params},
};

/// The request head that the verifier sees again when the session is refreshed.
///
/// It is a copy, because hyper's headers share its read buffer and would keep all of that alive. It is a single
/// allocation, because a `HeaderMap` takes five times the memory of its text. Every live session has one, so it is
/// compact.
///
/// It begins with the place of the version in [`VERSIONS`]. The method, the URI and the original URI (or an empty text)
/// follow, then the client's address, and then the path parameters and the headers: kind, name and value of each. A
/// length precedes every text.
pub(crate) struct Head(Box<[u8]>);

const VERSIONS: [Version; 5] = [Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3];

/// The kind of a pair, in its lowest bits.
const SENSITIVE: u8 = 1;
const PATH_PARAM: u8 = 2;
/// No pair, but the client's address alone. No header is both of the above.
const CLIENT: u8 = SENSITIVE | PATH_PARAM;
/// The other bits of the kind: the place in [`COMMON_NAMES`], counted from one, of a name that does not follow.
const COMMON: u32 = 2;
/// Headers of most handshakes. A constant, because the compiler sees through comparisons with it, not with a `static`.
const COMMON_NAMES: [HeaderName; 8] = [
    header::HOST,
    header::USER_AGENT,
    header::ORIGIN,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::PRAGMA,
    header::SEC_WEBSOCKET_PROTOCOL,
];
/// Headers that only concern the upgrade, and tell the verifier nothing about the client.
const UPGRADE_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
];

impl Head {
    /// The length of the text that [`from_parts`](Self::from_parts) makes, without the path parameters. Those are parts
    /// of the path, and no longer than it.
    pub(crate) fn encoded_len(parts: &Parts) -> usize {
        let mut len = 0;
        encode(parts, None, |text| len += text.len());
        len
    }

    pub(crate) fn from_parts(parts: &mut Parts) -> Self {
        let params = matched_params(parts);
        let mut len = 0;
        encode(parts, params.as_ref(), |text| len += text.len());
        let mut texts = Vec::with_capacity(len);
        encode(parts, params.as_ref(), |text| texts.extend_from_slice(text));
        Self(texts.into_boxed_slice())
    }

    /// The head again. Its extensions are axum's `OriginalUri`, the path parameters and the client's address. Never
    /// `None`, because all parts were parsed before.
    pub(crate) fn to_parts(&self) -> Option<Parts> {
        let (mut parts, ()) = Request::new(()).into_parts();
        let (version, mut rest) = self.0.split_first()?;
        parts.version = *VERSIONS.get(usize::from(*version))?;
        parts.method = Method::from_bytes(pull(&mut rest)?).ok()?;
        parts.uri = Uri::try_from(pull(&mut rest)?).ok()?;
        match pull(&mut rest)? {
            [] => {}
            original => {
                parts.extensions.insert(OriginalUri(Uri::try_from(original).ok()?));
            }
        }
        let mut params = Vec::new();
        while let Some((kind, after)) = rest.split_first() {
            rest = after;
            if *kind == CLIENT {
                let octets = pull(&mut rest)?;
                let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from).ok();
                let client = v4.or_else(|| <[u8; 16]>::try_from(octets).map(IpAddr::from).ok())?;
                parts.extensions.insert(ClientAddr::new(client));
                continue;
            }
            if *kind == PATH_PARAM {
                let (name, value) = (pull(&mut rest)?, pull(&mut rest)?);
                params.push((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?));
                continue;
            }
            let name = match usize::from(kind >> COMMON).checked_sub(1) {
                Some(common) => COMMON_NAMES.get(common)?.clone(),
                None => HeaderName::from_bytes(pull(&mut rest)?).ok()?,
            };
            let mut value = HeaderValue::from_bytes(pull(&mut rest)?).ok()?;
            value.set_sensitive(kind & SENSITIVE != 0);
            parts.headers.append(name, value);
        }
        if !params.is_empty() {
            parts.extensions.insert(PathParams::from_pairs(params));
        }
        Some(parts)
    }
}

/// Hands the encoded text over, piece by piece.
fn encode(parts: &Parts, params: Option<&RawPathParams>, mut push: impl FnMut(&[u8])) {
    let version = (0..).zip(VERSIONS).find(|(_, version)| *version == parts.version);
    push(&[version.map_or(u8::MAX, |(place, _)| place)]);
    push_text(parts.method.as_str(), &mut push);
    push_uri(Some(&parts.uri), &mut push);
    push_uri(parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri), &mut push);
    if let Some(client) = parts.extensions.get::<ClientAddr>() {
        push(&[CLIENT]);
        match client.ip() {
            IpAddr::V4(address) => push_text(address.octets(), &mut push),
            IpAddr::V6(address) => push_text(address.octets(), &mut push),
        }
    }
    for (name, value) in params.into_iter().flatten() {
        push(&[PATH_PARAM]);
        push_text(name, &mut push);
        push_text(value, &mut push);
    }
    for (name, value) in &parts.headers {
        if !UPGRADE_HEADERS.contains(name) {
            push_header(name, value, &mut push);
        }
    }
}

/// In the form that [`Uri`] parses, and faster than by [`Display`](std::fmt::Display).
fn push_uri(uri: Option<&Uri>, push: &mut impl FnMut(&[u8])) {
    let scheme = uri.and_then(Uri::scheme_str);
    let texts = [
        scheme.unwrap_or_default(),
        scheme.map_or("", |_| "://"),
        uri.and_then(Uri::authority).map_or("", Authority::as_str),
        uri.and_then(Uri::path_and_query).map_or("", PathAndQuery::as_str),
    ];
    push_len(texts.iter().map(|text| text.len()).sum(), push);
    texts.iter().for_each(|text| push(text.as_bytes()));
}

fn push_header(name: &HeaderName, value: &HeaderValue, push: &mut impl FnMut(&[u8])) {
    let kind = if value.is_sensitive() { SENSITIVE } else { 0 };
    // There are few enough for a byte.
    match (1..).zip(&COMMON_NAMES).find(|(_, common)| *common == name) {
        Some((place, _)) => push(&[kind | (place << COMMON)]),
        None => {
            push(&[kind]);
            push_text(name, push);
        }
    }
    push_text(value, push);
}

fn push_text(text: impl AsRef<[u8]>, push: &mut impl FnMut(&[u8])) {
    push_len(text.as_ref().len(), push);
    push(text.as_ref());
}

/// The longest encoding of a length, which has 32 bits.
const MAX_LEN_LEN: usize = 5;

/// Seven bits in each byte, the lowest first. The highest bit says that more follow.
fn push_len(len: usize, push: &mut impl FnMut(&[u8])) {
    // Never saturates: heads that are too large are refused.
    let mut rest = u32::try_from(len).unwrap_or(u32::MAX);
    while rest >= 0x80 {
        push(&[rest.to_le_bytes()[0] | 0x80]);
        rest >>= 7;
    }
    push(&[rest.to_le_bytes()[0]]);
}

fn pull_len(rest: &mut &[u8]) -> Option<usize> {
    let mut len = 0;
    for shift in (0..).step_by(7).take(MAX_LEN_LEN) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        len |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(len).ok();
        }
    }
    None
}

fn pull<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = pull_len(rest)?;
    let (text, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_the_same_afterwards() {
        let mut request = Request::builder()
            .method("SUBSCRIBE")
            .uri("https://example.com/chat?room=7")
            .version(Version::HTTP_2)
            .header("host", "example.com")
            .header("x-empty", "")
            .header("x-long", "l".repeat(127))
            .header("x-longer", "l".repeat(128))
            .header("x-longest", "l".repeat(70_000))
            .header("cookie", b"a=\xff".as_slice())
            .header("cookie", "b=1");
        for name in &COMMON_NAMES {
            request = request.header(name, "common");
        }
        let (mut parts, ()) = request.header("upgrade", "websocket").body(()).unwrap_or_default().into_parts();
        parts.headers.iter_mut().step_by(2).for_each(|(_, value)| value.set_sensitive(true));
        parts.extensions.insert(OriginalUri("/nested/chat?room=7".parse().unwrap_or_default()));

        for client in ["192.0.2.1", "2001:db8::1"] {
            let client = ClientAddr::new(client.parse().expect("an address"));
            parts.extensions.insert(client);
            let again = Head::from_parts(&mut parts).to_parts().expect("it was parsed before");
            assert_eq!(again.extensions.get(), Some(&client));
        }
        parts.extensions.remove::<ClientAddr>();

        let head = Head::from_parts(&mut parts);
        assert_eq!(head.0.len(), Head::encoded_len(&parts));
        let again = head.to_parts().expect("it was parsed before");
        parts.headers.remove("upgrade");
        let sensitive = |parts: &Parts| parts.headers.values().map(HeaderValue::is_sensitive).collect::<Vec<_>>();
        assert_eq!(sensitive(&again), sensitive(&parts));
        assert_eq!((again.headers, again.uri, again.version), (parts.headers, parts.uri, parts.version));
        assert_eq!(again.method, "SUBSCRIBE");
        assert_eq!(again.extensions.get::<OriginalUri>().map(|uri| uri.path()), Some("/nested/chat"));
        assert_eq!(again.extensions.get::<ClientAddr>(), None);
    }
}
