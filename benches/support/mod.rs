//! Shared by the benchmarks. This module has the applications that are measured: authenticated by the layer, by hand,
//! and not at all.

#![allow(clippy::print_stdout, dead_code, reason = "each bench uses its part, and prints figures")]

pub(crate) mod by_hand;
pub(crate) mod cases;
pub(crate) mod goal;
pub(crate) mod keys;
pub(crate) mod live_sessions;
pub(crate) mod messages;
pub(crate) mod record;
pub(crate) mod server;
pub(crate) mod spread;
pub(crate) mod tcp;

use std::{env, time::Duration};

use axum::{Extension, Router, extract::ws::WebSocketUpgrade, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, ConfigError, WsAuthLayer,
    jwt::{JwtKey, JwtVerifier},
    test_util::{HandshakeBuilder, TEST_SECRET, TestToken, handshake},
};
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use serde::Deserialize;

use by_hand::check_by_hand;

/// No handler needs them, but every token's claims are parsed.
#[derive(Clone, Deserialize)]
pub(crate) struct Claims {
    sub: String,
}

/// As criterion decides it: `cargo bench` says `--bench`, and what says `--test` wants to see it run, not to measure.
pub(crate) fn is_test() -> bool {
    let has = |wanted| env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "chat";
const ISSUED_AT: u64 = 1_700_000_000;
/// In the year 2286.
const EXPIRES_AT: u64 = 9_999_999_999;

/// The claims that an issuer signs for a user. The same in every run, so counts can be compared.
pub(crate) fn claims(subject: &str) -> TestToken {
    let claims = TestToken::new(subject).claim("iss", ISSUER).claim("aud", AUDIENCE);
    claims.claim("iat", ISSUED_AT).claim("exp", EXPIRES_AT)
}

pub(crate) fn token() -> String {
    claims("alice").sign()
}

/// Expires at a time that a session can wait for.
pub(crate) fn session_token(subject: &str) -> String {
    claims(subject).expires_in(Duration::from_secs(3600)).sign()
}

/// A handshake as Chromium sends it, without a cookie.
pub(crate) fn chromium(subject: &str) -> HandshakeBuilder {
    handshake()
        .header("host", "chat.example.com")
        .header("pragma", "no-cache")
        .header("cache-control", "no-cache")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        )
        .origin("https://chat.example.com")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-GB,en-US;q=0.9,en;q=0.8")
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .bearer_subprotocol(&session_token(subject))
}

/// Verifies the same claims of the same token as [`check_by_hand`].
pub(crate) fn layer() -> WsAuthLayer {
    WsAuthLayer::new(verifier(JwtKey::secret(TEST_SECRET)))
}

/// Verifies with this key.
pub(crate) fn verifier(key: Result<JwtKey, ConfigError>) -> JwtVerifier<Claims> {
    let builder = JwtVerifier::builder().key(key.expect("a key")).issuer(ISSUER).audience(AUDIENCE);
    builder.build().expect("a key and a backend")
}

pub(crate) fn authenticated() -> Router {
    authenticated_with(layer())
}

pub(crate) fn authenticated_with(layer: WsAuthLayer) -> Router {
    async fn handler(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    Router::new().route("/", any(handler)).layer(layer)
}

pub(crate) fn unauthenticated() -> Router {
    async fn handler(upgrade: WebSocketUpgrade) -> Response {
        drain(upgrade)
    }
    Router::new().route("/", any(handler))
}

pub(crate) fn authenticated_by_hand() -> Router {
    async fn handler(Extension(_): Extension<Claims>, upgrade: WebSocketUpgrade) -> Response {
        drain(upgrade)
    }
    check_by_hand(Router::new().route("/", any(handler)))
}

/// Completes the handshake and reads until the client leaves.
pub(crate) fn drain(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}
