//! What counts as a WebSocket handshake, and what is left of an upgrade for everything else.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;

use super::upgrade::extract;
use crate::telemetry;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A WebSocket: an HTTP/1.1 `GET` whose `Upgrade` list holds `websocket` (RFC 6455 §4.2.1), or an extended `CONNECT`
    /// with the protocol `websocket` (RFC 8441 §5). It may still be malformed.
    Handshake,
    /// Anything else. Nothing in it can be upgraded.
    Plain,
}

impl RequestKind {
    /// Classifies a request, and prepares it for whoever handles it next.
    ///
    /// A plain request loses its means to upgrade: any other protocol in `Upgrade` is an offer, and is ignored
    /// (RFC 9110 §7.8). In a handshake, `Connection` and `Upgrade` are brought into the one form that extractors read.
    pub(crate) fn of(parts: &mut Parts) -> Self {
        if asks_for_websocket(parts) {
            if parts.version == Version::HTTP_11 {
                normalize(&mut parts.headers);
            }
            return Self::Handshake;
        }
        // hyper provides it for every `Upgrade` and every `CONNECT`.
        parts.extensions.remove::<OnUpgrade>();
        // Only a WebSocket client sends this header, and no client sends it without the rest.
        if parts.method == Method::GET && parts.headers.contains_key(SEC_WEBSOCKET_KEY) {
            telemetry::handshake_incomplete(match parts.version {
                Version::HTTP_11 => "Upgrade",
                Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.1",
                _ => ":protocol",
            });
        }
        Self::Plain
    }
}

fn asks_for_websocket(parts: &mut Parts) -> bool {
    match parts.version {
        // RFC 9110 §7.8: an `Upgrade` in an HTTP/1.0 request is to be ignored.
        Version::HTTP_11 => parts.method == Method::GET && Listed::of(&parts.headers, &UPGRADE, b"websocket").is_some(),
        Version::HTTP_09 | Version::HTTP_10 => false,
        // Only an extended `CONNECT` has a path (RFC 8441 §4).
        _ => parts.method == Method::CONNECT && parts.uri.path_and_query().is_some() && names_websocket(parts),
    }
}

/// Whether the pseudo-header `:protocol` says `websocket`.
///
/// Its type exists only where hyper has HTTP/2 compiled in. axum's extractor knows, and looks at it first.
fn names_websocket(parts: &mut Parts) -> bool {
    let connection = parts.extensions.remove::<OnUpgrade>();
    // Without a connection it takes nothing out of the request.
    let outcome = extract(parts);
    if let Some(connection) = connection {
        parts.extensions.insert(connection);
    }
    !matches!(outcome, Some(Err(WebSocketUpgradeRejection::InvalidProtocolPseudoheader(_))))
}

/// Leaves one line `Upgrade: websocket` and one line `Connection: Upgrade`. axum's extractor and others read the first
/// line alone, and want it to hold nothing but `websocket`.
fn normalize(headers: &mut HeaderMap) {
    if Listed::of(headers, &UPGRADE, b"websocket") != Some(Listed::Alone) {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    match Listed::of(headers, &CONNECTION, b"upgrade") {
        // Without it the handshake is malformed, and stays so: whoever completes it refuses.
        None => telemetry::handshake_incomplete("Connection"),
        Some(Listed::Alone | Listed::InOneLine) => {}
        Some(Listed::InSeveralLines) => {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
    }
}

/// How a list header holds a member, in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// It is the value of the only line.
    Alone,
    /// The only line holds others too, and can be read as text.
    InOneLine,
    InSeveralLines,
}

impl Listed {
    fn of(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> Option<Self> {
        let mut lines = headers.get_all(name).iter();
        let first = lines.next()?;
        let is_only = lines.next().is_none();
        if is_only && first.as_bytes().eq_ignore_ascii_case(member) {
            return Some(Self::Alone);
        }
        let is_member = |other: &[u8]| other.trim_ascii().eq_ignore_ascii_case(member);
        let mut all = headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
        all.any(is_member).then(
            || {
                if is_only && first.to_str().is_ok() { Self::InOneLine } else { Self::InSeveralLines }
            },
        )
    }
}
