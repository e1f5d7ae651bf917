//! A node without the store, or with an incomplete one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{
    MemoryRevocations, Revocation, RevocationOptions, Revocations,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
    test_util::handshake,
};
use http::StatusCode;

use crate::{
    Flaky, close_frame, greeted, node, reason,
    support::{answer, closed, is_refused_with},
};

#[tokio::test(start_paused = true)]
async fn a_stale_node_refuses_and_catches_up() {
    for hangs in [false, true] {
        let store = Flaky::default();
        let (near, far) = (Revocations::new(store.clone()), Revocations::new(Arc::clone(&store.inner)));
        let app = node(&near);
        let (mut revoked, _) = greeted(&app, "alice.1").await;
        let (mut spared, _) = greeted(&app, "alice.2").await;

        if hangs { &store.hangs } else { &store.fails }.store(true, SeqCst);
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!(reason(&app, "alice.3").await, None, "the node is not stale yet");
        far.revoke_token("1").await.unwrap();
        tokio::time::sleep(Duration::from_secs(16)).await;
        let response = answer(&app, handshake().bearer_subprotocol("alice.3").build()).await;
        assert!(is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "revocations_stale"));
        assert_eq!(response.headers()["retry-after"], "5");
        assert!(near.status().age.unwrap() >= Duration::from_secs(60));
        assert_eq!(close_frame(&mut revoked).await, None, "live sessions go on");

        store.hangs.store(false, SeqCst);
        store.fails.store(false, SeqCst);
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert_eq!(close_frame(&mut revoked).await, Some((3000, "revoked".to_owned())));
        assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
        assert_eq!(reason(&app, "alice.3").await, None);
        assert_eq!(close_frame(&mut spared).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_node_can_be_set_to_admit_and_count() {
    let store = Flaky::default();
    let options = RevocationOptions::new().insecure_admit_when_stale().max_staleness(Duration::from_secs(20)).unwrap();
    let revocations = Revocations::with_options(store.clone(), options);
    let app = node(&revocations);
    assert_eq!(reason(&app, "alice.1").await, None);
    assert_eq!(revocations.status().admitted_when_stale, 0);
    store.fails.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(26)).await;
    assert_eq!(reason(&app, "alice.1").await, None);
    assert_eq!(revocations.status().admitted_when_stale, 1);
    // Known revocations are in effect.
    assert!(revocations.revoke_token("1").await.is_err());
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_admitted_before_the_first_load() {
    let store = Flaky::default();
    store.fails.store(true, SeqCst);
    let app = node(&Revocations::new(store.clone()));
    assert_eq!(reason(&app, "alice.1").await, Some("revocations_stale"));
    store.fails.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(reason(&app, "alice.1").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_revocation_is_in_effect_on_its_own_node() {
    let store = Flaky::default();
    let revocations = Revocations::new(store.clone());
    let app = node(&revocations);
    let (mut socket, _) = greeted(&app, "alice.1").await;
    store.fails.store(true, SeqCst);
    assert!(revocations.revoke_subject("alice").await.is_err());
    assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()));
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
}

/// A store whose batches can be made incomplete.
struct Incomplete {
    inner: MemoryRevocations,
    is_incomplete: AtomicBool,
}

impl RevocationStore for Incomplete {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        self.inner.add(revocation, keep_for).await
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        let batch = self.inner.load().await?;
        Ok(if self.is_incomplete.load(SeqCst) { batch.incomplete() } else { batch })
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        let batch = self.inner.next(after).await?;
        Ok(if self.is_incomplete.load(SeqCst) { batch.incomplete() } else { batch })
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_with_an_incomplete_store_admits_nobody() {
    let store = Arc::new(Incomplete { inner: MemoryRevocations::new(), is_incomplete: AtomicBool::new(true) });
    let early = Revocations::new(Arc::clone(&store));
    let app = node(&early);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(reason(&app, "alice.1").await, Some("revocations_stale"));
    assert_eq!(early.status().age, None);
    early.revoke_token("1").await.unwrap();
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"), "known revocations are in effect");
    store.is_incomplete.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((reason(&app, "alice.2").await, reason(&app, "alice.1").await), (None, Some("revoked")));
    // A node that was up to date once keeps admitting.
    store.is_incomplete.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(reason(&app, "alice.2").await, None);
}
