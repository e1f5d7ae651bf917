//! The token is never seen: not in a response, not in a `Debug`, not in a log.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, RefreshProtocol, Rejection, Session, Token, TokenSource, Verified,
    VerifyInput, WsAuthLayer,
    test_util::{self, HandshakeBuilder, TestToken, base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use serde_json::{Value, json};
use support::*;
use tower::{Layer, Service};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing::{Dispatch, Level, subscriber::NoSubscriber};
use tracing_subscriber::fmt::MakeWriter;

/// Collects what a subscriber writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The token, its parts, and every base64 form of it: in both alphabets, and wherever it begins in a longer text.
fn forms(token: &str) -> Vec<String> {
    let mut forms = vec![token.to_owned()];
    forms.extend(token.split('.').filter(|part| part.len() > 8).map(str::to_owned));
    for skipped in 0..3 {
        let text = &token[skipped..skipped + (token.len() - skipped) / 3 * 3];
        forms.extend([STANDARD.encode(text), base64url(text)]);
    }
    forms
}

fn assert_clean(what: &str, text: &str, token: &str) {
    for form in forms(token) {
        assert!(!text.contains(&form), "{what} holds `{form}`:\n{text}");
    }
}

fn all_sources() -> Vec<TokenSource> {
    let mut sources = all_presets();
    sources.extend([
        TokenSource::header("x-token"),
        TokenSource::query("access_token"),
        TokenSource::cookie("session"),
    ]);
    sources
}

/// A token in each place where it may stand.
fn carriers(token: &str) -> Vec<HandshakeBuilder> {
    let encoded = base64url(token);
    let escaped: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let appsync = base64url(format!(r#"{{"Authorization":"Bearer {token}"}}"#));
    let offers = [
        format!("bearer, {token}"),
        format!("bearer.{token}, chat"),
        format!("base64url.bearer.authorization.k8s.io.{encoded}, chat"),
        format!("phoenix, base64url.bearer.phx.{encoded}"),
        format!("bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20{token}"),
        format!("v1.token.websocket.jupyter.org, v1.token.websocket.jupyter.org.{token}"),
        format!("realtime, openai-insecure-api-key.{token}"),
        format!("aws-appsync-event-ws, header-{appsync}"),
        // Doubly, and where a careless handler would look.
        format!("{token}, bearer, {token}, bearer.{token}, chat"),
    ];
    let mut carriers: Vec<_> = offers.iter().map(|offer| handshake().subprotocols([offer.as_str()])).collect();
    carriers.extend([
        handshake().authorization(token),
        handshake().header("x-token", token),
        handshake().path(format!("/?a=b&access_token={escaped}")),
        handshake().cookie("session", token),
        handshake().authorization(token).subprotocols(["chat", token]),
    ]);
    carriers.into_iter().map(|request| request.origin("https://localhost")).collect()
}

/// A handler that prints all it has.
async fn talkative(session: Authenticated<Value>, upgrade: AuthenticatedUpgrade<Value>) -> Response {
    tracing::info!(?session, ?upgrade, claims = ?session.0.claims(), offered = ?upgrade.requested_protocols().collect::<Vec<_>>());
    upgrade.on_upgrade(async |mut socket| {
        tracing::info!(?socket, session = ?socket.session());
        while let Some(message) = socket.recv().await {
            tracing::info!(?message);
        }
    })
}

/// Runs each handshake under a subscriber that takes everything, with a tracing layer inside and a handler that prints.
async fn run(layer: WsAuthLayer, token: &str) -> String {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::TRACE).with_ansi(false).with_writer(log.clone()).finish();
    let trace =
        TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().include_headers(true).level(Level::TRACE));
    // For all that runs on this thread, the tasks of sockets too. And with two dispatchers tracing asks this one, whatever
    // another thread thinks of an event.
    let _log_all = tracing::subscriber::set_default(subscriber);
    let _another = Dispatch::new(NoSubscriber::new());
    let app = Router::new().route("/", any(talkative)).layer(trace).layer(layer);
    for request in carriers(token) {
        let response = answer(&app, request.clone().build()).await;
        assert_clean("a response", &format!("{response:?}"), token);
        for (name, value) in response.headers() {
            assert_clean(name.as_str(), &String::from_utf8_lossy(value.as_bytes()), token);
        }
        if let Some(rejection) = response.extensions().get::<Rejection>() {
            let mut cause: Option<&dyn Error> = Some(rejection);
            while let Some(error) = cause {
                assert_clean("an error", &format!("{error} {error:?}"), token);
                cause = error.source();
            }
        }
        assert_clean("a body", &text(response).await, token);

        if let Ok((mut socket, _)) = test_util::connect(app.clone(), request.build()).await {
            let refresh = json!({ "type": "auth.refresh", "token": token }).to_string();
            for message in ["hello", &refresh, "{}", &format!("{refresh}x")] {
                let _ = socket.send(message.into()).await;
            }
            let _ = socket.close(None).await;
            while let Some(Ok(message)) = socket.next().await {
                assert_clean("an answer", &message.to_string(), token);
            }
        }
    }
    log.text()
}

#[tokio::test]
async fn an_accepted_token_leaves_no_trace() {
    let token = TestToken::new("alice").sign();
    let layer = jwt_layer().sources(all_sources()).unwrap().refresh_protocol(RefreshProtocol::json());
    let log = run(layer, &token).await;
    assert_clean("the log", &log, &token);
    if cfg!(feature = "tracing") {
        for event in ["handshake admitted", "session refreshed", "refresh refused", "session ended"] {
            assert!(log.contains(event), "the log is the right one: {event} in {log}");
        }
    }
    for printed in ["alice", "AuthenticatedSocket", "hello"] {
        assert!(log.contains(printed), "the handler printed {printed}: {log}");
    }
}

#[tokio::test]
async fn a_refused_token_leaves_no_trace() {
    let good = TestToken::new("alice").sign();
    let tokens = [
        TestToken::new("alice").sign_with(b"somebody else's thirty-two bytes!"),
        TestToken::new("alice").claim("exp", 1).sign(),
        TestToken::new("alice").claim("aud", "somebody else").sign(),
        TestToken::new("alice").claim("nbf", u64::MAX).sign(),
        good[..good.len() - 1].to_owned(),
        format!("{good}x"),
        "not-a-jwt-at-all-but-secret-all-the-same".to_owned(),
        "secret with spaces and \"quotes\" in it".to_owned(),
    ];
    for token in tokens {
        let layer = || jwt_layer().sources(all_sources()).unwrap();
        for layer in [layer(), layer().accept_then_close(), layer().max_token_len(10).unwrap()] {
            let log = run(layer, &token).await;
            assert_clean("the log", &log, &token);
            if cfg!(feature = "tracing") {
                assert!(log.contains("handshake refused"), "{log}");
            }
        }
    }
}

/// Claims that do not fit are named in the log, and the token that they came in is not.
#[tokio::test]
async fn an_error_about_claims_holds_no_token() {
    #[derive(serde::Deserialize)]
    struct Never {
        #[expect(dead_code, reason = "only its absence is looked at")]
        missing: u8,
    }
    let token = TestToken::new("alice").sign();
    let log = run(WsAuthLayer::new(test_util::verifier::<Never>()).sources(all_sources()).unwrap(), &token).await;
    assert_clean("the log", &log, &token);
    if cfg!(feature = "tracing") {
        assert!(log.contains("missing field `missing`"), "{log}");
    }
}

#[tokio::test]
async fn everything_that_held_a_token_prints_without_it() {
    let secret = "the-secret-token";
    let token = Token::new(secret);
    assert_eq!(format!("{token:?}"), "Token(..)");
    assert_eq!(format!("{:?}", Some(&token)), "Some(Token(..))");

    let (parts, _) = handshake().authorization(secret).build().into_parts();
    let input = VerifyInput::new(&token, &parts, std::time::UNIX_EPOCH);
    assert_eq!(format!("{input:?}"), "VerifyInput { token: Token(..), now: SystemTime { tv_sec: 0, tv_nsec: 0 }, .. }");
    assert_eq!(
        format!("{:?}", Verified::new(secret).with_subject("alice")),
        r#"Verified { expires_at: None, subject: Some("alice"), issuer: None, token_id: None, issued_at: None, .. }"#
    );
    assert_eq!(
        format!("{:?}", handshake().authorization(secret).path(format!("/?t={secret}"))),
        r#"HandshakeBuilder { version: HTTP/1.1, headers: ["authorization"], .. }"#
    );

    let keep = |request: Request<Body>| async move {
        let session = request.extensions().get::<Session<String>>().expect("a session").clone();
        let id = session.id();
        let printed = format!(r#"Session {{ id: SessionId({id}), subject: Some("alice"), expires_at: None, .. }}"#);
        assert_eq!(format!("{session:?}"), printed);
        assert_eq!(format!("{:?}", Authenticated(session)), format!("Authenticated({printed})"));
    };
    assert!(!format!("{:?}", opaque_layer()).contains(TOKEN));
    let mut service = opaque_layer().layer(Router::new().route("/", any(keep)));
    let future = service.call(handshake().authorization(TOKEN).build());
    assert_eq!(format!("{future:?}"), "ResponseFuture { .. }");
    assert_eq!(future.await.unwrap().status(), 200);
}

/// The search itself: it must find what it looks for.
#[test]
fn the_search_finds_each_form() {
    let token = TestToken::new("alice").sign();
    for text in [
        format!("x{token}y"),
        token.rsplit('.').next().unwrap().to_owned(),
        base64url(&token),
        STANDARD.encode(format!("1{token}")),
        base64url(format!("{{\"Authorization\":\"Bearer {token}\"}}")),
    ] {
        let found = std::panic::catch_unwind(|| assert_clean("it", &text, &token));
        assert!(found.is_err(), "{text}");
    }
}
