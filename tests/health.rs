//! Each fact turns the health report.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{http::StatusCode, response::IntoResponse};
use axum_ws_auth::{
    Authenticated, Drain, Health, HealthReason, HealthReport, HealthStatus, Limits, MemoryRevocations, Revocation,
    RevocationOptions, Revocations, Sessions, WsAuthLayer,
    store::{Cursor, Ping, RevocationBatch, RevocationStore, StoreError},
};
use serde_json::{Value, json};
use support::*;
use tokio::time::{Instant, sleep};

/// The status, and the names of the reasons.
fn outcome(report: &HealthReport) -> (HealthStatus, Vec<&'static str>) {
    (report.status, report.reasons.iter().map(|reason| reason.as_str()).collect())
}

fn json_of(report: &HealthReport) -> Value {
    serde_json::to_value(report).unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_healthy() {
    let report = Health::new().report().await;
    assert_eq!(outcome(&report), (HealthStatus::Ok, vec![]));
    assert_eq!(report.into_response().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_counted_and_limited() {
    let sessions = Sessions::with_limits(Limits::new().total(2).unwrap());
    let health = Health::new().sessions(&sessions);
    let app = behind(WsAuthLayer::new(timed).sessions(&sessions), read_on);
    let alice = connected(&app, "alice.60").await;
    let report = health.report().await;
    assert_eq!(outcome(&report), (HealthStatus::Ok, vec![]));
    assert_eq!(
        json_of(&report)["sessions"],
        json!({ "connections": 1, "websockets": 1, "streams": 0, "limit": 2, "is_draining": false })
    );
    let bob = connected(&app, "bob.60").await;
    assert_eq!(outcome(&health.report().await), (HealthStatus::Unavailable, vec!["server_full"]));
    drop((alice, bob));
    settle().await;
    assert_eq!(outcome(&health.report().await), (HealthStatus::Ok, vec![]));
    sessions.drain(Drain::going_away()).await;
    let report = health.report().await;
    assert_eq!(outcome(&report), (HealthStatus::Unavailable, vec!["draining"]));
    assert_eq!(report.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[cfg(feature = "streams")]
#[tokio::test(start_paused = true)]
async fn streams_are_counted_apart() {
    let sessions = Sessions::new();
    let events = async || {
        let body =
            axum::body::Body::from_stream(futures_util::stream::pending::<Result<axum::body::Bytes, axum::Error>>());
        axum::response::Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
    };
    let app =
        axum::Router::new().route("/", axum::routing::any(events)).layer(WsAuthLayer::new(timed).sessions(&sessions));
    let request = http::Request::get("/").header("authorization", "Bearer alice").body(axum::body::Body::empty());
    let _response = answer(&app, request.unwrap()).await;
    let sessions = Health::new().sessions(&sessions).report().await.sessions.unwrap();
    assert_eq!((sessions.connections, sessions.websockets, sessions.streams, sessions.limit), (1, 0, 1, None));
}

/// A handler may keep the session of a plain request.
#[tokio::test]
async fn only_connections_are_counted() {
    let (sessions, kept) = (Sessions::new(), Arc::new(Mutex::new(None)));
    let keep = Arc::clone(&kept);
    let handler = async move |Authenticated(session): Authenticated<String>| *keep.lock().unwrap() = Some(session);
    let layer = WsAuthLayer::new(timed).sessions(&sessions);
    let app = axum::Router::new().route("/", axum::routing::any(handler)).layer(layer);
    let request = http::Request::get("/").header("authorization", "Bearer alice").body(axum::body::Body::empty());
    answer(&app, request.unwrap()).await;
    assert_eq!(kept.lock().unwrap().as_ref().unwrap().end_reason(), None);
    let sessions = Health::new().sessions(&sessions).report().await.sessions.unwrap();
    assert_eq!((sessions.connections, sessions.websockets, sessions.streams), (0, 0, 0));
}

/// Answers until it is told not to.
#[derive(Clone, Default)]
struct Unreliable {
    memory: Arc<MemoryRevocations>,
    is_down: Arc<AtomicBool>,
}

impl Unreliable {
    fn check(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::SeqCst) { Err(StoreError::unavailable()) } else { Ok(()) }
    }
}

impl RevocationStore for Unreliable {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        self.check()?;
        self.memory.add(revocation, keep_for).await
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        self.check()?;
        self.memory.load().await
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        sleep(Duration::from_secs(1)).await;
        self.check()?;
        Ok(RevocationBatch::new(after, vec![]))
    }
}

impl Ping for Unreliable {
    async fn ping(&self) -> Result<(), StoreError> {
        self.check()
    }
}

#[tokio::test(start_paused = true)]
async fn stale_revocations_make_a_node_unavailable() {
    for (insecure, expected) in [(false, HealthStatus::Unavailable), (true, HealthStatus::Degraded)] {
        let store = Unreliable::default();
        let options = RevocationOptions::new().max_staleness(Duration::from_secs(20)).unwrap();
        let options = if insecure { options.insecure_admit_when_stale() } else { options };
        let revocations = Revocations::with_options(store.clone(), options);
        let health = Health::new().revocations(&revocations);
        // It has loaded nothing yet.
        assert_eq!(outcome(&health.report().await), (expected, vec!["revocations_stale"]));
        settle().await;
        let report = health.report().await;
        assert_eq!(outcome(&report), (HealthStatus::Ok, vec![]));
        assert_eq!(
            json_of(&report)["revocations"],
            json!({ "entries": 0, "age": 0, "is_current": true, "admits_when_stale": insecure, "admitted_when_stale": 0 })
        );
        store.is_down.store(true, Ordering::SeqCst);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(outcome(&health.report().await), (expected, vec!["revocations_stale"]));
        store.is_down.store(false, Ordering::SeqCst);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(outcome(&health.report().await), (HealthStatus::Ok, vec![]));
    }
}

/// Never answers.
struct Silent;

impl Ping for Silent {
    async fn ping(&self) -> Result<(), StoreError> {
        pending().await
    }
}

struct Panicking;

impl Ping for Panicking {
    async fn ping(&self) -> Result<(), StoreError> {
        std::panic::resume_unwind(Box::new("on purpose"))
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_does_not_answer_degrades_a_node() {
    let store = Unreliable::default();
    let health = Health::new().store("redis", store.clone());
    assert_eq!(outcome(&health.report().await), (HealthStatus::Ok, vec![]));
    store.is_down.store(true, Ordering::SeqCst);
    let report = health.report().await;
    assert_eq!(outcome(&report), (HealthStatus::Degraded, vec!["store_unreachable"]));
    let stores = json!([{ "name": "redis", "is_reachable": false, "error": "the store is unavailable" }]);
    assert_eq!(json_of(&report)["stores"], stores);
    assert_eq!(report.into_response().status(), StatusCode::OK, "other nodes are no better");
}

/// All are asked at once, for two seconds.
#[tokio::test(start_paused = true)]
async fn silent_stores_delay_the_report_by_two_seconds() {
    let health = Health::new()
        .store("first", Silent)
        .store("second", Unreliable::default())
        .store("third", Silent)
        .store("fourth", Panicking);
    let start = Instant::now();
    let report = health.report().await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let errors: Vec<_> =
        report.stores.iter().map(|store| (store.name, store.error.as_ref().map(ToString::to_string))).collect();
    let late = || Some("the store is unavailable: no answer within 2s".to_owned());
    let panicked = Some("the store is unavailable: its check panicked".to_owned());
    assert_eq!(errors, [("first", late()), ("second", None), ("third", late()), ("fourth", panicked)]);
}

/// The worst decides, and every reason is named.
#[tokio::test(start_paused = true)]
async fn worst_fact_decides() {
    let (sessions, store) = (Sessions::new(), Unreliable::default());
    store.is_down.store(true, Ordering::SeqCst);
    let health = Health::new().sessions(&sessions).store("redis", store);
    sessions.drain(Drain::going_away()).await;
    let report = health.report().await;
    assert_eq!(outcome(&report), (HealthStatus::Unavailable, vec!["draining", "store_unreachable"]));
    assert_eq!(report.reasons, [HealthReason::Draining, HealthReason::StoreUnreachable]);
    let printed = format!("{health:?}");
    assert!(printed.contains("redis"), "{printed}");
}

#[cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
#[tokio::test(start_paused = true)]
async fn missing_keys_turn_the_report() {
    use axum_ws_auth::{
        jwks::{IssuerKeys, JwkSet},
        jwt::JwtVerifier,
    };

    let local = |issuer: &str| {
        let key =
            json!({ "kty": "oct", "k": axum_ws_auth::test_util::base64url(axum_ws_auth::test_util::TEST_SECRET) });
        let set: JwkSet = serde_json::from_value(json!({ "keys": [key] })).unwrap();
        IssuerKeys::jwks(issuer, set)
    };
    // Nothing listens on this port.
    let unreachable = || IssuerKeys::jwks_url("https://down.example.com", "http://127.0.0.1:1/keys");
    let builder = || JwtVerifier::<Value>::builder().audience("chat");
    let good = builder().issuer_keys(local("https://id.example.com")).build().unwrap();
    let mixed = builder().issuer_keys(local("https://id.example.com")).issuer_keys(unreachable()).build().unwrap();
    let bad = builder().issuer_keys(unreachable()).build().unwrap();
    for (name, health, expected) in [
        ("good", Health::new().verifier(&good), (HealthStatus::Ok, vec![])),
        ("one of two", Health::new().verifier(&mixed), (HealthStatus::Degraded, vec!["keys_missing"])),
        ("two verifiers", Health::new().verifier(&good).verifier(&bad), (HealthStatus::Degraded, vec!["keys_missing"])),
        ("none", Health::new().verifier(&bad), (HealthStatus::Unavailable, vec!["keys_missing"])),
    ] {
        let report = health.report().await;
        assert_eq!(outcome(&report), expected, "{name}");
        assert_eq!(json_of(&report)["issuers"].as_array().unwrap().len(), report.issuers.len(), "{name}");
    }
}

/// The keys from before are still good.
#[cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
#[tokio::test(start_paused = true)]
async fn failed_fetch_degrades_a_node_until_the_keys_are_too_old() {
    use support::issuer::{Key, Pair, Reply, TestIssuer, verifier};
    use tokio::time::advance;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    let issuer = TestIssuer::in_process("https://id.example.com", &[Key::new(Pair::Ed25519, "1")]);
    let verifier = verifier([issuer.keys()]).build().unwrap();
    let health = Health::new().verifier(&verifier);
    verifier.ready().await.unwrap();
    assert_eq!(outcome(&health.report().await), (HealthStatus::Ok, vec![]));
    issuer.reply("/keys", Reply::raw(500, ""));
    advance(DAY / 2).await;
    settle().await;
    let report = health.report().await;
    assert_eq!(outcome(&report), (HealthStatus::Degraded, vec!["keys_not_refreshed"]));
    let issuer = &json_of(&report)["issuers"][0];
    assert_eq!((&issuer["is_usable"], &issuer["age"]), (&json!(true), &json!(DAY.as_secs() / 2)));
    assert_eq!(issuer["last_error"], "the issuer responded with status 500");
    advance(DAY).await;
    settle().await;
    assert_eq!(outcome(&health.report().await), (HealthStatus::Unavailable, vec!["keys_missing"]));
}
