//! When the store of limits is called, and when not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    task::yield_now,
    time::{Instant, advance},
};

use super::{breaker::CircuitBreaker, release_queue::ReleaseQueue};
use crate::{
    id::{ScopedId, SessionId},
    store::{Acquire, Acquired, DynLimitStore, LeaseQuery, LimitStore, SessionLease, StoreError},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A store that is only probed.
#[derive(Default)]
struct Store {
    is_up: AtomicBool,
    hangs: AtomicBool,
    probes: AtomicUsize,
}

impl LimitStore for Store {
    async fn acquire(&self, _: Acquire<'_>) -> Result<Acquired, StoreError> {
        Err(StoreError::unavailable())
    }

    async fn renew(&self, _: &[SessionLease], _: Duration) -> Result<Vec<SessionId>, StoreError> {
        Err(StoreError::unavailable())
    }

    async fn release(&self, _: &[SessionLease]) -> Result<(), StoreError> {
        self.probes.fetch_add(1, SeqCst);
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_up.load(SeqCst) { Ok(()) } else { Err(StoreError::unavailable()) }
    }

    async fn list(&self, _: LeaseQuery<'_>) -> Result<Vec<SessionLease>, StoreError> {
        Err(StoreError::unavailable())
    }

    async fn evicted(&self) -> Result<Vec<SessionId>, StoreError> {
        Err(StoreError::unavailable())
    }
}

/// A breaker, and the store that it probes.
struct Circuit {
    breaker: Arc<CircuitBreaker>,
    store: Arc<Store>,
}

impl Circuit {
    fn of_store(is_up: bool) -> Self {
        let store = Arc::new(Store::default());
        store.is_up.store(is_up, SeqCst);
        Self { breaker: Arc::default(), store }
    }

    /// A call for this subject that was made at this time has failed.
    fn failed(&self, subject: &str, called_at: Instant) {
        let store = Arc::clone(&self.store) as Arc<dyn DynLimitStore>;
        self.breaker.subject_failed(&subject.into(), called_at, &store);
    }

    async fn allows<const N: usize>(&self, subjects: [&str; N]) -> [bool; N] {
        let mut allowed = [false; N];
        for (allowed, subject) in allowed.iter_mut().zip(subjects) {
            *allowed = self.breaker.allows(&subject.into()).await;
        }
        allowed
    }

    /// How many probes were made. Waits until they are.
    async fn probes(&self) -> usize {
        for _ in 0..5 {
            yield_now().await;
        }
        self.store.probes.load(SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_is_called_for_a_subject_again_after_five_seconds() {
    let circuit = Circuit::of_store(true);
    assert_eq!(circuit.allows(["alice"]).await, [true]);
    circuit.failed("alice", Instant::now());
    assert_eq!(circuit.allows(["alice", "bob"]).await, [false, true]);
    advance(5 * SECOND - MS).await;
    assert_eq!(circuit.allows(["alice", "bob"]).await, [false, true]);
    advance(MS).await;
    // Once, until that has succeeded.
    assert_eq!(circuit.allows(["alice", "alice", "bob"]).await, [true, false, true]);
    advance(5 * SECOND).await;
    assert_eq!(circuit.allows(["alice"]).await, [true]);
    circuit.breaker.subject_succeeded(&"alice".into());
    assert_eq!(circuit.allows(["alice", "alice"]).await, [true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_called_again_after_five_seconds() {
    for success in ["of a subject", "of others"] {
        let circuit = Circuit::of_store(false);
        circuit.failed("alice", Instant::now());
        assert_eq!(circuit.allows(["bob"]).await, [false], "once it is probed");
        advance(5 * SECOND - MS).await;
        assert_eq!(circuit.allows(["bob"]).await, [false]);
        advance(MS).await;
        assert_eq!(circuit.allows(["bob", "carol"]).await, [true, false]);
        match success {
            "of a subject" => circuit.breaker.subject_succeeded(&"bob".into()),
            _ => circuit.breaker.succeeded(),
        }
        assert_eq!(circuit.allows(["bob", "carol"]).await, [true, true], "{success}");
    }
}

#[tokio::test(start_paused = true)]
async fn handshakes_wait_for_a_probe_for_a_second() {
    let circuit = Circuit::of_store(true);
    circuit.store.hangs.store(true, SeqCst);
    let start = Instant::now();
    circuit.failed("alice", start);
    assert_eq!(circuit.allows(["bob"]).await, [false]);
    assert!((SECOND..SECOND + 5 * MS).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_store_is_probed_once_and_only_if_nobody_knows_how_it_is() {
    let circuit = Circuit::of_store(true);
    // Another call has succeeded after this one was made.
    let called_at = Instant::now();
    advance(MS).await;
    circuit.breaker.subject_succeeded(&"bob".into());
    circuit.failed("alice", called_at);
    assert_eq!(circuit.probes().await, 0);
    // It has succeeded before.
    advance(MS).await;
    circuit.failed("alice", Instant::now());
    assert_eq!(circuit.probes().await, 8);

    // A probe is running.
    circuit.store.hangs.store(true, SeqCst);
    circuit.failed("carol", Instant::now());
    assert_eq!(circuit.probes().await, 16);
    circuit.failed("dave", Instant::now());
    assert_eq!(circuit.probes().await, 16);
    // It was down a moment ago.
    advance(SECOND + MS).await;
    assert_eq!(circuit.probes().await, 16);
    circuit.failed("erin", Instant::now());
    assert_eq!(circuit.probes().await, 16);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_4096_subjects_is_not_called_for_any() {
    let circuit = Circuit::of_store(true);
    for number in 0..4096 {
        circuit.failed(&number.to_string(), Instant::now());
    }
    assert_eq!(circuit.allows(["bob"]).await, [true]);
    circuit.failed("alice", Instant::now());
    assert_eq!(circuit.allows(["bob"]).await, [false]);
    // Later, those that failed before do not count.
    advance(5 * SECOND).await;
    circuit.breaker.succeeded();
    circuit.failed("alice", Instant::now());
    assert_eq!(circuit.allows(["alice", "bob"]).await, [false, true]);
}

fn lease(subject: &str) -> SessionLease {
    SessionLease::new(ScopedId::from(subject), SessionId::next(), SystemTime::UNIX_EPOCH)
}

#[tokio::test(start_paused = true)]
async fn leases_that_could_not_be_released_come_later() {
    let mut queue = ReleaseQueue::default();
    let (alice, bob, carol) = (lease("alice"), lease("bob"), lease("carol"));
    queue.push(alice.clone());
    queue.push(bob.clone());
    queue.defer(std::slice::from_ref(&alice), Instant::now() + 5 * SECOND);
    assert_eq!(queue.batch(9), std::slice::from_ref(&bob));
    queue.remove(&[bob]);
    assert!(queue.batch(9).is_empty() && !queue.is_any_due() && !queue.is_empty());
    // Another failure changes nothing.
    queue.defer(&[carol], Instant::now() + 9 * SECOND);
    advance(5 * SECOND - MS).await;
    assert!(!queue.is_any_due());
    advance(MS).await;
    assert!(queue.is_any_due());
    assert_eq!(queue.batch(9), std::slice::from_ref(&alice));
    queue.remove(&[alice]);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn leases_are_forgotten_when_they_have_expired_in_the_store() {
    let mut queue = ReleaseQueue::default();
    queue.push(lease("alice"));
    advance(60 * SECOND - MS).await;
    queue.remove_older_than(60 * SECOND);
    assert!(!queue.is_empty());
    advance(MS).await;
    queue.remove_older_than(60 * SECOND);
    assert!(queue.is_empty());
}
