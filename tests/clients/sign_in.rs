//! Where a client without a token learns where to sign in.

use axum::{Router, routing::post};
use axum_ws_auth::{Authenticated, ResourceMetadata, Verifier, VerifyError, WsAuthLayer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    protocols::{Served, verifier},
    script,
};

/// The token's text says what it allows.
fn may_write(claims: &str) -> Result<(), VerifyError> {
    if claims == "read-only" { Err(VerifyError::insufficient_scope("files:read files:write")) } else { Ok(()) }
}

fn app(resource: &str) -> Router {
    let metadata = ResourceMetadata::new(resource)
        .and_then(|metadata| metadata.authorization_servers(["https://id.example.com"]))
        .and_then(|metadata| metadata.scopes_supported(["files:read", "files:write"]))
        .expect("metadata");
    let layer = WsAuthLayer::new(verifier.authorize(|claims: &String, _| may_write(claims)))
        .resource_metadata(&metadata)
        .challenge_scope("files:read")
        .expect("a scope");
    let handler = async |_: Authenticated<String>| "";
    Router::new().route("/mcp", post(handler)).layer(layer).merge(metadata.router())
}

#[tokio::test]
async fn mcp_client_learns_where_to_sign_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let resource = format!("{origin}/mcp");
    let served = Served::start_on(listener, app(&resource));

    let input = json!({ "url": resource });
    let seen: Vec<Value> = script::node_script("@modelcontextprotocol/sdk", "mcp_sign_in.mjs", input).await;
    let metadata = format!("{origin}/.well-known/oauth-protected-resource/mcp");
    let challenge = |status: u16, error: Option<&str>, scope: &str| json!({ "status": status, "metadata": metadata, "scope": scope, "error": error });
    let expected = json!({
        "missing": challenge(401, None, "files:read"),
        "bad": challenge(401, Some("invalid_token"), "files:read"),
        "readOnly": challenge(403, Some("insufficient_scope"), "files:read files:write"),
        "document": {
            "resource": resource,
            "authorization_servers": ["https://id.example.com"],
            "scopes_supported": ["files:read", "files:write"],
            "bearer_methods_supported": ["header"],
        },
        "isDerived": true,
        "resource": resource,
    });
    assert_eq!(seen, [expected]);
    drop(served);
}
