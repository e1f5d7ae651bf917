//! The task that follows the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{
    MemoryRevocations, Revocation, RevocationOptions, Revocations,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
};

use crate::{node, reason, support::settle};

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = node(&revocations);
    assert_eq!(tasks(), 1);
    drop(revocations);
    settle().await;
    assert_eq!(tasks(), 1, "the layer has a handle");
    drop(app);
    settle().await;
    assert_eq!(tasks(), 0);
}

#[test]
fn the_store_is_followed_again_after_the_runtime_ends() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let store = Arc::new(MemoryRevocations::new());
    let revocations = runtime().block_on(async {
        let revocations = Revocations::new(Arc::clone(&store));
        assert_eq!(reason(&node(&revocations), "alice.1").await, None);
        revocations
    });
    runtime().block_on(async {
        let app = node(&revocations);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(reason(&app, "alice.1").await, None);
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(reason(&app, "alice.1").await, None, "the node is current");
        Revocations::new(store).revoke_token("1").await.unwrap();
        settle().await;
        assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
    });
}

#[test]
fn the_store_is_followed_again_if_the_runtime_is_no_longer_driven() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let options = RevocationOptions::new().max_staleness(Duration::from_secs(15)).unwrap();
    let store = Arc::new(MemoryRevocations::new());
    let setup = runtime();
    let (revocations, app) = setup.block_on(async {
        let revocations = Revocations::with_options(Arc::clone(&store), options);
        let app = node(&revocations);
        assert_eq!(reason(&app, "alice.1").await, None);
        (revocations, app)
    });
    runtime().block_on(async {
        assert_eq!(reason(&app, "alice.1").await, None);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(16)).await;
            assert_eq!(reason(&app, "alice.1").await, None, "a handshake starts a new task");
        }
        Revocations::new(Arc::clone(&store)).revoke_token("1").await.unwrap();
        settle().await;
        assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
    });
    // The task that was replaced ends when its runtime is driven again.
    setup.block_on(settle());
    assert_eq!(setup.metrics().num_alive_tasks(), 0);
    drop(revocations);
}

#[test]
fn reading_the_status_follows_the_store_again() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let revocations = runtime().block_on(async {
        let revocations = Revocations::new(MemoryRevocations::new());
        settle().await;
        revocations
    });
    runtime().block_on(async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(revocations.status().age.unwrap() > Duration::from_secs(60));
        settle().await;
        assert!(revocations.status().age.unwrap() < Duration::from_secs(1));
    });
}

/// A store that can be loaded but not followed, with this many revocations.
struct LoadedOnly {
    revocations: usize,
    loads: AtomicUsize,
}

impl LoadedOnly {
    fn of(revocations: usize) -> Arc<Self> {
        Arc::new(Self { revocations, loads: AtomicUsize::new(0) })
    }
}

impl RevocationStore for LoadedOnly {
    async fn add(&self, _: &Revocation, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        let token = |id: usize| (Revocation::Token(id.to_string().into()), Duration::from_secs(3600));
        let revocations = (0..self.revocations).map(token).collect();
        self.loads.fetch_add(1, SeqCst);
        Ok(RevocationBatch::new(Cursor::default(), revocations))
    }

    async fn next(&self, _: Cursor) -> Result<RevocationBatch, StoreError> {
        Err(StoreError::unavailable())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_followed_is_loaded_periodically() {
    let store = LoadedOnly::of(0);
    let app = node(&Revocations::new(Arc::clone(&store)));
    tokio::time::sleep(Duration::from_secs(600)).await;
    let loads = store.loads.load(SeqCst);
    assert!((60..130).contains(&loads), "{loads} loads in ten minutes");
    assert_eq!(reason(&app, "alice.1").await, None, "each load makes the node current");
}

#[tokio::test]
async fn a_million_revocations_are_applied_while_other_tasks_run() {
    const COUNT: usize = 1_000_000;
    let store = LoadedOnly::of(COUNT);
    let revocations = Revocations::new(Arc::clone(&store));
    let app = node(&revocations);
    // On a single thread, another task does not wait for long. The limits are generous, because the machine may be
    // busy: without yielding, it takes a second or more.
    let (mut turns, mut entries) = (Vec::new(), 0);
    while entries < COUNT {
        let begin = std::time::Instant::now();
        tokio::task::yield_now().await;
        if entries > 0 {
            turns.push(begin.elapsed());
        }
        entries = revocations.status().entries;
    }
    turns.sort();
    let (median, longest) = (turns[turns.len() / 2], turns[turns.len() - 1]);
    println!("{} turns, {median:?} (median), {longest:?} at most", turns.len());
    assert!(turns.len() > 50, "{} turns", turns.len());
    assert!(median < Duration::from_millis(5) && longest < Duration::from_millis(250), "{median:?}, {longest:?}");
    assert_eq!(reason(&app, "alice.999999").await, Some("revoked"));
    assert_eq!(reason(&app, "alice.x").await, None);
}
