//! Tokens that a real provider has bound to a key (RFC 9449), and proofs of the npm package `dpop`.

use axum::Router;
use axum_ws_auth::{Dpop, WsAuthLayer, jwt::JwtVerifier};
use serde_json::Value;

use crate::{
    NOWHERE,
    node::{Node, is_open},
    oidc_provider::{JWT, OidcProvider},
};

#[tokio::test]
async fn program_presents_its_bound_token_and_a_proof_in_headers() {
    let (mut provider, node) = start(|verifier| verifier).await;
    let token = provider.bound_token(JWT).await;
    let proof = provider.proof(&node.url("/chat"), &token, None).await;
    let headers = [("authorization", format!("DPoP {token}")), ("dpop", proof)];

    let mut socket = node.open_with(&headers).await.expect("a 101");
    assert!(is_open(&mut socket).await);
    let replayed = node.open_with(&headers).await.expect_err("a refusal");
    assert_eq!(replayed.status(), 401);
    assert!(challenge(&replayed).contains(r#"error="invalid_dpop_proof""#), "{}", challenge(&replayed));
}

#[tokio::test]
async fn page_presents_its_bound_token_and_a_proof_as_subprotocols() {
    let (mut provider, node) = start(|verifier| verifier).await;
    let token = provider.bound_token(JWT).await;
    let offer = |proof| [("sec-websocket-protocol", format!("bearer, {token}, dpop.{proof}"))];
    // A page writes the URL that it gives to `new WebSocket`.
    let url = node.url("/chat").replace("http://", "ws://");
    let proof = provider.proof(&url, &token, None).await;
    let for_elsewhere = provider.proof("wss://elsewhere.example.com/chat", &token, None).await;
    let of_a_thief = {
        // The same token, and a new key.
        provider.bound_token(JWT).await;
        provider.proof(&url, &token, None).await
    };

    let mut socket = node.open_with(&offer(proof)).await.expect("a 101");
    assert!(is_open(&mut socket).await);
    for proof in [for_elsewhere, of_a_thief] {
        assert_eq!(node.open_with(&offer(proof)).await.expect_err("a refusal").status(), 401);
    }
    assert_eq!(node.open(&token).await.err(), Some(401));
}

#[tokio::test]
async fn client_repeats_its_proof_with_the_nonce_of_the_server() {
    let (mut provider, node) = start(|verifier| verifier.require_nonce().expect("random numbers")).await;
    let token = provider.bound_token(JWT).await;
    let url = node.url("/chat");
    let with = |proof| [("authorization", format!("DPoP {token}")), ("dpop", proof)];

    let refusal = node.open_with(&with(provider.proof(&url, &token, None).await)).await.expect_err("a refusal");
    assert_eq!(refusal.status(), 401);
    assert!(challenge(&refusal).contains(r#"error="use_dpop_nonce""#), "{}", challenge(&refusal));
    let nonce = refusal.headers()["dpop-nonce"].to_str().expect("ASCII");
    let proof = provider.proof(&url, &token, Some(nonce)).await;
    assert!(node.open_with(&with(proof)).await.is_ok());
}

fn challenge<T>(response: &http::Response<T>) -> &str {
    response.headers()["www-authenticate"].to_str().expect("ASCII")
}

async fn start(set: impl FnOnce(Dpop<Value>) -> Dpop<Value>) -> (OidcProvider, Node) {
    let provider = OidcProvider::start(NOWHERE).await;
    let mut node = Node::bind().await;
    let verifier = JwtVerifier::discover(&provider.issuer).audience(JWT).await.expect("a provider that answers");
    let verifier = set(Dpop::new(verifier, node.url("/")).expect("a URL"));
    node.serve(WsAuthLayer::new(verifier.clone()).dpop(&verifier), Router::new());
    (provider, node)
}
