//! A proof is accepted once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{
    MemoryTickets,
    store::{StoreError, TicketKey, TicketStore},
};

use super::*;

/// A store that several nodes share, and that can fail.
#[derive(Clone, Default)]
struct Shared(Arc<(MemoryTickets, AtomicBool)>);

impl TicketStore for Shared {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        self.0.0.put(key, content, lifetime).await
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.0.redeem(key).await
    }

    async fn use_once(&self, key: TicketKey, lifetime: Duration) -> Result<bool, StoreError> {
        if self.0.1.load(SeqCst) {
            return Err(StoreError::unavailable().with_source("the store is down"));
        }
        assert_eq!(lifetime, Duration::from_secs(60 + 10 + 60), "as long as any node would accept it");
        self.0.0.use_once(key, lifetime).await
    }
}

#[tokio::test]
async fn a_proof_is_accepted_once_by_all_nodes() {
    let key = DpopKey::first();
    let token = bound(&key);
    let store = Shared::default();
    let (one, two) = (app(&dpop().store(store.clone())), app(&dpop().store(store)));
    let proof = key.proof("GET", URI, &token);
    assert_eq!(reason(&one, native(&token, &proof)).await, "accepted");
    for app in [&one, &two] {
        assert_eq!(reason(app, native(&token, &proof)).await, "proof_replayed");
        assert_eq!(reason(app, page(&token, &proof)).await, "proof_replayed");
    }
    assert_eq!(reason(&two, native(&token, &key.proof("GET", URI, &token))).await, "accepted");

    // Two nodes with stores of their own do not know of each other.
    let (one, two) = (app(&dpop()), app(&dpop()));
    let proof = key.proof("GET", URI, &token);
    assert_eq!(reason(&one, native(&token, &proof)).await, "accepted");
    assert_eq!(reason(&two, native(&token, &proof)).await, "accepted");
}

#[tokio::test]
async fn an_id_is_used_up_for_its_key_alone() {
    let app = app(&dpop());
    for key in [DpopKey::first(), DpopKey::second()] {
        let token = bound(&key);
        let proof = || key.proof_with("GET", URI, &token, &json!({ "jti": "1" }));
        assert_eq!(reason(&app, native(&token, &proof())).await, "accepted");
        assert_eq!(reason(&app, native(&token, &proof())).await, "proof_replayed");
    }
}

#[tokio::test]
async fn of_many_at_once_one_is_accepted() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = app(&dpop());
    let proof = key.proof("GET", URI, &token);
    let racing = (0..50).map(|_| {
        let (app, request) = (app.clone(), native(&token, &proof).build());
        tokio::spawn(async move { answer(&app, request).await.status().as_u16() })
    });
    assert_eq!(completed(racing.collect()).await, 1);
}

#[tokio::test]
async fn a_store_that_fails_refuses_with_503() {
    let key = DpopKey::first();
    let token = bound(&key);
    let store = Shared::default();
    let failing = app(&dpop().store(store.clone()));
    store.0.1.store(true, SeqCst);
    let proof = key.proof("GET", URI, &token);
    let response = answer(&failing, native(&token, &proof).build()).await;
    assert!(is_refused_with(&response, http::StatusCode::SERVICE_UNAVAILABLE, "verifier_unavailable"));
    assert_eq!(response.headers()["retry-after"], "5");
    store.0.1.store(false, SeqCst);
    assert_eq!(reason(&failing, native(&token, &proof)).await, "accepted");

    let full = app(&dpop().store(MemoryTickets::new().capacity(1).unwrap()));
    assert_eq!(reason(&full, native(&token, &key.proof("GET", URI, &token))).await, "accepted");
    assert_eq!(reason(&full, native(&token, &key.proof("GET", URI, &token))).await, "verifier_unavailable");
}

#[tokio::test(start_paused = true)]
async fn flood_while_the_store_is_unavailable_is_a_handful_of_log_events() {
    let log = log::Log::default();
    let _logging = log.capture(tracing::Level::WARN);
    let key = DpopKey::first();
    let token = bound(&key);
    let store = Shared::default();
    store.0.1.store(true, SeqCst);
    let app = app(&dpop().store(store));
    for _ in 0..25 {
        assert_eq!(reason(&app, native(&token, &key.proof("GET", URI, &token))).await, "verifier_unavailable");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    if cfg!(feature = "tracing") {
        let log = log.text();
        assert_eq!(log.lines().filter(|line| line.contains("proof not noted")).count(), 10, "{log}");
        assert!(log.ends_with("proofs not noted suppressed=15\n"), "{log}");
    }
}

#[tokio::test]
async fn memory_tells_a_second_use_from_an_error() {
    let store = MemoryTickets::new().capacity(1).unwrap();
    let (one, two) = (TicketKey::of(&[1; 32]), TicketKey::of(&[2; 32]));
    let minute = Duration::from_secs(60);
    assert!(store.use_once(one, minute).await.unwrap());
    assert!(!store.use_once(one, minute).await.unwrap());
    assert!(store.use_once(two, minute).await.is_err(), "the store is full");
}
