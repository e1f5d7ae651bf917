//! Sends handshakes through a layer.

use std::{cell::RefCell, convert::Infallible, future::ready};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use axum_ws_auth::WsAuthLayer;
use http::{Request, StatusCode, request::Parts};
use tower::{Layer, ServiceExt, service_fn};

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    /// What the inner service sees.
    static SEEN: RefCell<Option<Parts>> = const { RefCell::new(None) };
}

/// The request of a handshake, without a token.
pub fn handshake(target: &str) -> Option<Request<Body>> {
    let request =
        Request::builder().uri(target).header("host", "chat.example").header("origin", "https://chat.example");
    request.header("connection", "Upgrade").header("upgrade", "websocket").body(Body::empty()).ok()
}

/// The response, and what the inner service saw. It accepts every handshake that reaches it.
pub fn send(layer: &WsAuthLayer, request: Request<Body>) -> (Response, Option<Parts>) {
    let inner = service_fn(|request: Request<Body>| {
        SEEN.set(Some(request.into_parts().0));
        ready(Ok::<_, Infallible>(StatusCode::SWITCHING_PROTOCOLS.into_response()))
    });
    let response = RUNTIME.with(|runtime| runtime.block_on(layer.layer(inner).oneshot(request)));
    let Ok(response) = response;
    (response, SEEN.take())
}
