//! What a refusal tells a client of where, and how, to get a token.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "challenges/metadata.rs"]
mod metadata;

use axum::{Router, body::Body, routing::any};
use axum_ws_auth::{
    ConfigError, MemoryTickets, ResourceMetadata, Sessions, TicketOptions, Tickets, Verified, Verifier, VerifyError,
    VerifyInput, WsAuthLayer,
    test_util::{self, handshake},
};
use http::Request;
use support::*;

const METADATA: &str = r#"resource_metadata="https://api.example.com/.well-known/oauth-protected-resource/mcp""#;

/// The token says what is wrong with it.
async fn verify(input: VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
    match input.token.expose() {
        "good" => Ok(Verified::new("alice".to_owned()).with_subject("alice")),
        "expired" => Err(VerifyError::expired()),
        "lacks-scope" => Err(VerifyError::insufficient_scope("files:write")),
        "forbidden" => Err(VerifyError::forbidden()),
        _ => Err(VerifyError::invalid()),
    }
}

fn metadata() -> ResourceMetadata {
    ResourceMetadata::new("https://api.example.com/mcp").unwrap()
}

fn layer() -> WsAuthLayer {
    WsAuthLayer::new(verify)
}

async fn challenge_of(app: &Router, path: &str, token: Option<&str>) -> Option<String> {
    let request = Request::post(path).header("host", "localhost");
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let response = answer(app, request.body(Body::empty()).unwrap()).await;
    let mut lines = response.headers().get_all("www-authenticate").iter();
    let line = lines.next().map(|line| line.to_str().unwrap().to_owned());
    assert!(lines.next().is_none(), "one scheme has one line");
    line
}

#[tokio::test]
async fn every_challenge_names_the_metadata() {
    let layer = layer().resource_metadata(&metadata()).challenge_scope("files:read").unwrap().realm("files").unwrap();
    let app = echo_behind(layer);
    for (token, params) in [
        (None, r#", scope="files:read""#),
        (Some(""), r#", error="invalid_request""#),
        (Some("unknown"), r#", error="invalid_token", scope="files:read""#),
        (Some("expired"), r#", error="invalid_token", scope="files:read""#),
        (Some("lacks-scope"), r#", error="insufficient_scope", scope="files:write""#),
        // Which scope would help is not known.
        (Some("forbidden"), r#", error="insufficient_scope""#),
    ] {
        let expected = format!("Bearer realm=\"files\"{params}, {METADATA}");
        assert_eq!(challenge_of(&app, "/", token).await, Some(expected), "{token:?}");
    }
    assert_eq!(challenge_of(&app, "/", Some("good")).await, None);
}

#[tokio::test]
async fn challenges_say_what_was_set_in_any_order() {
    let [scope, realm] = [r#", scope="a b""#, r#"Bearer realm="r""#];
    for (layer, expected) in [
        (layer(), r#"Bearer realm="websocket""#.to_owned()),
        (layer().challenge_scope("a b").unwrap(), format!(r#"Bearer realm="websocket"{scope}"#)),
        (layer().resource_metadata(&metadata()), format!(r#"Bearer realm="websocket", {METADATA}"#)),
        (layer().resource_metadata(&metadata()).realm("r").unwrap(), format!("{realm}, {METADATA}")),
        (layer().realm("r").unwrap().resource_metadata(&metadata()), format!("{realm}, {METADATA}")),
        (layer().challenge_scope("a b").unwrap().realm("r").unwrap(), format!("{realm}{scope}")),
    ] {
        assert_eq!(challenge_of(&echo_behind(layer), "/", None).await, Some(expected));
    }
}

#[test]
fn scope_that_cannot_be_written_does_not_build() {
    for scope in ["", " ", "a  b", " a", "a ", "a\"b", "a\\b", "a\nb", "ü"] {
        let error = layer().challenge_scope(scope).map(drop);
        assert_eq!(error, Err(ConfigError::InvalidScope(scope.to_owned())));
    }
}

#[tokio::test]
async fn routes_of_a_layer_use_its_challenges() {
    let layer = layer().sessions(&Sessions::new()).resource_metadata(&metadata()).challenge_scope("a").unwrap();
    let tickets = Tickets::<String>::new(MemoryTickets::new());
    let app = Router::new()
        .route("/ticket", tickets.route(TicketOptions::new()))
        .layer(layer.clone())
        .route("/refresh/{session}", layer.refresh_route().unwrap())
        .route("/signalr", layer.signalr_refresh_route().unwrap());
    for path in ["/ticket", "/refresh/1", "/signalr?id=1"] {
        for (token, error) in [(None, ""), (Some("expired"), r#", error="invalid_token""#)] {
            let expected = format!(r#"Bearer realm="websocket"{error}, scope="a", {METADATA}"#);
            assert_eq!(challenge_of(&app, path, token).await, Some(expected), "{path} {token:?}");
        }
    }
}

#[tokio::test]
async fn verifier_of_a_route_may_name_its_own_scope() {
    let verifier = verify.authorize(|_, parts| match parts.uri.path() {
        "/write" => Err(VerifyError::insufficient_scope("files:write files:read")),
        _ => Ok(()),
    });
    let layer = WsAuthLayer::new(verifier).resource_metadata(&metadata());
    let app = Router::new().route("/{any}", any(test_util::echo)).layer(layer);
    let request = handshake().path("/write").bearer_subprotocol("good").build();
    let response = answer(&app, request).await;
    assert_eq!(
        response.headers()["www-authenticate"],
        format!(r#"Bearer realm="websocket", error="insufficient_scope", scope="files:write files:read", {METADATA}"#),
    );
}
