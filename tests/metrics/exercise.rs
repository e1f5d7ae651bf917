//! Makes every metric move.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, body::Body, routing::any};
use axum_ws_auth::{
    Dpop, MemoryRevocations, MemoryTickets, RefreshProtocol, Revocations, Sessions, TicketOptions, Tickets, Token,
    TokenSource, Verified, VerifyError, WsAuthLayer,
    jwks::{IssuerKeys, IssuerRule},
    signals::SharedSignals,
    store::{StoreError, TicketKey, TicketStore},
    test_util::{self, DpopKey, TestToken, handshake},
    verifier_fn,
};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    answer, behind, connected, echo_behind,
    issuer::{KEYS, Key, Pair, Reply, TestIssuer, set, verifier},
    jwt_layer, opaque, read_on, text, timed,
};

const TRANSMITTER: &str = "https://signals.example.com";
pub(crate) const ISSUER: &str = "https://id.example.com";

/// Under paused time.
pub(crate) async fn everything() {
    handshakes_and_refreshes().await;
    rechecks().await;
    revocations().await;
    keys().await;
    tickets().await;
    signals().await;
    proofs().await;
}

async fn handshakes_and_refreshes() {
    let app = behind(WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json()), read_on);
    let mut socket = connected(&app, "alice.60").await;
    for token in ["alice.90", "bad"] {
        socket.send(Message::text(json!({"type": "auth.refresh", "token": token}).to_string())).await.unwrap();
        socket.next().await;
    }
    while let Some(Ok(_)) = socket.next().await {}
    answer(&app, handshake().build()).await;
}

async fn rechecks() {
    static WAS_ASKED: AtomicBool = AtomicBool::new(false);
    WAS_ASKED.store(false, SeqCst);
    let once = verifier_fn(async |_: Token| match WAS_ASKED.swap(true, SeqCst) {
        false => Ok(Verified::new(String::new()).with_subject("alice").recheck_in(Duration::from_secs(60))),
        true => Err(VerifyError::invalid()),
    });
    let mut socket = connected(&behind(WsAuthLayer::new(once), read_on), "alice").await;
    while let Some(Ok(_)) = socket.next().await {}
}

async fn revocations() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = behind(WsAuthLayer::new(timed).revocations(&revocations), read_on);
    let mut socket = connected(&app, "alice").await;
    revocations.revoke_subject("alice").await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

async fn keys() {
    let key = Key::new(Pair::Ed25519, "1");
    let issuer = TestIssuer::in_process(ISSUER, std::slice::from_ref(&key));
    let verifier = verifier([issuer.discovered()]).build().unwrap();
    let app = echo_behind(WsAuthLayer::new(verifier));
    answer(&app, handshake().bearer_subprotocol(&key.token(ISSUER)).build()).await;
    issuer.reply(KEYS, Reply::raw(500, ""));
    // The next fetch is due within the hour.
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
}

struct Failing;

impl TicketStore for Failing {
    async fn put(&self, _: TicketKey, _: Vec<u8>, _: Duration) -> Result<(), StoreError> {
        Err(StoreError::unavailable())
    }

    async fn redeem(&self, _: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::unavailable())
    }
}

async fn tickets() {
    let verified = Verified::new(json!({})).with_subject("alice");
    let failing = Tickets::<Value>::new(Failing);
    failing.issue_for(&verified, &TicketOptions::new()).await.unwrap_err();

    let tickets = Tickets::<Value>::new(MemoryTickets::new());
    let layer = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap();
    let app = Router::new().route("/chat", any(test_util::echo)).layer(layer);
    let ticket = tickets.issue_for(&verified, &TicketOptions::new()).await.unwrap();
    for _ in 0..2 {
        answer(&app, handshake().path(format!("/chat?ticket={}", ticket.token().expose())).build()).await;
    }
}

async fn signals() {
    let key = Key::new(Pair::Ed25519, "1");
    let keys = IssuerKeys::jwks(TRANSMITTER, serde_json::from_value(set(std::slice::from_ref(&key))).unwrap());
    let revocations = Revocations::new(MemoryRevocations::new());
    let signals = SharedSignals::with_keys(keys, &revocations).audience("chat").build().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let event = |event_type: &str| {
        let claims = json!({
            "iss": TRANSMITTER, "aud": "chat", "iat": now, "jti": "1",
            "sub_id": {"format": "iss_sub", "iss": TRANSMITTER, "sub": "alice"}, "events": {event_type: {}},
        });
        key.sign_as(Some("secevent+jwt"), &claims.to_string())
    };
    signals.receive(&event("https://schemas.openid.net/secevent/caep/event-type/session-revoked")).await.unwrap();
    signals.receive(&event("https://example.com/something-else")).await.unwrap();
    signals.receive("not a token").await.unwrap_err();
}

async fn proofs() {
    let dpop = Dpop::new(test_util::verifier::<Value>(), "https://ws.example.com").unwrap();
    let app = echo_behind(WsAuthLayer::new(dpop.clone()).dpop(&dpop));
    let key = DpopKey::first();
    let token = TestToken::new("alice").claim("cnf", json!({ "jkt": key.thumbprint() })).sign();
    let proof = format!("dpop.{}", key.proof("GET", "https://ws.example.com/chat", &token));
    for _ in 0..2 {
        answer(&app, handshake().path("/chat").subprotocols(["bearer", &token, &proof]).build()).await;
    }
}

/// What is sent by people who mean no good. The first one is valid.
pub(crate) async fn hostile(marker: &str) {
    let sessions = Sessions::new();
    let token = TestToken::new(marker).claim("jti", marker).claim("sid", marker).sign();
    let sources = [
        TokenSource::bearer_subprotocol(),
        TokenSource::authorization(),
        TokenSource::query(marker.to_lowercase()),
        TokenSource::cookie(format!("__Host-{marker}")),
        TokenSource::header(format!("x-{marker}")),
    ];
    let app = echo_behind(jwt_layer().sources(sources).unwrap().sessions(&sessions));
    let path = format!("/{marker}");
    let all = |token: &str| {
        [
            handshake().path(&path).bearer_subprotocol(token),
            handshake().path(&path).authorization(token),
            handshake().path(&path).header(format!("x-{marker}"), token),
            handshake().path(format!("{path}?{}={token}", marker.to_lowercase())),
            handshake()
                .path(&path)
                .cookie(&format!("__Host-{marker}"), token)
                .origin(&format!("https://{marker}.example")),
        ]
    };
    let tampered = format!("{}{marker}", &token[..token.len() - marker.len()]);
    for token in [&*token, marker, &tampered, &format!("{marker}.{marker}.{marker}")] {
        for request in all(token) {
            answer(&app, request.build()).await;
        }
    }
    // Only this verifier's own reason reaches a label.
    let reason = marker.to_owned();
    let failing = verifier_fn(async move |_: Token| {
        Err::<Verified<String>, _>(VerifyError::invalid().with_source(reason.clone()))
    });
    answer(&echo_behind(WsAuthLayer::new(failing)), handshake().authorization(marker).build()).await;
    answer(&echo_behind(WsAuthLayer::new(opaque)), handshake().authorization(marker).build()).await;
    issuers_of_a_rule(marker).await;
    let revocations = Revocations::new(MemoryRevocations::new());
    revocations.revoke_subject(marker).await.unwrap();
    revocations.revoke_token(marker).await.unwrap();
    let tickets = Tickets::<Value>::new(MemoryTickets::new());
    let app = Router::new()
        .route("/ticket", tickets.route(TicketOptions::new()))
        .layer(WsAuthLayer::new(test_util::verifier::<Value>()));
    let request = Request::post(format!("/ticket?{marker}")).header("authorization", format!("Bearer {token}"));
    let response = answer(&app, request.body(Body::empty()).unwrap()).await;
    assert!(text(response).await.contains("expires_in"));
}

/// Every one of them is named by a token.
async fn issuers_of_a_rule(marker: &str) {
    let key = Key::new(Pair::Ed25519, "1");
    let issuer = TestIssuer::in_process(ISSUER, std::slice::from_ref(&key));
    let keys = move |name: &str| IssuerKeys::jwks_url(name, issuer.url(KEYS)).fetch(issuer.client());
    let rule = IssuerRule::new(|_| true).keys(keys);
    let app = echo_behind(WsAuthLayer::new(verifier([]).issuers_where(rule).build().unwrap()));
    for number in 0..3 {
        let name = format!("https://{marker}-{number}.example.com");
        let status = answer(&app, handshake().authorization(&key.token(&name)).build()).await.status();
        assert_eq!(status, 101, "{name}");
    }
}
