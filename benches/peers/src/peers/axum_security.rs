//! axum-security: a layer that looks, and an extractor that refuses.

use axum::{Router, extract::ws::WebSocketUpgrade, response::Response, routing::any};
use axum_security::jwt::{Jwt, JwtContext};

use super::{
    Peer,
    bare::{drain, greet},
};
use crate::{
    app::{App, IDLE, SOCKET},
    tokens::Claims,
};

pub(super) const PEER: Peer = Peer::new("axum-security", |algorithm| {
    let context = JwtContext::builder()
        .encoding_key(algorithm.encoding_key_10())
        .decoding_key(algorithm.decoding_key_10())
        .validation(algorithm.validation_10())
        .build::<Claims>();
    Some(App::Axum(Router::new().route(IDLE, any(idle)).route(SOCKET, any(socket)).layer(context)))
});

async fn idle(Jwt(claims): Jwt<Claims>) -> http::StatusCode {
    greet(&claims.sub)
}

async fn socket(_: Jwt<Claims>, upgrade: WebSocketUpgrade) -> Response {
    drain(upgrade)
}
