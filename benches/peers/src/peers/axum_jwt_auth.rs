//! axum-jwt-auth: an extractor.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, ws::WebSocketUpgrade},
    response::Response,
    routing::any,
};
use axum_jwt_auth::{Claims, Decoder, LocalDecoder};

use super::{
    Peer,
    bare::{drain, greet},
};
use crate::{
    app::{App, IDLE, SOCKET},
    tokens,
};

pub(super) const PEER: Peer = Peer::new("axum-jwt-auth", |algorithm| {
    let keys = vec![algorithm.decoding_key_10()];
    let decoder = LocalDecoder::builder().keys(keys).validation(algorithm.validation_10()).build();
    let state = AppState { decoder: Arc::new(decoder.expect("a key and a validation")) };
    Some(App::Axum(Router::new().route(IDLE, any(idle)).route(SOCKET, any(socket)).with_state(state)))
});

#[derive(Clone, FromRef)]
struct AppState {
    decoder: Decoder<tokens::Claims>,
}

async fn idle(user: Claims<tokens::Claims>) -> http::StatusCode {
    greet(&user.claims.sub)
}

async fn socket(_: Claims<tokens::Claims>, upgrade: WebSocketUpgrade) -> Response {
    drain(upgrade)
}
