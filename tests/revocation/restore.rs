//! Revocations that the store has lost or not confirmed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{
    Revocation, Revocations,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
};

use crate::support::settle;

/// A store that refuses some revocations, or all, and records those that it accepts. It returns them by `load` only.
#[derive(Default)]
struct Picky {
    added: Mutex<Vec<Revocation>>,
    batches: Mutex<Vec<(usize, bool)>>,
    is_available: AtomicBool,
    loads: AtomicUsize,
}

impl Picky {
    fn added(&self) -> Vec<String> {
        let token = |revocation: &Revocation| match revocation {
            Revocation::Token(id) => id.id().to_owned(),
            other => panic!("{other:?}"),
        };
        let mut added: Vec<_> = self.added.lock().unwrap().iter().map(token).collect();
        added.sort();
        added
    }
}

impl RevocationStore for Picky {
    async fn add(&self, revocation: &Revocation, _: Duration) -> Result<(), StoreError> {
        if !self.is_available.load(SeqCst) || matches!(revocation, Revocation::Token(id) if id.id().starts_with("bad"))
        {
            return Err(StoreError::unavailable());
        }
        self.added.lock().unwrap().push(revocation.clone());
        Ok(())
    }

    async fn add_many(&self, revocations: &[(Revocation, Duration)], more: bool) -> Vec<Result<(), StoreError>> {
        self.batches.lock().unwrap().push((revocations.len(), more));
        let mut outcomes = Vec::new();
        for (revocation, keep_for) in revocations {
            outcomes.push(self.add(revocation, *keep_for).await);
        }
        outcomes
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        let added = self.added.lock().unwrap().clone();
        let added = added.into_iter().map(|revocation| (revocation, Duration::from_secs(3600)));
        Ok(RevocationBatch::new(Cursor::default(), added.collect()))
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(RevocationBatch::new(after, Vec::new()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_the_store_refuses_does_not_stop_the_others() {
    let store = Arc::new(Picky::default());
    let revocations = Revocations::new(Arc::clone(&store));
    settle().await;
    for number in 0..20 {
        assert!(revocations.revoke_token(format!("good{number:02}")).await.is_err());
        assert!(revocations.revoke_token(format!("bad{number}")).await.is_err());
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    store.is_available.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let good: Vec<_> = (0..20).map(|number| format!("good{number:02}")).collect();
    assert_eq!(store.added(), good, "each once");
    // Only the refused ones are tried again, now and then, and the store is not loaded again.
    let batches = store.batches.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(store.added(), good);
    let batches = store.batches.lock().unwrap().len() - batches;
    assert!((50..70).contains(&batches), "{batches} attempts in ten minutes");
    assert_eq!(store.loads.load(SeqCst), 1);
    // A later revocation is not delayed.
    revocations.revoke_token("late").await.unwrap();
    assert!(store.added().contains(&"late".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn missing_revocations_are_restored_in_batches_that_say_whether_more_follow() {
    let store = Arc::new(Picky::default());
    let revocations = Revocations::new(Arc::clone(&store));
    settle().await;
    for number in 0..1200 {
        assert!(revocations.revoke_token(format!("{number}")).await.is_err());
    }
    store.is_available.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(store.added().len(), 1200);
    assert_eq!(*store.batches.lock().unwrap(), [(500, true), (500, true), (200, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_revocation_that_the_store_does_not_return_is_restored() {
    let store = Arc::new(Picky { is_available: AtomicBool::new(true), ..Picky::default() });
    let revocations = Revocations::new(Arc::clone(&store));
    settle().await;
    revocations.revoke_token("1").await.unwrap();
    // As if the store had been restored from an older copy.
    store.added.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(store.added(), ["1"]);
}
