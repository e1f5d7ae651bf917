//! Tells handshakes from plain requests.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;

use super::{config::Config, summary::log_incomplete, upgrade::extract};
use crate::session::SessionKind;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A WebSocket: an HTTP/1.1 `GET` whose `Upgrade` list holds `websocket` (RFC 6455 §4.2.1), or an extended
    /// `CONNECT` with the protocol `websocket` (RFC 8441 §5). It may still be malformed.
    Handshake,
    /// Anything else. Nothing in it can be upgraded.
    Plain,
}

impl RequestKind {
    /// What its session is the session of.
    pub(super) const fn of_session(self) -> SessionKind {
        match self {
            Self::Handshake => SessionKind::WebSocket,
            Self::Plain => SessionKind::Request,
        }
    }

    /// Classifies a request, and prepares it for the inner service.
    ///
    /// A plain request loses its upgrade, because another protocol in `Upgrade` is an offer that a server may ignore
    /// (RFC 9110 §7.8). In a handshake, `Connection` and `Upgrade` get the one form that extractors read.
    pub(crate) fn of(parts: &mut Parts, config: &Config) -> Self {
        if asks_for_websocket(parts) {
            if parts.version == Version::HTTP_11 && !has_connection_upgrade(&mut parts.headers) {
                log_incomplete(config, "Connection", parts);
            }
            return Self::Handshake;
        }
        // hyper inserts it for every `Upgrade` and every `CONNECT`.
        parts.extensions.remove::<OnUpgrade>();
        // Only WebSocket clients send this header, always together with the others.
        if parts.method == Method::GET && parts.headers.contains_key(SEC_WEBSOCKET_KEY) {
            let missing = match parts.version {
                Version::HTTP_11 => "Upgrade",
                Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.1",
                _ => ":protocol",
            };
            log_incomplete(config, missing, parts);
        }
        Self::Plain
    }
}

fn asks_for_websocket(parts: &mut Parts) -> bool {
    match parts.version {
        // RFC 9110 §7.8: a server must ignore `Upgrade` in an HTTP/1.0 request.
        Version::HTTP_11 => parts.method == Method::GET && has_upgrade_websocket(&mut parts.headers),
        Version::HTTP_09 | Version::HTTP_10 => false,
        // Only an extended `CONNECT` has a path (RFC 8441 §4).
        _ => parts.method == Method::CONNECT && parts.uri.path_and_query().is_some() && names_websocket(parts),
    }
}

/// Whether the pseudo-header `:protocol` says `websocket`.
///
/// Its type exists only if hyper is built with HTTP/2. axum's extractor handles that, and checks it first.
fn names_websocket(parts: &mut Parts) -> bool {
    let connection = parts.extensions.remove::<OnUpgrade>();
    // Without a connection, the extractor takes nothing out of the request.
    let outcome = extract(parts);
    if let Some(connection) = connection {
        parts.extensions.insert(connection);
    }
    !matches!(outcome, Some(Err(WebSocketUpgradeRejection::InvalidProtocolPseudoheader(_))))
}

/// Whether `Upgrade` lists `websocket`. Leaves one line with it alone: axum's extractor and others read only the first
/// line, and expect nothing else in it.
fn has_upgrade_websocket(headers: &mut HeaderMap) -> bool {
    let listed = Listed::of(headers, &UPGRADE, "websocket");
    if matches!(listed, Some(Listed::InOneLine | Listed::InSeveralLines)) {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    listed.is_some()
}

/// Whether `Connection` lists `Upgrade`. Leaves one line.
fn has_connection_upgrade(headers: &mut HeaderMap) -> bool {
    match Listed::of(headers, &CONNECTION, "Upgrade") {
        // The handshake stays malformed. Extractors that search the text would take `no-upgrade` for the member.
        None => {
            headers.remove(CONNECTION);
            return false;
        }
        Some(Listed::Alone | Listed::InOneLine) => {}
        Some(Listed::InSeveralLines) => {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
    }
    true
}

/// How a list header holds a member, in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// The only line holds it alone.
    Alone,
    /// The only line holds others too, and is valid text.
    InOneLine,
    InSeveralLines,
}

impl Listed {
    fn of(headers: &HeaderMap, name: &HeaderName, member: &str) -> Option<Self> {
        let lines = headers.get_all(name);
        let mut iter = lines.iter();
        let first = iter.next()?;
        let is_only = iter.next().is_none();
        // Most clients write the member so.
        if is_only && (first == member || first.as_bytes().eq_ignore_ascii_case(member.as_bytes())) {
            return Some(Self::Alone);
        }
        let is_member = |other: &[u8]| other.trim_ascii().eq_ignore_ascii_case(member.as_bytes());
        let is_listed = lines.iter().flat_map(|line| line.as_bytes().split(|&b| b == b',')).any(is_member);
        is_listed.then(|| if is_only && first.to_str().is_ok() { Self::InOneLine } else { Self::InSeveralLines })
    }
}
