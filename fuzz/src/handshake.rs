//! Sends handshakes through a layer.

use std::{cell::RefCell, convert::Infallible, future::ready};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use axum_ws_auth::WsAuthLayer;
use http::{HeaderValue, Request, StatusCode, header::SEC_WEBSOCKET_PROTOCOL, request::Parts};
use tower::{Layer, ServiceExt, service_fn};

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = runtime();
    /// What the inner service sees.
    static SEEN: RefCell<Option<Parts>> = const { RefCell::new(None) };
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// Runs a future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// The request of a handshake, without a token.
pub fn handshake(target: &str) -> Option<Request<Body>> {
    let request =
        Request::builder().uri(target).header("host", "chat.example").header("origin", "https://chat.example");
    request.header("connection", "Upgrade").header("upgrade", "websocket").body(Body::empty()).ok()
}

/// The response, and what the inner service saw. It accepts every handshake that reaches it.
pub fn send(layer: &WsAuthLayer, request: Request<Body>) -> (Response, Option<Parts>) {
    block_on(call(layer, request, None))
}

/// The same. The inner service selects a subprotocol.
pub async fn call(
    layer: &WsAuthLayer,
    request: Request<Body>,
    subprotocol: Option<HeaderValue>,
) -> (Response, Option<Parts>) {
    let inner = service_fn(|request: Request<Body>| {
        SEEN.set(Some(request.into_parts().0));
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        response.headers_mut().extend(subprotocol.clone().map(|name| (SEC_WEBSOCKET_PROTOCOL, name)));
        ready(Ok::<_, Infallible>(response))
    });
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    (response, SEEN.take())
}
