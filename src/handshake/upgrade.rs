//! The upgrade of a handshake: withheld from everybody, taken by one.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::extract::{
    FromRequestParts,
    ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
};
use http::{Request, request::Parts};
use hyper::upgrade::OnUpgrade;

/// Takes the connection out of a well-formed WebSocket handshake, so that nobody else can upgrade it.
pub(super) fn withhold(parts: &mut Parts) -> Option<OnUpgrade> {
    take(parts).map(|(connection, _)| connection)
}

/// Takes the connection, and axum's upgrade that answers the handshake. That upgrade itself has no connection.
pub(super) fn take(parts: &mut Parts) -> Option<(OnUpgrade, WebSocketUpgrade)> {
    let connection = parts.extensions.remove::<OnUpgrade>()?;
    parts.extensions.insert(no_connection());
    match extract(parts) {
        Some(Ok(upgrade)) => Some((connection, upgrade)),
        _ => {
            parts.extensions.insert(connection);
            None
        }
    }
}

/// Runs axum's extractor, an async function that never waits.
pub(super) fn extract(parts: &mut Parts) -> Option<Result<WebSocketUpgrade, WebSocketUpgradeRejection>> {
    let extraction = pin!(WebSocketUpgrade::from_request_parts(parts, &()));
    match extraction.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// A placeholder for the connection: axum's extractor insists on one.
pub(crate) fn no_connection() -> OnUpgrade {
    hyper::upgrade::on(Request::new(()))
}
