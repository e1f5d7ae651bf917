use std::sync::Arc;

use tokio::time::sleep;

use super::{LONG, SHORT, WORKS, unused_key};
use crate::store::TicketStore;

/// Tests a store of tickets. Takes a second or two.
///
/// # Panics
///
/// If the store breaks a rule of [`TicketStore`].
pub async fn tickets(store: impl TicketStore) {
    let store = Arc::new(store);

    let key = unused_key();
    assert_eq!(store.redeem(key).await.expect(WORKS), None, "there is no ticket under an unused key");

    store.put(key, b"content".to_vec(), LONG).await.expect(WORKS);
    assert_eq!(store.redeem(unused_key()).await.expect(WORKS), None, "another key is another ticket");
    let content = store.redeem(key).await.expect(WORKS);
    assert_eq!(content.as_deref(), Some(&b"content"[..]), "a stored ticket is redeemed");
    assert_eq!(store.redeem(key).await.expect(WORKS), None, "a ticket is redeemed once");

    let key = unused_key();
    store.put(key, b"first".to_vec(), LONG).await.expect(WORKS);
    assert!(store.put(key, b"second".to_vec(), LONG).await.is_err(), "a key that exists is an error");
    let content = store.redeem(key).await.expect(WORKS);
    assert_eq!(content.as_deref(), Some(&b"first"[..]), "a key that exists keeps its content");

    let key = unused_key();
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    store.put(key, bytes.clone(), LONG).await.expect(WORKS);
    assert_eq!(store.redeem(key).await.expect(WORKS), Some(bytes), "contents are arbitrary bytes");

    let key = unused_key();
    store.put(key, Vec::new(), SHORT).await.expect(WORKS);
    sleep(SHORT + SHORT).await;
    assert_eq!(store.redeem(key).await.expect(WORKS), None, "a ticket expires");

    for _ in 0..20 {
        let key = unused_key();
        store.put(key, b"content".to_vec(), LONG).await.expect(WORKS);
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.redeem(key).await })
            })
            .collect();
        let mut redeemed = 0;
        for call in calls {
            let content = call.await.expect("the store does not panic").expect(WORKS);
            redeemed += usize::from(content.is_some());
        }
        assert_eq!(redeemed, 1, "exactly one of many concurrent calls redeems the ticket");
    }

    let key = unused_key();
    assert!(store.use_once(key, LONG).await.expect(WORKS), "the first use is the first");
    assert!(!matches!(store.use_once(key, LONG).await, Ok(true)), "the second use is not the first");
    assert!(store.use_once(unused_key(), LONG).await.expect(WORKS), "another key is another use");

    let key = unused_key();
    assert!(store.use_once(key, SHORT).await.expect(WORKS), "the first use is the first");
    sleep(SHORT + SHORT).await;
    assert!(store.use_once(key, LONG).await.expect(WORKS), "a use is forgotten after its lifetime");

    for _ in 0..20 {
        let key = unused_key();
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.use_once(key, LONG).await })
            })
            .collect();
        let mut first = 0;
        for call in calls {
            first += usize::from(matches!(call.await.expect("the store does not panic"), Ok(true)));
        }
        assert_eq!(first, 1, "exactly one of many concurrent uses is the first");
    }
}
