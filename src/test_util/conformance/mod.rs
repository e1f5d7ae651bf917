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

mod limits;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{sleep, timeout};

use crate::{
    id::{ScopedId, SessionId},
    store::{Cursor, Revocation, RevocationStore, TicketKey, TicketStore},
};

pub use limits::limits;

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

/// Checks a store of revocations, for ten seconds or so of real time. The two are of two nodes that share what they know;
/// nobody else may use it meanwhile.
///
/// # Panics
///
/// If the store does not keep one of the rules of [`RevocationStore`].
pub async fn revocations(one: impl RevocationStore, other: impl RevocationStore) {
    let session: SessionId = "0123456789abcdef0000000000000001".parse().expect("an id");
    let moment = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let kinds = [
        Revocation::Token("a token, with: \"quotes\" and \u{e9}".into()),
        Revocation::Token(ScopedId::of("https://id.example.com", "a token")),
        Revocation::Token(ScopedId::without_issuer("a token")),
        Revocation::Session(session),
        Revocation::Subject { subject: "alice".into(), until: moment },
        Revocation::Subject { subject: ScopedId::of("https://id.example.com", "alice"), until: moment },
        Revocation::IssuedUntil(moment),
    ];
    let mut cursor = other.load().await.expect("a store that works").cursor;
    for kind in &kinds {
        one.add(kind, LONG).await.expect("a store that works");
        let news = other.next(cursor).await.expect("a store that works");
        assert!(news.revocations.iter().any(|(order, _)| order == kind), "the other node is told of {kind:?}");
        assert!(news.revocations.iter().all(|(_, keep_for)| *keep_for <= LONG), "kept for no longer than asked");
        cursor = news.cursor;
    }
    for all in [one.load().await, other.load().await] {
        let all = all.expect("a store that works").revocations;
        assert!(kinds.iter().all(|kind| all.iter().any(|(order, _)| order == kind)), "a later load has all");
    }

    // What is added while somebody waits.
    let late = Revocation::Token("late".into());
    let (news, added) = tokio::join!(other.next(cursor.clone()), async {
        sleep(SHORT).await;
        one.add(&late, LONG).await
    });
    added.expect("a store that works");
    assert!(
        news.expect("a store that works").revocations.iter().any(|(order, _)| *order == late),
        "a waiting node is told"
    );
    // What was added before somebody asks: nothing is lost in between.
    let news = other.next(cursor.clone()).await.expect("a store that works");
    assert!(news.revocations.iter().any(|(order, _)| *order == late), "a cursor is a place and not a moment");

    let many = ["first", "second", "third"].map(|id| (Revocation::Token(id.into()), LONG));
    let outcomes = one.add_many(&many, false).await;
    assert_eq!(outcomes.len(), many.len(), "an outcome for each order");
    assert!(outcomes.iter().all(Result::is_ok), "a store that works");
    let (mut cursor, mut told) = (news.cursor, Vec::new());
    while told.len() < many.len() {
        let news = other.next(cursor).await.expect("a store that works");
        assert!(!news.revocations.is_empty(), "the other node is told of each of many");
        told.extend(news.revocations.into_iter().filter(|(order, _)| many.iter().any(|(other, _)| other == order)));
        cursor = news.cursor;
    }

    let unknown = other.next(Cursor("18446744073709551615".to_owned())).await;
    assert!(unknown.is_err(), "a cursor that is not in the log is an error");
    let news = other.load().await.expect("a store that works");

    let quiet = timeout(Duration::from_secs(8), other.next(news.cursor)).await;
    let quiet = quiet.expect("a heartbeat within some five seconds").expect("a store that works");
    assert!(quiet.revocations.is_empty(), "nothing is new");

    let short = Revocation::Token("short".into());
    one.add(&short, SHORT).await.expect("a store that works");
    sleep(SHORT + SHORT).await;
    let all = other.load().await.expect("a store that works").revocations;
    assert!(!all.iter().any(|(order, keep_for)| *order == short && !keep_for.is_zero()), "it is over");
}

fn unused() -> TicketKey {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("random numbers");
    TicketKey::of(&secret)
}
