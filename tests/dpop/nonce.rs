//! Nonces of the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use axum_ws_auth::{RefreshProtocol, TimeSource, test_util::base64url};
use futures_util::{SinkExt, StreamExt};

use super::*;

const SECRET: &[u8] = b"a key of thirty-two bytes or more";

fn nonce(response: &Response) -> String {
    assert_eq!(response.status(), 401);
    assert_eq!(refusal(response).unwrap().1, "use_dpop_nonce");
    let expected = r#"DPoP realm="websocket", error="use_dpop_nonce", algs="ES256 EdDSA Ed25519""#;
    assert_eq!(challenges(response), [expected]);
    response.headers()["dpop-nonce"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_gets_a_nonce_and_uses_it() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = app(&dpop().require_nonce().unwrap());
    let proof = |nonce: Value| key.proof_with("GET", URI, &token, &json!({ "nonce": nonce }));
    let first = nonce(&answer(&app, native(&token, &proof(Value::Null)).build()).await);
    for wrong in ["", "a", &base64url([0; 40]), &base64url([0; 41]), &first[1..], &first.to_lowercase()] {
        let second = nonce(&answer(&app, native(&token, &proof(json!(wrong))).build()).await);
        assert_eq!(second.len(), first.len());
    }
    assert_eq!(reason(&app, native(&token, &proof(json!(first)))).await, "accepted");
    // More than once, while it is current: each proof has an id of its own.
    assert_eq!(reason(&app, native(&token, &proof(json!(first)))).await, "accepted");
}

#[tokio::test]
async fn nonces_expire_after_five_minutes() {
    let key = DpopKey::first();
    let token = bound(&key);
    let begin = SystemTime::now();
    let passed = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&passed);
    let now = move || begin + Duration::from_secs(clock.load(SeqCst));
    let dpop = dpop().require_nonce_of(SECRET).unwrap();
    let app = echo_behind(layer(&dpop).time_source(TimeSource::new(now.clone())));
    let request = |nonce: &str| {
        let iat = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        native(&token, &key.proof_with("GET", URI, &token, &json!({ "nonce": nonce, "iat": iat })))
    };
    let first = nonce(&answer(&app, request("").build()).await);
    passed.store(299, SeqCst);
    assert_eq!(reason(&app, request(&first)).await, "accepted");
    passed.store(302, SeqCst);
    let second = nonce(&answer(&app, request(&first).build()).await);
    assert_ne!(first, second);
    assert_eq!(reason(&app, request(&second)).await, "accepted");
    // The clock of the node that made it may be ahead, but not by an hour.
    passed.store(250, SeqCst);
    assert_eq!(reason(&app, request(&second)).await, "accepted");
    passed.store(200, SeqCst);
    assert_eq!(reason(&app, request(&second)).await, "use_dpop_nonce");
}

#[tokio::test]
async fn nodes_with_one_key_accept_the_nonces_of_each_other() {
    let key = DpopKey::first();
    let token = bound(&key);
    let proof = |nonce: &str| key.proof_with("GET", URI, &token, &json!({ "nonce": nonce }));
    let node = || app(&dpop().require_nonce_of(SECRET).unwrap());
    let first = nonce(&answer(&node(), native(&token, &proof("")).build()).await);
    assert_eq!(reason(&node(), native(&token, &proof(&first))).await, "accepted");
    let other = app(&dpop().require_nonce_of(b"another key of thirty-two bytes!!").unwrap());
    assert_eq!(reason(&other, native(&token, &proof(&first))).await, "use_dpop_nonce");
    let random = app(&dpop().require_nonce().unwrap());
    assert_eq!(reason(&random, native(&token, &proof(&first))).await, "use_dpop_nonce");
}

#[tokio::test]
async fn a_refused_refresh_brings_a_nonce() {
    let key = DpopKey::first();
    let token = bound(&key);
    let proof = |nonce: &Value| key.proof_with("GET", URI, &token, &json!({ "nonce": nonce }));
    let dpop = dpop().require_nonce().unwrap();
    let app = sessions::app(layer(&dpop).refresh_protocol(RefreshProtocol::json()));
    let first = json!(nonce(&answer(&app, native(&token, &proof(&Value::Null)).build()).await));
    let (mut socket, _) = test_util::connect(app, native(&token, &proof(&first)).build()).await.unwrap();

    let mut refresh = async |proof: String| -> Value {
        let message = json!({ "type": "auth.refresh", "token": token, "dpop": proof });
        socket.send(message.to_string().into()).await.unwrap();
        serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
    };
    let refused = refresh(proof(&Value::Null)).await;
    assert_eq!((&refused["type"], &refused["reason"]), (&json!("auth.refused"), &json!("use_dpop_nonce")));
    assert_eq!(refresh(proof(&refused["dpop_nonce"])).await["type"], "auth.refreshed");
}
