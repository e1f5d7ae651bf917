use std::{
    num::NonZeroUsize,
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::{sleep, timeout};

use super::{LONG, SHORT, unused};
use crate::{
    id::{ScopedId, SessionId},
    store::{Acquire, Acquired, AtLimit, LimitStore, SessionLease},
};

/// Checks a store of limits, for ten seconds or so of real time. The two are of two nodes that count together.
///
/// # Panics
///
/// If the store does not keep one of the rules of [`LimitStore`].
pub async fn limits(one: impl LimitStore, other: impl LimitStore) {
    let (one, other) = (Arc::new(one), Arc::new(other));
    // Nobody has had these subjects before.
    let run = unused();
    let lease = |subject: &str, age| lease_of(format!("{subject}{run}"), age);
    let taken = || Acquired::Taken { evicted: Vec::new() };

    // Two places, on both nodes together.
    let [first, second, third] = [1, 2, 3].map(|age| lease("alice", age));
    assert_eq!(ask(&one, &first, AtLimit::RefuseNew, LONG).await, taken(), "the first place");
    assert_eq!(ask(&other, &second, AtLimit::RefuseNew, LONG).await, taken(), "the second place");
    assert_eq!(ask(&one, &third, AtLimit::RefuseNew, LONG).await, Acquired::Full, "there is no third place");
    assert_eq!(ask(&other, &third, AtLimit::RefuseNew, LONG).await, Acquired::Full, "on the other node neither");
    assert_eq!(ask(&one, &second, AtLimit::RefuseNew, LONG).await, taken(), "who has a place may ask again");
    for stranger in ["", "bob", "alice ", "{alice}", "\"quotes\" and \u{e9}\0"] {
        assert_eq!(ask(&one, &lease(stranger, 1), AtLimit::RefuseNew, LONG).await, taken(), "{stranger:?} is another");
    }
    // The same name at another issuer is somebody else, however the two are put together.
    let alice = format!("alice{run}");
    let namesakes = [
        ScopedId::without_issuer(alice.as_str()),
        ScopedId::of("", alice.as_str()),
        ScopedId::of("a", alice.as_str()),
        ScopedId::of("aa", alice.as_str()),
        ScopedId::of(format!("a{alice}"), ""),
        ScopedId::of("a:", alice.as_str()),
        ScopedId::of("a", format!(":{alice}")),
    ];
    for namesake in namesakes {
        for age in 1..=2 {
            let acquired = ask(&one, &lease_of(&namesake, age), AtLimit::RefuseNew, LONG).await;
            assert_eq!(acquired, taken(), "{namesake} has places of their own");
        }
    }

    // A place that is given back is there for anybody, and giving it back twice makes no second one.
    for _ in 0..2 {
        other.release(slice::from_ref(&first)).await.expect("a store that works");
    }
    assert_eq!(ask(&other, &third, AtLimit::RefuseNew, LONG).await, taken(), "the place that was given back");
    assert_eq!(ask(&other, &first, AtLimit::RefuseNew, LONG).await, Acquired::Full, "it was one");
    let request = Acquire::new(&first, TWO, AtLimit::RefuseNew, LONG);
    let acquired = other.acquire(request.releasing(slice::from_ref(&third))).await.expect("a store that works");
    assert_eq!(acquired, taken(), "what is released in the same step");

    // The oldest goes, whoever asked first, and its node is told: at once if it listens, and when it renews.
    let [oldest, older, newest] = [1, 2, 3].map(|age| lease("carol", age));
    for lease in [&older, &oldest] {
        assert_eq!(ask(&one, lease, AtLimit::EvictOldest, LONG).await, taken(), "a place for each");
    }
    let (heard, acquired) = tokio::join!(timeout(Duration::from_secs(5), one.evicted()), async {
        sleep(SHORT).await;
        ask(&other, &newest, AtLimit::EvictOldest, LONG).await
    });
    assert_eq!(acquired, Acquired::Taken { evicted: vec![oldest.session] }, "the oldest goes");
    let heard = heard.expect("told while it listens").expect("a store that works");
    assert_eq!(heard, [oldest.session], "told which one");
    for _ in 0..2 {
        let renewed = one.renew(&[oldest.clone(), older.clone()], LONG).await.expect("a store that works");
        assert_eq!(renewed, [oldest.session], "told when it renews, and not brought back by that");
    }
    one.release(slice::from_ref(&oldest)).await.expect("a store that works");
    one.release(slice::from_ref(&older)).await.expect("a store that works");
    assert_eq!(ask(&one, &oldest, AtLimit::RefuseNew, LONG).await, taken(), "an evicted one has no place");
    assert_eq!(ask(&one, &older, AtLimit::RefuseNew, LONG).await, Acquired::Full, "and the newest has its own");

    // What the store has lost, or never had, is not evicted; and if there are too many then, as many go.
    let lost: Vec<SessionLease> = (1..=5).map(|age| lease("dave", age)).collect();
    let renewed = one.renew(&lost, LONG).await.expect("a store that works");
    assert!(renewed.is_empty(), "what is not there is not evicted");
    let late = lease("dave", 6);
    assert_eq!(ask(&other, &late, AtLimit::RefuseNew, LONG).await, Acquired::Full, "what was renewed counts");
    let Acquired::Taken { mut evicted } = ask(&other, &late, AtLimit::EvictOldest, LONG).await else {
        unreachable!("a new one is taken")
    };
    evicted.sort();
    let mut oldest: Vec<SessionId> = lost.iter().take(4).map(|lease| lease.session).collect();
    oldest.sort();
    assert_eq!(evicted, oldest, "as many as are too many");

    // Two leases of many subjects in one renewal, and one of two that nobody renews.
    let mut kept: Vec<SessionLease> =
        (1..=20).flat_map(|name| [1, 2].map(|age| lease(&format!("erin {name}"), age))).collect();
    for lease in &kept {
        assert_eq!(ask(&one, lease, AtLimit::RefuseNew, SHORT * 3).await, taken(), "a place for each");
    }
    let [left, next] = [1, 2].map(|age| lease("frank", age));
    ask(&one, &left, AtLimit::RefuseNew, SHORT * 3).await;
    ask(&one, &next, AtLimit::RefuseNew, SHORT * 3).await;
    kept.push(next);
    for _ in 0..5 {
        sleep(SHORT).await;
        assert!(one.renew(&kept, SHORT * 3).await.expect("a store that works").is_empty(), "nobody was evicted");
    }
    let again = lease("frank", 3);
    assert_eq!(ask(&other, &again, AtLimit::RefuseNew, SHORT).await, taken(), "a lease whose time is over");
    assert_eq!(ask(&one, &left, AtLimit::RefuseNew, SHORT).await, Acquired::Full, "and no other");
    for name in 1..=20 {
        let third = lease(&format!("erin {name}"), 3);
        assert_eq!(ask(&other, &third, AtLimit::RefuseNew, SHORT).await, Acquired::Full, "what is renewed stays");
    }

    // For the last place there is one.
    for round in 0..10 {
        let racing: Vec<_> = (0..50)
            .map(|number| {
                let store = (Arc::clone(&one), Arc::clone(&other), number % 2 == 0);
                let lease = lease(&format!("grace {round}"), number);
                tokio::spawn(async move {
                    match store {
                        (one, _, true) => ask(&one, &lease, AtLimit::RefuseNew, LONG).await,
                        (_, other, false) => ask(&other, &lease, AtLimit::RefuseNew, LONG).await,
                    }
                })
            })
            .collect();
        let mut places = 0;
        for one in racing {
            places += usize::from(one.await.expect("a store that does not panic") != Acquired::Full);
        }
        assert_eq!(places, TWO.get(), "of any number that ask at once as many get a place as there are");
    }
}

const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("it is not zero");

/// Of another session each time, which is the older the lower its age.
fn lease_of(subject: impl Into<ScopedId>, age: u64) -> SessionLease {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let session = format!("{:016x}{:016x}", u64::MAX, NUMBER.fetch_add(1, Ordering::Relaxed));
    let accepted = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + age);
    SessionLease::new(subject, session.parse().expect("an id"), accepted)
}

async fn ask(store: &impl LimitStore, lease: &SessionLease, at_limit: AtLimit, lifetime: Duration) -> Acquired {
    store.acquire(Acquire::new(lease, TWO, at_limit, lifetime)).await.expect("a store that works")
}
