//! How often a node calls its store, above all while that fails.

use super::*;

const RENEWAL: Duration = Duration::from_secs(20);

/// A node without a limit, where each of these many subjects has a session.
async fn crowd(store: &MemoryLimits, count: usize) -> (Router, Vec<ClientSocket>) {
    let (app, _) = node_with(Limits::new().across_nodes(store.clone()));
    let mut sockets = Vec::new();
    for number in 0..count {
        sockets.push(connected(&app, &format!("user-{number}")).await);
    }
    assert_eq!(store.count(), count);
    (app, sockets)
}

/// How often the store is called to renew leases during this time.
async fn renewals(store: &MemoryLimits, during: Duration) -> usize {
    let before = store.renew_calls.load(SeqCst);
    sleep(during).await;
    store.renew_calls.load(SeqCst) - before
}

/// How often it is called by the next renewal. A pause follows one that fails.
async fn next_renewal(store: &MemoryLimits) -> usize {
    loop {
        match renewals(store, Duration::from_millis(10)).await {
            0 => {}
            calls => return calls,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_for_512_sessions_is_given_up() {
    let store = MemoryLimits::new();
    let (_app, mut sockets) = crowd(&store, 800).await;
    store.fails.store(true, SeqCst);
    // One call for a batch, and one for each subject of it.
    let calls = next_renewal(&store).await;
    assert!((512..540).contains(&calls), "{calls}");

    store.fails.store(false, SeqCst);
    sleep(RENEWAL).await;
    assert_eq!(store.count(), 800);
    // If releases fail too, one batch is enough.
    store.release_fails.store(true, SeqCst);
    sockets.truncate(790);
    sleep(Duration::from_secs(6)).await;
    store.fails.store(true, SeqCst);
    let calls = next_renewal(&store).await;
    assert!((256..300).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_ends_before_the_next_one_is_due() {
    let store = MemoryLimits::new();
    let limits = Limits::new().across_nodes(store.clone()).lease_lifetime(Duration::from_secs(6)).unwrap();
    let (app, _sessions) = node_with(limits);
    let mut sockets = Vec::new();
    for number in 0..300 {
        sockets.push(connected(&app, &format!("user-{number}")).await);
    }
    store.hangs.store(true, SeqCst);
    // The first batch takes ten seconds, five for all and five for each. A pause follows.
    assert_eq!(renewals(&store, Duration::from_millis(12_050)).await, 257);
}

#[tokio::test(start_paused = true)]
async fn releases_that_fail_do_not_stop_renewals() {
    let store = MemoryLimits::new();
    let (_app, mut sockets) = crowd(&store, 600).await;
    store.release_fails.store(true, SeqCst);
    sockets.truncate(599);
    settle().await;
    sleep(MINUTE * 2).await;
    assert_eq!(store.count(), 599);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_does_not_repeat_a_renewal() {
    let store = MemoryLimits::new();
    let (_app, mut sockets) = crowd(&store, 3).await;
    store.release_fails.store(true, SeqCst);
    sockets.pop();
    settle().await;
    // Until the renewal that follows a failure by itself, and the release can be tried again.
    sleep(Duration::from_secs(6)).await;
    // One every 20 seconds, for all.
    assert_eq!(renewals(&store, MINUTE).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_subject_that_the_store_fails_for_costs_few_calls() {
    let store = MemoryLimits::new();
    let (_app, mut sockets) = crowd(&store, 3).await;
    *store.fails_for.lock().unwrap() = Some("user-2");
    // One for all, and one for each, every 20 seconds.
    assert_eq!(renewals(&store, MINUTE + Duration::from_secs(5)).await, 12);
    sockets.pop();
    settle().await;
    let before = store.release_calls.load(SeqCst);
    sleep(MINUTE - Duration::from_secs(5)).await;
    assert!(store.release_calls.load(SeqCst) - before <= 4);

    // The only subject is not tried twice.
    let store = MemoryLimits::new();
    let (_app, _sockets) = crowd(&store, 1).await;
    store.fails.store(true, SeqCst);
    assert_eq!(renewals(&store, RENEWAL + Duration::from_millis(50)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_reports_no_evictions_is_asked_less_and_less() {
    let store = MemoryLimits::new();
    store.evicts_nobody.store(true, SeqCst);
    let (_app, _sockets) = crowd(&store, 1).await;
    for _ in 0..600 {
        advance(Duration::from_millis(100)).await;
        settle().await;
    }
    let calls = store.evicted_calls.load(SeqCst);
    assert!((12..25).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn draining_a_node_that_has_released_all_leases_takes_no_time() {
    let store = MemoryLimits::new();
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    drop(connected(&app, "alice").await);
    settle().await;
    assert_eq!(store.count(), 0);
    let begin = Instant::now();
    sessions.drain(Drain::going_away()).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}
