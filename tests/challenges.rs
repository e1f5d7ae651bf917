//! What a refusal tells a client of where, and how, to get a token.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "challenges/metadata.rs"]
mod metadata;

use std::time::Duration;

use axum::{Router, body::Body, routing::any};
use axum_ws_auth::{
    ConfigError, MemoryTickets, RefreshProtocol, RejectionKind, ResourceMetadata, Sessions, StepUp, TicketOptions,
    Tickets, Verified, Verifier, VerifyError, VerifyInput, WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use support::*;

const METADATA: &str = r#"resource_metadata="https://api.example.com/.well-known/oauth-protected-resource/mcp""#;

/// The token says what is wrong with it.
async fn verify(input: VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
    match input.token.expose() {
        "good" => Ok(Verified::new("alice".to_owned()).with_subject("alice")),
        "expired" => Err(VerifyError::expired()),
        "lacks-scope" => Err(VerifyError::insufficient_scope("files:write")),
        "forbidden" => Err(VerifyError::forbidden()),
        "step-up" => Err(VerifyError::insufficient_user_authentication()),
        "mfa" => Err(VerifyError::insufficient_user_authentication().with_acr_values("mfa hwk")),
        "recent" => Err(VerifyError::insufficient_user_authentication().with_max_age(Duration::from_millis(300_900))),
        "both" => Err(StepUp::new().acr_values(["mfa"]).unwrap().max_age(Duration::ZERO).error()),
        "scope" => Err(StepUp::new().acr_values(["mfa"]).unwrap().scope("pay").unwrap().error()),
        "unwritable" => Err(VerifyError::insufficient_user_authentication().with_acr_values("a \"b\"")),
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

#[tokio::test]
async fn step_up_says_how_the_user_must_sign_in() {
    let all = layer().resource_metadata(&metadata()).challenge_scope("files:read").unwrap();
    for (token, params, scope) in [
        ("step-up", "", "files:read"),
        ("mfa", r#", acr_values="mfa hwk""#, "files:read"),
        ("recent", r#", max_age="300""#, "files:read"),
        ("both", r#", acr_values="mfa", max_age="0""#, "files:read"),
        ("scope", r#", acr_values="mfa""#, "pay"),
        ("unwritable", "", "files:read"),
    ] {
        let error = r#"Bearer realm="websocket", error="insufficient_user_authentication""#;
        let challenge = challenge_of(&echo_behind(all.clone()), "/", Some(token)).await;
        assert_eq!(challenge, Some(format!("{error}{params}, scope=\"{scope}\", {METADATA}")), "{token}");
        let challenge = challenge_of(&echo_behind(layer()), "/", Some(token)).await;
        let scope = if token == "scope" { r#", scope="pay""# } else { "" };
        assert_eq!(challenge, Some(format!("{error}{params}{scope}")), "{token}");
    }
}

#[tokio::test]
async fn step_up_is_a_refusal_of_its_own() {
    let request = || handshake().bearer_subprotocol("mfa");
    let response = answer(&echo_behind(layer()), request().build()).await;
    assert!(is_refused_with(&response, StatusCode::UNAUTHORIZED, "insufficient_user_authentication"));
    assert_eq!(refusal(&response).unwrap().0, RejectionKind::InsufficientUserAuthentication);
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((&problem["status"], &problem["error"]), (&json!(401), &json!("insufficient_user_authentication")));

    let call = Request::post("/").header("content-type", "application/grpc").header("authorization", "Bearer mfa");
    let response = answer(&echo_behind(layer()), call.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["grpc-status"], "16");

    let (mut socket, _) =
        test_util::connect(echo_behind(layer().accept_then_close()), request().build()).await.unwrap();
    assert_eq!(closed(&mut socket).await, (3003, "insufficient_user_authentication".to_owned()));
}

/// A client throws an invalid token away.
#[tokio::test]
async fn step_up_is_told_rather_than_that_another_verifier_finds_the_token_invalid() {
    async fn none(_: VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
        Err(VerifyError::invalid())
    }
    for layer in [WsAuthLayer::new(none.or(verify)), WsAuthLayer::new(verify.or(none))] {
        let response = answer(&echo_behind(layer), handshake().bearer_subprotocol("mfa").build()).await;
        assert!(is_refused_with(&response, StatusCode::UNAUTHORIZED, "insufficient_user_authentication"));
    }
}

#[tokio::test]
async fn refresh_that_needs_a_step_up_says_so() {
    let verifier = timed.authorize(|claims: &String, parts| {
        // The route of the refresh accepts it, the session does not.
        let is_weak = claims.ends_with(".weak") && parts.uri.path() == "/";
        let step_up = StepUp::new().acr_values(["mfa"]).unwrap().max_age(Duration::from_secs(60));
        if is_weak { Err(step_up.error()) } else { Ok(()) }
    });
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(verifier).sessions(&sessions).refresh_protocol(RefreshProtocol::json());
    let (route, signalr) = (layer.refresh_route().unwrap(), layer.signalr_refresh_route().unwrap());
    let app = behind(layer, read_on).route("/refresh/{session}", route).route("/signalr", signalr);
    let mut client = connected(&app, "alice.600").await;
    let session = sessions.iter().next().unwrap().id();

    let challenge = challenge_of(&app, &format!("/refresh/{session}"), Some("alice.600.weak")).await.unwrap();
    let params = r#"error="insufficient_user_authentication", acr_values="mfa", max_age="60""#;
    assert!(challenge.ends_with(params), "{challenge}");
    let request = Request::post(format!("/signalr?id={session}")).header("authorization", "Bearer alice.600.weak");
    let response = answer(&app, request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(text(response).await, r#"{"error":"insufficient_user_authentication"}"#);

    let message = json!({ "type": "auth.refresh", "token": "alice.600.weak" });
    client.send(message.to_string().into()).await.unwrap();
    let answer: Value = serde_json::from_str(client.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    let reason = "insufficient_user_authentication";
    assert_eq!(answer, json!({ "type": "auth.refused", "reason": reason, "acr_values": "mfa", "max_age": 60 }));
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
