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

use super::{LONG, SHORT, WORKS, unused_key};
use crate::{
    id::{ScopedId, SessionId},
    store::{Acquire, Acquired, AtLimit, LeaseQuery, LimitStore, SessionLease},
};

/// Tests a store of limits. Takes about ten seconds. The two values are the stores of two nodes, which count together.
///
/// # Panics
///
/// If the store breaks a rule of [`LimitStore`].
pub async fn limits(one: impl LimitStore, other: impl LimitStore) {
    let (one, other) = (Arc::new(one), Arc::new(other));
    // Makes the subjects of this run unique.
    let run = unused_key();
    let lease = |subject: &str, accepted| lease_of(format!("{subject}{run}"), accepted);
    let taken = || Acquired::Taken { evicted: Vec::new() };

    // A subject has two leases, on both nodes together.
    let [first, second, third] = [1, 2, 3].map(|accepted| lease("alice", accepted));
    assert_eq!(acquire(&one, &first, AtLimit::RefuseNew, LONG).await, taken(), "the first lease is taken");
    assert_eq!(acquire(&other, &second, AtLimit::RefuseNew, LONG).await, taken(), "the second lease is taken");
    assert_eq!(acquire(&one, &third, AtLimit::RefuseNew, LONG).await, Acquired::Full, "a third lease is refused");
    assert_eq!(
        acquire(&other, &third, AtLimit::RefuseNew, LONG).await,
        Acquired::Full,
        "a third lease is refused on the other node"
    );
    assert_eq!(acquire(&one, &second, AtLimit::RefuseNew, LONG).await, taken(), "a lease that exists is taken again");
    for stranger in ["", "bob", "alice ", "{alice}", "\"quotes\" and \u{e9}\0"] {
        assert_eq!(
            acquire(&one, &lease(stranger, 1), AtLimit::RefuseNew, LONG).await,
            taken(),
            "{stranger:?} is another subject"
        );
    }
    // The same `sub` of another issuer is another subject, however a store joins the two.
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
        for accepted in 1..=2 {
            let acquired = acquire(&one, &lease_of(&namesake, accepted), AtLimit::RefuseNew, LONG).await;
            assert_eq!(acquired, taken(), "{namesake} is another subject");
        }
    }

    // A released lease can be taken again, and releasing it twice frees one.
    for _ in 0..2 {
        other.release(slice::from_ref(&first)).await.expect(WORKS);
    }
    assert_eq!(acquire(&other, &third, AtLimit::RefuseNew, LONG).await, taken(), "a released lease is free");
    assert_eq!(
        acquire(&other, &first, AtLimit::RefuseNew, LONG).await,
        Acquired::Full,
        "a lease that is released twice is one"
    );
    let request = Acquire::new(&first, TWO, AtLimit::RefuseNew, LONG);
    let acquired = other.acquire(request.releasing(slice::from_ref(&third))).await.expect(WORKS);
    assert_eq!(acquired, taken(), "the leases in `released` are released first");

    // The oldest session is evicted, whichever was acquired first. Its node learns of it at once if it waits, and when
    // it renews.
    let [oldest, older, newest] = [1, 2, 3].map(|accepted| lease("carol", accepted));
    for lease in [&older, &oldest] {
        assert_eq!(acquire(&one, lease, AtLimit::EvictOldest, LONG).await, taken(), "a lease for each");
    }
    let (evicted, acquired) = tokio::join!(timeout(Duration::from_secs(5), one.evicted()), async {
        sleep(SHORT).await;
        acquire(&other, &newest, AtLimit::EvictOldest, LONG).await
    });
    assert_eq!(acquired, Acquired::Taken { evicted: vec![oldest.session] }, "the oldest session is evicted");
    let evicted = evicted.expect("a waiting node learns of an eviction").expect(WORKS);
    assert_eq!(evicted, [oldest.session], "a waiting node learns which session was evicted");
    for _ in 0..2 {
        let evicted = one.renew(&[oldest.clone(), older.clone()], LONG).await.expect(WORKS);
        assert_eq!(evicted, [oldest.session], "a renewal reports an eviction, and does not undo it");
    }
    one.release(slice::from_ref(&oldest)).await.expect(WORKS);
    one.release(slice::from_ref(&older)).await.expect(WORKS);
    assert_eq!(acquire(&one, &oldest, AtLimit::RefuseNew, LONG).await, taken(), "an evicted session has no lease");
    assert_eq!(
        acquire(&one, &older, AtLimit::RefuseNew, LONG).await,
        Acquired::Full,
        "the newest session has its lease"
    );

    // A lease that is missing is not evicted. If renewals exceed the limit, the next lease evicts as many as exceed it.
    let lost: Vec<SessionLease> = (1..=5).map(|accepted| lease("dave", accepted)).collect();
    let evicted = one.renew(&lost, LONG).await.expect(WORKS);
    assert!(evicted.is_empty(), "a missing lease is not evicted");
    let late = lease("dave", 6);
    assert_eq!(acquire(&other, &late, AtLimit::RefuseNew, LONG).await, Acquired::Full, "a renewed lease counts");
    let Acquired::Taken { mut evicted } = acquire(&other, &late, AtLimit::EvictOldest, LONG).await else {
        unreachable!("the oldest sessions are evicted")
    };
    evicted.sort();
    let mut oldest: Vec<SessionId> = lost.iter().take(4).map(|lease| lease.session).collect();
    oldest.sort();
    assert_eq!(evicted, oldest, "as many sessions are evicted as exceed the limit");

    // One renewal for two leases of each of many subjects, and one lease that nobody renews.
    let mut kept: Vec<SessionLease> =
        (1..=20).flat_map(|name| [1, 2].map(|accepted| lease(&format!("erin {name}"), accepted))).collect();
    for lease in &kept {
        assert_eq!(acquire(&one, lease, AtLimit::RefuseNew, SHORT * 3).await, taken(), "a lease for each");
    }
    let [expiring, renewed] = [1, 2].map(|accepted| lease("frank", accepted));
    acquire(&one, &expiring, AtLimit::RefuseNew, SHORT * 3).await;
    acquire(&one, &renewed, AtLimit::RefuseNew, SHORT * 3).await;
    kept.push(renewed);
    for _ in 0..5 {
        sleep(SHORT).await;
        assert!(one.renew(&kept, SHORT * 3).await.expect(WORKS).is_empty(), "a renewal evicts nobody");
    }
    let again = lease("frank", 3);
    assert_eq!(
        acquire(&other, &again, AtLimit::RefuseNew, SHORT).await,
        taken(),
        "a lease that is not renewed expires"
    );
    assert_eq!(
        acquire(&one, &expiring, AtLimit::RefuseNew, SHORT).await,
        Acquired::Full,
        "a lease that is renewed does not expire"
    );
    for name in 1..=20 {
        let third = lease(&format!("erin {name}"), 3);
        assert_eq!(
            acquire(&other, &third, AtLimit::RefuseNew, SHORT).await,
            Acquired::Full,
            "a lease that is renewed does not expire"
        );
    }

    lists(&*one, &*other, &run.to_string()).await;

    // Concurrent calls do not exceed the limit.
    for round in 0..10 {
        let calls: Vec<_> = (0..50)
            .map(|number| {
                let store = (Arc::clone(&one), Arc::clone(&other), number % 2 == 0);
                let lease = lease(&format!("grace {round}"), number);
                tokio::spawn(async move {
                    match store {
                        (one, _, true) => acquire(&one, &lease, AtLimit::RefuseNew, LONG).await,
                        (_, other, false) => acquire(&other, &lease, AtLimit::RefuseNew, LONG).await,
                    }
                })
            })
            .collect();
        let mut taken = 0;
        for call in calls {
            taken += usize::from(call.await.expect("the store does not panic") != Acquired::Full);
        }
        assert_eq!(taken, TWO.get(), "of many concurrent calls, as many succeed as the limit allows");
    }
}

/// Leases are listed with their details, and in order.
async fn lists(one: &impl LimitStore, other: &impl LimitStore, run: &str) {
    let id = format!("heidi{run}");
    let issuers = [
        ScopedId::of("a", id.as_str()),
        ScopedId::without_issuer(id.as_str()),
        ScopedId::of("https://b.example.com/\u{e9} = \"", id.as_str()),
    ];
    let any = ScopedId::any_issuer(id.as_str());
    assert!(list(one, &any).await.is_empty(), "a subject without leases has an empty list");
    // The younger ones first.
    let mut leases: Vec<SessionLease> = (0..9_u64)
        .rev()
        .zip(issuers.iter().cycle())
        .map(|(accepted, subject)| lease_of(subject, accepted).with_details(format!("\u{1d}\u{e9}\0{accepted}")))
        .collect();
    for lease in &leases {
        one.acquire(Acquire::new(lease, NonZeroUsize::MAX, AtLimit::RefuseNew, LONG)).await.expect(WORKS);
    }
    let stranger = lease_of(format!("{id} "), 1);
    acquire(one, &stranger, AtLimit::RefuseNew, LONG).await;
    leases.reverse();
    assert_eq!(list(other, &any).await, leases, "a list has the leases of all issuers, the oldest first, with details");
    for issuer in &issuers {
        let own: Vec<_> = leases.iter().filter(|lease| lease.subject == *issuer).cloned().collect();
        assert_eq!(list(other, issuer).await, own, "a list of one issuer has no leases of another");
    }
    assert!(list(other, &ScopedId::of("b", id.as_str())).await.is_empty(), "another issuer has other leases");

    for max in [1, 2, 4, 8, 9] {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = other.list(LeaseQuery::new(&any, max).after(after)).await.expect(WORKS);
            assert!(page.len() <= max, "a page has as many leases as asked for");
            let is_last = page.len() < max;
            after = page.last().map(SessionLease::cursor).or(after);
            paged.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(paged, leases, "pages of {max} have every lease once");
    }

    // A renewal replaces the details, and adds a missing lease with them.
    let [renewed, bare, released] = [0, 1, 2].map(|at| leases.get(at).expect("nine leases").clone());
    let renewed = renewed.with_details("renewed");
    one.renew(slice::from_ref(&renewed), LONG).await.expect(WORKS);
    one.renew(&[bare.clone().with_details("")], LONG).await.expect(WORKS);
    // The details do not matter here.
    one.release(&[released.with_details("other")]).await.expect(WORKS);
    let late = lease_of(ScopedId::of("late", id.as_str()), 20).with_details("late");
    one.renew(slice::from_ref(&late), LONG).await.expect(WORKS);
    let mut expected = leases.split_off(3);
    expected.splice(0..0, [renewed, bare.with_details("")]);
    expected.push(late.clone());
    assert_eq!(list(other, &any).await, expected, "a list has what was renewed, and not what was released");

    // Neither evicted nor expired leases are listed.
    let late = late.with_details("acquired again");
    let request = Acquire::new(&late, NonZeroUsize::MIN, AtLimit::EvictOldest, SHORT);
    one.acquire(request).await.expect(WORKS);
    let newest = lease_of(&late.subject, 21);
    let request = Acquire::new(&newest, NonZeroUsize::MIN, AtLimit::EvictOldest, SHORT);
    other.acquire(request).await.expect(WORKS);
    assert_eq!(list(one, &late.subject).await, [newest], "an evicted lease is not listed");
    let kept = lease_of(&late.subject, 22).with_details("kept");
    one.renew(slice::from_ref(&kept), LONG).await.expect(WORKS);
    sleep(SHORT * 2).await;
    assert_eq!(list(one, &late.subject).await, [kept], "an expired lease is not listed");
}

async fn list(store: &impl LimitStore, subject: &ScopedId) -> Vec<SessionLease> {
    store.list(LeaseQuery::new(subject, 100)).await.expect(WORKS)
}

const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

/// A lease of a new session. The lower `accepted`, the older the session.
fn lease_of(subject: impl Into<ScopedId>, accepted: u64) -> SessionLease {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let session = format!("{:016x}{:016x}", u64::MAX, NUMBER.fetch_add(1, Ordering::Relaxed));
    let accepted = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + accepted);
    SessionLease::new(subject, session.parse().expect("an id"), accepted)
}

async fn acquire(store: &impl LimitStore, lease: &SessionLease, at_limit: AtLimit, lifetime: Duration) -> Acquired {
    store.acquire(Acquire::new(lease, TWO, at_limit, lifetime)).await.expect(WORKS)
}
