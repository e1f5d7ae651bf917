//! Limits by the client's address.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

#[path = "address_limits/attempts.rs"]
mod attempts;
#[path = "address_limits/connections.rs"]
mod connections;
#[path = "address_limits/rules.rs"]
mod rules;
mod support;

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::connect_info::MockConnectInfo,
    response::{IntoResponse, Response},
    routing::any,
};
use axum_ws_auth::{AddressLimits, AuthenticatedUpgrade, RejectionKind, Session, WsAuthLayer, test_util::handshake};
use http::{Request, StatusCode};
use support::*;
use tokio::time::sleep;

const ALICE: &str = "192.0.2.1";
const BOB: &str = "192.0.2.2";
const MINUTE: Duration = Duration::from_secs(60);

/// The application, over connections of this peer.
fn from(app: &Router, peer: &str) -> Router {
    app.clone().layer(MockConnectInfo(SocketAddr::new(peer.parse().unwrap(), 50_000)))
}

fn connections(max: usize) -> AddressLimits {
    AddressLimits::new().connections(max).unwrap()
}

fn attempts(max: u32) -> AddressLimits {
    AddressLimits::new().failed_attempts(max, MINUTE).unwrap()
}

fn timed_layer(limits: &AddressLimits) -> WsAuthLayer {
    WsAuthLayer::new(timed).address_limits(limits)
}

/// Receives until the socket is closed, and stops at once on `/stop`. `/panic` panics, and `/none` is no WebSocket.
fn app(layer: WsAuthLayer) -> Router {
    async fn read(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(read_on)
    }
    async fn stop(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn panic(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |_| panic!("as the test wants"))
    }
    async fn none() -> impl IntoResponse {
        (StatusCode::NOT_FOUND, "nothing here")
    }
    Router::new()
        .route("/", any(read))
        .route("/stop", any(stop))
        .route("/panic", any(panic))
        .route("/none", any(none))
        .layer(layer)
}

/// The status of a handshake, and the reason of its refusal. Its connection is dropped at once.
async fn try_with(app: &Router, token: &str) -> (u16, Option<&'static str>) {
    let response = answer(app, handshake().bearer_subprotocol(token).build()).await;
    (response.status().as_u16(), refusal(&response).map(|(_, reason)| reason))
}

const ADMITTED: (u16, Option<&str>) = (101, None);
const INVALID: (u16, Option<&str>) = (401, Some("token_invalid"));
const TOO_MANY_ATTEMPTS: (u16, Option<&str>) = (429, Some("too_many_attempts"));
const TOO_MANY_CONNECTIONS: (u16, Option<&str>) = (429, Some("too_many_connections"));

/// Waits until another connection is admitted.
async fn assert_freed(app: &Router, name: &str) {
    for _ in 0..1_000 {
        if try_with(app, "probe").await == ADMITTED {
            settle().await;
            return;
        }
        settle().await;
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{name}: the place is not free");
}
