//! Refreshes and rechecks of sessions whose token is bound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{body::Body, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, MemoryTickets, OwnedVerifyInput, RefreshErrorKind, RefreshProtocol, Session, Sessions,
    TicketOptions, Tickets, Token, TokenSource, Verifier, VerifyError, VerifyErrorKind, test_util::MemoryBus,
    verifier_fn,
};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::*;

/// Reads until the socket is closed.
pub(crate) fn app(layer: WsAuthLayer) -> Router {
    app_with_sessions(layer).0
}

fn app_with_sessions(layer: WsAuthLayer) -> (Router, mpsc::UnboundedReceiver<Session<Value>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<Value>| -> Response {
        upgrade.on_upgrade(async move |mut socket| {
            let _ = sender.send(socket.session().clone());
            while let Some(Ok(_)) = socket.recv().await {}
        })
    };
    (Router::new().route("/chat", any(handler)).layer(layer), receiver)
}

async fn open(app: &Router, key: &DpopKey, token: &str) -> ClientSocket {
    let request = native(token, &key.proof("GET", URI, token)).build();
    test_util::connect(app.clone(), request).await.expect("a 101").0
}

#[tokio::test]
async fn a_refresh_by_message_has_a_new_proof_by_the_same_key() {
    let (key, other) = (DpopKey::first(), DpopKey::second());
    let token = bound(&key);
    let dpop = dpop().accept_bearer();
    let app = app(layer(&dpop).refresh_protocol(RefreshProtocol::json()).refresh_limit(100, Duration::from_secs(60)));
    let mut socket = open(&app, &key, &token).await;
    let (proof, others) = (key.proof("GET", URI, &token), bound(&other));
    let bearer = TestToken::new("alice").sign();
    let cases = [
        ("new proof", json!({ "token": token, "dpop": proof }), "auth.refreshed"),
        ("used proof", json!({ "token": token, "dpop": proof }), "proof_replayed"),
        ("no proof", json!({ "token": token }), "sender_constrained"),
        ("no text", json!({ "token": token, "dpop": 7 }), "proof_malformed"),
        ("null", json!({ "token": token, "dpop": null }), "proof_malformed"),
        ("too long", json!({ "token": token, "dpop": "a".repeat(5000) }), "proof_malformed"),
        (
            "other path",
            json!({ "token": token, "dpop": key.proof("GET", "https://ws.example.com/", &token) }),
            "proof_for_elsewhere",
        ),
        ("other method", json!({ "token": token, "dpop": key.proof("POST", URI, &token) }), "proof_for_elsewhere"),
        ("proof by another key", json!({ "token": token, "dpop": other.proof("GET", URI, &token) }), "proof_wrong_key"),
        ("token of another key", json!({ "token": others, "dpop": other.proof("GET", URI, &others) }), "other_key"),
        ("bearer token", json!({ "token": bearer }), "other_key"),
        ("another proof", json!({ "token": token, "dpop": key.proof("CONNECT", URI, &token) }), "auth.refreshed"),
    ];
    for (name, mut message, expected) in cases {
        message["type"] = json!("auth.refresh");
        socket.send(message.to_string().into()).await.unwrap();
        let response: Value = serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        let outcome = response.get("reason").unwrap_or(&response["type"]);
        assert_eq!(outcome, expected, "{name}");
        assert!(response.get("dpop_nonce").is_none(), "{name}");
    }
    // A duplicate member is malformed.
    let proof = key.proof("GET", URI, &token);
    let message = format!(r#"{{"type":"auth.refresh","token":"{token}","dpop":"{proof}","dpop":"{proof}"}}"#);
    socket.send(message.into()).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("malformed_message"));
}

#[tokio::test]
async fn a_session_of_a_bearer_token_does_not_become_bound() {
    let key = DpopKey::first();
    let dpop = dpop().accept_bearer();
    let (app, mut sessions) = app_with_sessions(layer(&dpop));
    let bearer = TestToken::new("alice").sign();
    let request = handshake().path("/chat").authorization(&bearer).build();
    let (_socket, _) = test_util::connect(app, request).await.unwrap();
    let session = sessions.recv().await.unwrap();
    let token = bound(&key);
    let proof = key.proof("GET", URI, &token);
    let error = session.refresh(Token::new(token).with_dpop_proof(proof)).await.unwrap_err();
    assert_eq!(error.kind(), RefreshErrorKind::OtherKey);
    assert_eq!(session.refresh(Token::new(bearer)).await.map_err(|error| error.kind()), Ok(()));
}

/// A node with a refresh route.
fn node(dpop: &Dpop<Value>, bus: &MemoryBus) -> (Router, mpsc::UnboundedReceiver<Session<Value>>) {
    let sessions = Sessions::new().reachable_through(bus.clone());
    let layer = layer(dpop).sessions(&sessions);
    let route = layer.refresh_route().unwrap();
    let (app, receiver) = app_with_sessions(layer);
    (app.route("/refresh/{session}", route), receiver)
}

#[tokio::test]
async fn a_refresh_over_http_has_a_proof_for_its_own_request() {
    let (key, other) = (DpopKey::first(), DpopKey::second());
    let token = bound(&key);
    let bus = MemoryBus::default();
    let store = Arc::new(MemoryTickets::new());
    let dpop = || dpop().store(SharedTickets(Arc::clone(&store)));
    let (one, mut sessions) = node(&dpop(), &bus);
    let (two, _) = node(&dpop(), &bus);
    let _socket = open(&one, &key, &token).await;
    let session = sessions.recv().await.unwrap();
    settle().await;

    let path = format!("/refresh/{}", session.id());
    let uri = format!("https://ws.example.com{path}");
    let post = async |app: &Router, token: &str, proof: &str| {
        let request = http::Request::post(&path).header("authorization", format!("DPoP {token}"));
        let response = answer(app, request.header("dpop", proof).body(Body::empty()).unwrap()).await;
        (response.status().as_u16(), challenges(&response).concat())
    };
    let invalid =
        |error: &str| (401, format!(r#"DPoP realm="websocket", error="{error}", algs="ES256 EdDSA Ed25519""#));
    for (name, app) in [("its own node", &one), ("another node", &two)] {
        let proof = key.proof("POST", &uri, &token);
        assert_eq!(post(app, &token, &proof).await, (200, String::new()), "{name}");
        assert_eq!(post(app, &token, &proof).await, invalid("invalid_token"), "{name}: the proof was used");
        let proof = key.proof("GET", &uri, &token);
        assert_eq!(post(app, &token, &proof).await, invalid("invalid_dpop_proof"), "{name}: other method");
        let proof = key.proof("POST", URI, &token);
        assert_eq!(post(app, &token, &proof).await, invalid("invalid_dpop_proof"), "{name}: other path");
        let others = bound(&other);
        let proof = other.proof("POST", &uri, &others);
        assert_eq!(post(app, &others, &proof).await, invalid("invalid_token"), "{name}: other key");
        let proof = key.proof("POST", &uri, &token);
        assert_eq!(post(app, &token, &proof).await, (200, String::new()), "{name}");
    }
}

/// One store for several verifiers.
struct SharedTickets(Arc<MemoryTickets>);

impl axum_ws_auth::store::TicketStore for SharedTickets {
    async fn put(
        &self,
        key: axum_ws_auth::store::TicketKey,
        content: Vec<u8>,
        lifetime: Duration,
    ) -> Result<(), axum_ws_auth::store::StoreError> {
        self.0.put(key, content, lifetime).await
    }

    async fn redeem(
        &self,
        key: axum_ws_auth::store::TicketKey,
    ) -> Result<Option<Vec<u8>>, axum_ws_auth::store::StoreError> {
        self.0.redeem(key).await
    }

    async fn use_once(
        &self,
        key: axum_ws_auth::store::TicketKey,
        lifetime: Duration,
    ) -> Result<bool, axum_ws_auth::store::StoreError> {
        self.0.use_once(key, lifetime).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_recheck_asks_for_no_proof() {
    let key = DpopKey::first();
    let token = bound(&key);
    let dpop = dpop();
    let (checks, outcome) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let verifier = verifier_fn({
        let (dpop, checks, outcome) = (dpop.clone(), Arc::clone(&checks), Arc::clone(&outcome));
        async move |input: OwnedVerifyInput| {
            checks.fetch_add(1, SeqCst);
            let verified = dpop.verify(input.as_input()).await?;
            if outcome.load(SeqCst) > 0 {
                return Err(VerifyError::invalid());
            }
            Ok(verified.recheck_in(Duration::from_secs(60)))
        }
    });
    let (app, _sessions) = app_with_sessions(WsAuthLayer::new(verifier).dpop(&dpop));
    let mut socket = open(&app, &key, &token).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(checks.load(SeqCst) >= 10, "{checks:?}");
    assert!(futures_util::FutureExt::now_or_never(socket.next()).is_none(), "the socket is open");
    // The token is still verified.
    outcome.store(1, SeqCst);
    assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()));
}

#[tokio::test]
async fn a_ticket_keeps_the_key_of_its_token() {
    let (key, other) = (DpopKey::first(), DpopKey::second());
    let dpop = dpop();
    let tickets = Tickets::<Value>::new(MemoryTickets::new());
    let verifier = tickets.verifier().or(dpop.clone());
    let sources = [TokenSource::ticket(), TokenSource::authorization()];
    let (app, mut sessions) = app_with_sessions(WsAuthLayer::new(verifier).sources(sources).unwrap().dpop(&dpop));
    let issuing = Router::new().route("/ticket", tickets.route(TicketOptions::new())).layer(layer(&dpop));
    let token = bound(&key);
    let request = http::Request::post("/ticket").header("authorization", format!("DPoP {token}"));
    let proof = key.proof("POST", "https://ws.example.com/ticket", &token);
    let ticket = text(answer(&issuing, request.header("dpop", proof).body(Body::empty()).unwrap()).await).await;
    let ticket: Value = serde_json::from_str(&ticket).unwrap();
    let path = format!("/chat?ticket={}", ticket["ticket"].as_str().unwrap());
    let (_socket, _) = test_util::connect(app, handshake().path(path).build()).await.unwrap();
    let session = sessions.recv().await.unwrap();
    for (key, expected) in [(&other, Err(RefreshErrorKind::OtherKey)), (&key, Ok(()))] {
        let token = bound(key);
        let proof = key.proof("GET", URI, &token);
        let outcome = session.refresh(Token::new(token).with_dpop_proof(proof)).await;
        assert_eq!(outcome.map_err(|error| error.kind()), expected);
    }
    // What is wrong with a proof tells a client more than that its token is no ticket.
    let token = Token::new(bound(&key)).with_dpop_proof(key.proof("POST", URI, &bound(&key)));
    let error = session.refresh(token).await.unwrap_err();
    assert_eq!(error.kind(), RefreshErrorKind::NotVerified(VerifyErrorKind::ProofForElsewhere));
}
