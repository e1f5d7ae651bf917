//! Who a client behind proxies is, and what it calls the server.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

#[path = "forwarded/addresses.rs"]
mod addresses;
#[path = "forwarded/forgery.rs"]
mod forgery;
#[path = "forwarded/same_origin.rs"]
mod same_origin;
mod support;
#[path = "forwarded/views.rs"]
mod views;

use std::net::SocketAddr;

use axum::{Extension, Router, body::Body, extract::ConnectInfo, response::IntoResponse, routing::any};
use axum_ws_auth::{ClientAddr, TrustedProxies, WsAuthLayer};
use http::{HeaderValue, Request};
use support::*;

/// The proxies of these tests: `10.0.0.0/8`, `192.0.2.1` and `2001:db8:1::/48`.
const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"];
const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "203.0.113.9";

fn x_forwarded() -> TrustedProxies {
    TrustedProxies::x_forwarded(PROXIES).unwrap()
}

fn forwarded() -> TrustedProxies {
    TrustedProxies::forwarded(PROXIES).unwrap()
}

/// Responds with the client's address.
fn who_behind(layer: WsAuthLayer) -> Router {
    async fn who(client: Option<Extension<ClientAddr>>) -> impl IntoResponse {
        let client = client.map_or_else(|| "unknown".to_owned(), |Extension(client)| client.to_string());
        ([("x-client", client.clone())], client)
    }
    Router::new().route("/", any(who)).layer(layer)
}

/// A plain request with a token, over a connection of this peer.
fn request<'a>(peer: Option<&str>, headers: impl IntoIterator<Item = (&'a str, HeaderValue)>) -> Request<Body> {
    let mut request = Request::get("/").header("authorization", format!("Bearer {TOKEN}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    come_from(&mut request, peer);
    request
}

fn come_from(request: &mut Request<Body>, peer: Option<&str>) {
    if let Some(peer) = peer {
        let address = SocketAddr::new(peer.parse().unwrap(), 50_000);
        request.extensions_mut().insert(ConnectInfo(address));
    }
}

/// The client's address, as the handler sees it.
async fn client<'a>(
    proxies: Option<TrustedProxies>,
    peer: Option<&str>,
    headers: impl IntoIterator<Item = (&'a str, HeaderValue)>,
) -> String {
    let layer = opaque_layer();
    let layer = match proxies {
        Some(proxies) => layer.trusted_proxies(proxies),
        None => layer,
    };
    text(answer(&who_behind(layer), request(peer, headers)).await).await
}
