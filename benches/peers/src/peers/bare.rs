//! What all the others stand on: the routes alone, for everybody.

use axum::{
    Router,
    extract::ws::{WebSocket, WebSocketUpgrade},
    response::Response,
    routing::any,
};
use http::StatusCode;

use super::Peer;
use crate::{
    app::{App, IDLE, SOCKET},
    tokens::SUBJECT,
};

pub(super) const AXUM: Peer = Peer::new("axum without authentication", |_| Some(App::Axum(axum())));
pub(super) const AXUM_07: Peer = Peer::new("axum 0.7 without authentication", |_| Some(App::Axum07(axum_07())));
pub(super) const AXUM_SMALL_BUFFER: Peer =
    Peer::new("axum without authentication, read buffer of 8 KiB", |_| Some(App::Axum(small_buffer())));

fn axum() -> Router {
    Router::new().route(IDLE, any(async || StatusCode::OK)).route(SOCKET, any(async |upgrade| drain(upgrade)))
}

fn small_buffer() -> Router {
    Router::new().route(SOCKET, any(async |upgrade| drain_small(upgrade)))
}

fn axum_07() -> axum07::Router {
    axum07::Router::new()
        .route(IDLE, axum07::routing::any(|| async { StatusCode::OK }))
        .route(SOCKET, axum07::routing::any(|upgrade| async { drain_07(upgrade) }))
}

/// Completes the handshake and reads until the client leaves.
pub(super) fn drain(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket: WebSocket| while let Some(Ok(_)) = socket.recv().await {})
}

/// The same with the buffer that this crate reads into.
pub(super) fn drain_small(upgrade: WebSocketUpgrade) -> Response {
    drain(upgrade.read_buffer_size(8 * 1024))
}

pub(super) fn drain_07(upgrade: axum07::extract::WebSocketUpgrade) -> axum07::response::Response {
    upgrade.on_upgrade(|mut socket| async move { while let Some(Ok(_)) = socket.recv().await {} })
}

/// What a handler makes of the claims: 200 shows that they are there, and those of the token.
pub(super) fn greet(subject: &str) -> StatusCode {
    if subject == SUBJECT { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
}
