//! What a handshake is.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::extract::{FromRequestParts, ws::WebSocketUpgrade};
use http::{Method, Request, header::UPGRADE, request::Parts};
use hyper::upgrade::OnUpgrade;

/// Whether the request asks for another protocol, whichever: nothing gets past because it was not recognised. hyper gives
/// the connection to no other request.
pub(crate) fn is_handshake(parts: &Parts) -> bool {
    parts.headers.contains_key(UPGRADE) || parts.method == Method::CONNECT
}

/// The WebSocket that a well-formed handshake asks for. axum's extractor is an async function that never waits.
fn upgrade_of(parts: &mut Parts) -> Option<WebSocketUpgrade> {
    let extraction = pin!(WebSocketUpgrade::from_request_parts(parts, &()));
    match extraction.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(upgrade) => upgrade.ok(),
        Poll::Pending => None,
    }
}

/// Takes the connection out of a well-formed WebSocket handshake, so that nobody else can upgrade it.
pub(crate) fn withhold(parts: &mut Parts) -> Option<OnUpgrade> {
    claim(parts).map(|(connection, _)| connection)
}

/// The same, with what answers the handshake. It would upgrade nothing.
pub(crate) fn claim(parts: &mut Parts) -> Option<(OnUpgrade, WebSocketUpgrade)> {
    let connection = parts.extensions.remove::<OnUpgrade>()?;
    parts.extensions.insert(no_connection());
    match upgrade_of(parts) {
        Some(upgrade) => Some((connection, upgrade)),
        None => {
            parts.extensions.insert(connection);
            None
        }
    }
}

/// What axum takes for a connection, and is none.
pub(crate) fn no_connection() -> OnUpgrade {
    hyper::upgrade::on(Request::new(()))
}
