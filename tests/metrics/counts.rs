//! Handshakes and what follows are counted once each, under the right names.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::any};
use axum_ws_auth::{
    CachedVerifier, Drain, FirstMessage, FirstToken, RefreshProtocol, Sessions, Token, TokenSource, Verified, Verifier,
    VerifyError, WsAuthLayer,
    introspection::{ClientAuth, IntrospectionVerifier},
    jwt::AlbVerifier,
    metrics::{HANDSHAKE_DURATION_SECONDS, HANDSHAKES_TOTAL, REFRESHES_TOTAL, VERIFY_DURATION_SECONDS},
    test_util::{self, TestToken, handshake},
    verifier_fn,
};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    scrape::Recording,
    support::{answer, behind, connected, jwt_layer, read_on, timed},
};

/// What one request adds: kind, outcome, reason, source, HTTP version.
async fn counted(layer: WsAuthLayer, request: Request<axum::body::Body>) -> String {
    let recording = Recording::start();
    let app = Router::new().route("/", any(test_util::echo).post(async || "posted")).layer(layer);
    answer(&app, request).await;
    let samples = recording.samples();
    let handshakes: Vec<_> = samples.iter().filter(|sample| sample.name == HANDSHAKES_TOTAL).collect();
    assert_eq!(handshakes.iter().map(|sample| sample.value).sum::<f64>(), 1.0, "{samples:?}");
    ["kind", "outcome", "reason", "source", "http"].map(|label| handshakes[0].labels[label].as_str()).join(" ")
}

/// The first message is the token.
pub(crate) fn first_message() -> FirstMessage {
    FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?)))).accepted("accepted")
}

async fn drained() -> Sessions {
    let sessions = Sessions::new();
    sessions.drain(Drain::going_away()).await;
    sessions
}

#[tokio::test(start_paused = true)]
async fn each_outcome_has_its_labels() {
    let token = TestToken::new("alice").sign();
    let sources = || {
        let all = [
            TokenSource::bearer_subprotocol(),
            TokenSource::authorization(),
            TokenSource::cookie("__Host-t"),
            TokenSource::query("token"),
            TokenSource::header("x-token"),
        ];
        jwt_layer().sources(all).unwrap()
    };
    let tampered = format!("{}AAAA", &token[..token.len() - 4]);
    let expired = TestToken::new("alice").expires_at(std::time::SystemTime::UNIX_EPOCH).sign();
    let post = Request::post("/").body(axum::body::Body::empty()).unwrap();
    let cookie = handshake().cookie("__Host-t", &token).header("host", "a.example");
    for (layer, request, expected) in [
        (jwt_layer(), handshake().bearer_subprotocol(&token).build(), "websocket accepted none subprotocol 1.1"),
        (jwt_layer(), handshake().bearer_subprotocol(&token).http2().build(), "websocket accepted none subprotocol 2"),
        (sources(), handshake().authorization(&token).build(), "websocket accepted none authorization 1.1"),
        // The first of two.
        (
            sources(),
            handshake().bearer_subprotocol(&token).authorization(&token).build(),
            "websocket accepted none subprotocol 1.1",
        ),
        (sources(), handshake().header("x-token", &token).build(), "websocket accepted none header 1.1"),
        (sources(), handshake().path(format!("/?token={token}")).build(), "websocket accepted none query 1.1"),
        (sources(), cookie.clone().origin("https://a.example").build(), "websocket accepted none cookie 1.1"),
        (sources(), cookie.origin("https://evil.example").build(), "websocket refused origin_not_allowed cookie 1.1"),
        (jwt_layer(), handshake().build(), "websocket refused missing_token none 1.1"),
        (
            jwt_layer(),
            handshake().authorization(&tampered).build(),
            "websocket refused bad_signature authorization 1.1",
        ),
        (jwt_layer(), handshake().authorization(&expired).build(), "websocket refused token_expired authorization 1.1"),
        (jwt_layer(), handshake().authorization("a").build(), "websocket refused token_malformed authorization 1.1"),
        (jwt_layer(), post, "request refused missing_token none 1.1"),
        (jwt_layer().optional(), handshake().build(), "websocket anonymous none none 1.1"),
        (
            sources(),
            handshake().authorization(&token).header("x-token", "other").build(),
            "websocket refused conflicting_tokens none 1.1",
        ),
        (
            jwt_layer().sessions(&drained().await),
            handshake().authorization(&token).build(),
            "websocket refused draining authorization 1.1",
        ),
        // The handler does not wait for the first message.
        (jwt_layer().first_message(first_message()), handshake().build(), "websocket refused missing_token none 1.1"),
    ] {
        assert_eq!(counted(layer, request).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn durations_are_of_what_a_verifier_was_asked_about() {
    let recording = Recording::start();
    let app = Router::new().route("/", any(test_util::echo)).layer(jwt_layer());
    let token = TestToken::new("alice").sign();
    answer(&app, handshake().build()).await;
    answer(&app, handshake().authorization(&token).build()).await;
    answer(&app, handshake().authorization("a").build()).await;
    let count = |name: &str, labels: &[(&str, &str)]| recording.sum(&format!("{name}_count"), labels);
    assert_eq!(count(VERIFY_DURATION_SECONDS, &[("verifier", "jwt")]), 2.0);
    assert_eq!(count(HANDSHAKE_DURATION_SECONDS, &[("outcome", "accepted")]), 1.0);
    assert_eq!(count(HANDSHAKE_DURATION_SECONDS, &[]), 2.0);
}

/// A verifier around another one has the name of that one, unless it takes time of its own.
#[tokio::test(start_paused = true)]
async fn durations_have_the_name_of_the_verifier() {
    let jwt = || test_util::verifier::<Value>();
    let asks = IntrospectionVerifier::<Value>::endpoint("https://id.example/asks", ClientAuth::bearer("own"));
    let alb = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/a/1";
    for (layer, expected) in [
        (WsAuthLayer::new(jwt()), "jwt"),
        (WsAuthLayer::new(Arc::new(jwt())), "jwt"),
        (WsAuthLayer::new(jwt().map(|claims| claims)), "jwt"),
        (WsAuthLayer::new(jwt().authorize(|_, _| Ok(()))), "jwt"),
        (WsAuthLayer::new(jwt().authorize_async(async |_, _| Ok(()))), "jwt"),
        (WsAuthLayer::new(jwt().or(jwt())), "or"),
        (WsAuthLayer::new(CachedVerifier::new(jwt())), "cached"),
        (WsAuthLayer::new(asks.opaque_only().build().unwrap()), "introspection"),
        (WsAuthLayer::new(AlbVerifier::<Value>::builder(alb).build().unwrap()), "alb"),
        (WsAuthLayer::new(verifier_fn(async |_: Token| Err::<Verified<()>, _>(VerifyError::invalid()))), "custom"),
    ] {
        let recording = Recording::start();
        answer(&behind(layer, read_on), handshake().authorization("eyJ.a.b").build()).await;
        let samples = recording.samples();
        let sample = samples.iter().find(|sample| sample.name == format!("{VERIFY_DURATION_SECONDS}_count")).unwrap();
        assert_eq!((sample.labels["verifier"].as_str(), sample.value), (expected, 1.0));
    }
    // A first message and a refresh go to a verifier whose type is not known.
    let recording = Recording::start();
    let app = behind(WsAuthLayer::new(jwt().map(|_| String::new())).first_message(first_message()), read_on);
    let (mut socket, _) = test_util::connect(app, handshake().build()).await.unwrap();
    socket.send(Message::text(TestToken::new("alice").sign())).await.unwrap();
    socket.next().await.unwrap().unwrap();
    assert_eq!(recording.sum(&format!("{VERIFY_DURATION_SECONDS}_count"), &[("verifier", "jwt")]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_slow_verifier_is_measured() {
    let recording = Recording::start();
    let slow = verifier_fn(async |token: Token| {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(Verified::new(token.expose().to_owned()))
    });
    drop(connected(&behind(WsAuthLayer::new(slow), read_on), "alice").await);
    assert_eq!(recording.sum(&format!("{VERIFY_DURATION_SECONDS}_sum"), &[("verifier", "custom")]), 3.0);
    assert_eq!(recording.sum(&format!("{HANDSHAKE_DURATION_SECONDS}_sum"), &[("outcome", "accepted")]), 3.0);
}

#[tokio::test(start_paused = true)]
async fn first_messages_are_handshakes() {
    let recording = Recording::start();
    let app = behind(WsAuthLayer::new(timed).first_message(first_message()), read_on);
    for token in ["alice", "bad"] {
        let (mut socket, _) = test_util::connect(app.clone(), handshake().build()).await.unwrap();
        socket.send(Message::text(token)).await.unwrap();
        socket.next().await;
    }
    let (mut silent, _) = test_util::connect(app, handshake().build()).await.unwrap();
    silent.next().await;
    let of = |outcome, reason| {
        recording.sum(HANDSHAKES_TOTAL, &[("outcome", outcome), ("reason", reason), ("source", "first_message")])
    };
    assert_eq!([of("accepted", "none"), of("refused", "token_invalid"), of("refused", "timed_out")], [1.0; 3]);
    assert_eq!(recording.sum(HANDSHAKES_TOTAL, &[]), 3.0);
    assert_eq!(recording.sum(&format!("{VERIFY_DURATION_SECONDS}_count"), &[]), 2.0);
}

#[tokio::test(start_paused = true)]
async fn refreshes_are_counted_by_their_reason() {
    let recording = Recording::start();
    let app = behind(WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json()), read_on);
    let mut socket = connected(&app, "alice.60").await;
    for token in ["alice.90", "bob.60", "bad"] {
        let message = json!({"type": "auth.refresh", "token": token}).to_string();
        socket.send(Message::text(message)).await.unwrap();
        let Some(Ok(Message::Text(answer))) = socket.next().await else { panic!("an answer") };
        serde_json::from_str::<Value>(&answer).unwrap();
    }
    assert_eq!(recording.values(REFRESHES_TOTAL, "reason"), ["none", "other_subject", "token_invalid"]);
}
