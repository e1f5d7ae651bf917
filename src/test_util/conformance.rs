//! What every store must do, for those that write one.
//!
//! ```
//! use axum_ws_auth::{MemoryTickets, test_util::conformance};
//!
//! # #[tokio::main] async fn main() {
//! // Panics, and says why, where a store does not keep a rule.
//! conformance::tickets(MemoryTickets::new()).await;
//! # }
//! ```

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{TicketKey, TicketStore};

/// Short, and long enough that a store on another machine is not too late.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

/// Checks a store of tickets, for a second or two of real time.
///
/// # Panics
///
/// If the store does not keep one of the rules of [`TicketStore`].
pub async fn tickets(store: impl TicketStore) {
    let store = Arc::new(store);

    let key = unused();
    assert_eq!(store.redeem(key).await.expect("a store that works"), None, "a ticket that was never put");

    store.put(key, b"content".to_vec(), LONG).await.expect("a store that works");
    assert_eq!(store.redeem(unused()).await.expect("a store that works"), None, "another ticket");
    let content = store.redeem(key).await.expect("a store that works");
    assert_eq!(content.as_deref(), Some(&b"content"[..]), "a ticket that was put");
    assert_eq!(store.redeem(key).await.expect("a store that works"), None, "a ticket that was redeemed");

    let key = unused();
    store.put(key, b"first".to_vec(), LONG).await.expect("a store that works");
    assert!(store.put(key, b"second".to_vec(), LONG).await.is_err(), "a key that is taken");
    let content = store.redeem(key).await.expect("a store that works");
    assert_eq!(content.as_deref(), Some(&b"first"[..]), "a key that was taken keeps what it has");

    // Whatever bytes there are.
    let key = unused();
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    store.put(key, bytes.clone(), LONG).await.expect("a store that works");
    assert_eq!(store.redeem(key).await.expect("a store that works"), Some(bytes), "all bytes come back");

    let key = unused();
    store.put(key, Vec::new(), SHORT).await.expect("a store that works");
    sleep(SHORT + SHORT).await;
    assert_eq!(store.redeem(key).await.expect("a store that works"), None, "a ticket whose time is over");

    for _ in 0..20 {
        let key = unused();
        store.put(key, b"content".to_vec(), LONG).await.expect("a store that works");
        let racing: Vec<_> = (0..50)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.redeem(key).await })
            })
            .collect();
        let mut redeemed = 0;
        for one in racing {
            let content = one.await.expect("a store that does not panic").expect("a store that works");
            redeemed += usize::from(content.is_some());
        }
        assert_eq!(redeemed, 1, "a ticket that many ask for is redeemed once");
    }
}

fn unused() -> TicketKey {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("random numbers");
    TicketKey::of(&secret)
}
