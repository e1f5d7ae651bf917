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
    /// A WebSocket: an HTTP/1.1 `GET` whose `Upgrade` list holds `websocket` (RFC 6455 §4.2.1), or an extended `CONNECT`
    /// with the protocol `websocket` (RFC 8441 §5). It may still be malformed.
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
            if parts.version == Version::HTTP_11 && !normalize(&mut parts.headers) {
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
        Version::HTTP_11 => parts.method == Method::GET && Listed::of(&parts.headers, &UPGRADE, b"websocket").is_some(),
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

/// Leaves one line `Upgrade: websocket` and one line `Connection: Upgrade`. axum's extractor and others read only the first
/// line, and expect `websocket` alone in it. Returns whether there is a `Connection: Upgrade`.
fn normalize(headers: &mut HeaderMap) -> bool {
    if Listed::of(headers, &UPGRADE, b"websocket") != Some(Listed::Alone) {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    match Listed::of(headers, &CONNECTION, b"upgrade") {
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
