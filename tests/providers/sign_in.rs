//! Access tokens of real providers open sockets.

use axum::Router;
use axum_ws_auth::{WsAuthLayer, jwt::JwtVerifier};
use serde_json::Value;

use crate::{
    NOWHERE,
    glewlwyd::{AUDIENCE, Glewlwyd},
    node::{Node, is_open},
    oidc_provider::{JWT, OidcProvider},
};

#[tokio::test]
async fn access_token_of_oidc_provider_opens_a_socket_for_its_audience_only() {
    let mut provider = OidcProvider::start(NOWHERE).await;
    let node = node_for(&provider.issuer, JWT).await;
    let other = node_for(&provider.issuer, "urn:another").await;
    let token = provider.sign_in("laptop", "alice", JWT).await;

    let mut socket = node.open(&token).await.expect("a 101");
    assert!(is_open(&mut socket).await);
    assert_eq!(other.open(&token).await.err(), Some(401));
}

#[tokio::test]
async fn access_token_of_glewlwyd_opens_a_socket_for_its_audience_only() {
    let mut provider = Glewlwyd::start(NOWHERE).await;
    let node = node_for(&provider.issuer, AUDIENCE).await;
    let other = node_for(&provider.issuer, "https://other.example.com").await;
    let token = provider.sign_in("laptop", "alice").await.access_token;

    let mut socket = node.open(&token).await.expect("a 101");
    assert!(is_open(&mut socket).await);
    assert_eq!(other.open(&token).await.err(), Some(401));
}

#[tokio::test]
async fn bound_token_without_a_proof_is_refused() {
    let mut provider = OidcProvider::start(NOWHERE).await;
    let node = node_for(&provider.issuer, JWT).await;
    let token = provider.bound_token(JWT).await;

    assert_eq!(node.open(&token).await.err(), Some(401));
}

/// Finds the keys by discovery, and takes access tokens only (RFC 9068).
async fn node_for(issuer: &str, audience: &str) -> Node {
    let verifier = JwtVerifier::<Value>::discover(issuer).audience(audience).token_type("at+jwt").await;
    let mut node = Node::bind().await;
    node.serve(WsAuthLayer::new(verifier.expect("a provider that answers")), Router::new());
    node
}
