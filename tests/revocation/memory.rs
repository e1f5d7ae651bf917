//! The store in memory.

use std::{sync::Arc, time::Duration};

use axum_ws_auth::{
    MemoryRevocations, Revocation,
    store::{Cursor, RevocationStore, StoreErrorKind},
    test_util::conformance,
};

#[tokio::test]
async fn the_memory_store_passes_the_conformance_test() {
    let store = Arc::new(MemoryRevocations::new());
    conformance::revocations(Arc::clone(&store), store).await;
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_log_is_lost() {
    let (one, other) = (MemoryRevocations::new(), MemoryRevocations::new());
    let minute = Duration::from_secs(60);
    for store in [&one, &other] {
        store.add(&Revocation::Token("1".into()), minute).await.unwrap();
    }
    let [cursor, elsewhere] = [one.load().await.unwrap().cursor, other.load().await.unwrap().cursor];
    let (id, number) = cursor.0.split_once(':').unwrap();
    let beyond = number.parse::<u64>().unwrap() + 1;
    for wrong in [elsewhere.0, number.to_owned(), String::new(), format!("{id}:{beyond}"), format!("{id}:")] {
        let error = one.next(Cursor(wrong.clone())).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Lost, "{wrong}");
    }
    assert!(one.next(cursor).await.unwrap().revocations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_read_completely() {
    let (store, minute) = (MemoryRevocations::new(), Duration::from_secs(60));
    let tokens = async |from: usize, keep_for| {
        for number in from..from + 2500 {
            store.add(&Revocation::Token(number.to_string().into()), keep_for).await.unwrap();
        }
    };
    tokens(0, minute).await;
    let begin = store.load().await.unwrap();
    assert_eq!(begin.revocations.len(), 2500);
    tokens(2500, minute * 2).await;
    let batch = store.next(begin.cursor.clone()).await.unwrap();
    assert_eq!(batch.revocations.len(), 2500);
    // The first half has expired.
    tokio::time::sleep(minute).await;
    let batch = store.next(begin.cursor).await.unwrap();
    assert_eq!(batch.revocations.len(), 2500);
    assert_eq!(store.load().await.unwrap().revocations.len(), 2500);
    assert_eq!(format!("{store:?}"), "MemoryRevocations { entries: 2500 }");
}
