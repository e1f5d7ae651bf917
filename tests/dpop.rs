//! Tokens that are bound to a key of the client are accepted with a proof, and never without.

#![cfg(feature = "dpop")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "dpop/config.rs"]
mod config;
#[path = "dpop/nonce.rs"]
mod nonce;
#[path = "dpop/proofs.rs"]
mod proofs;
#[path = "dpop/replay.rs"]
mod replay;
#[path = "dpop/sessions.rs"]
mod sessions;
#[path = "dpop/sources.rs"]
mod sources;
mod support;

use axum::{Router, response::Response};
use axum_ws_auth::{
    Dpop, WsAuthLayer,
    test_util::{self, DpopKey, HandshakeBuilder, TestToken, handshake},
};
use serde_json::{Value, json};
use support::*;

const URI: &str = "https://ws.example.com/chat";

fn dpop() -> Dpop<Value> {
    Dpop::new(test_util::verifier(), "https://ws.example.com").unwrap()
}

fn layer(dpop: &Dpop<Value>) -> WsAuthLayer {
    WsAuthLayer::new(dpop.clone()).dpop(dpop)
}

fn app(dpop: &Dpop<Value>) -> Router {
    echo_behind(layer(dpop))
}

/// A token of Alice that is bound to this key.
fn bound(key: &DpopKey) -> String {
    TestToken::new("alice").claim("cnf", json!({ "jkt": key.thumbprint() })).sign()
}

/// What a program sends.
fn native(token: &str, proof: &str) -> HandshakeBuilder {
    handshake().path("/chat").header("authorization", format!("DPoP {token}")).header("dpop", proof)
}

/// What a page sends.
fn page(token: &str, proof: &str) -> HandshakeBuilder {
    handshake().path("/chat").subprotocols(["bearer", token, &format!("dpop.{proof}")])
}

fn challenges(response: &Response) -> Vec<&str> {
    response.headers().get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect()
}

async fn reason(app: &Router, request: HandshakeBuilder) -> &'static str {
    let response = answer(app, request.build()).await;
    refusal(&response).map_or("accepted", |(_, reason)| reason)
}
