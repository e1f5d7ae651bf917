//! Limits that several nodes share, and what a node does without the store.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

#[path = "limits/calls.rs"]
mod calls;
#[path = "support/limits.rs"]
mod store;
mod support;

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, SystemTime},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    AtLimit, AuthenticatedUpgrade, ConfigError, Drain, FirstMessage, Limits, MemoryRevocations, Revocations, Sessions,
    WsAuthLayer,
    store::SessionLease,
    test_util::{self, conformance, handshake},
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::StatusCode;
use store::MemoryLimits;
use support::{ClientSocket, answer, closed, connected, is_refused_with, settle, timed};
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

const MINUTE: Duration = Duration::from_secs(60);

async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

/// A node and its registry, with a limit of two sessions per subject.
fn node(store: &MemoryLimits, at_limit: AtLimit) -> (Router, Sessions) {
    node_with(Limits::new().per_subject(2, at_limit).unwrap().across_nodes(store.clone()))
}

fn node_with(limits: Limits) -> (Router, Sessions) {
    let sessions = Sessions::with_limits(limits);
    (Router::new().route("/", any(idle)).layer(WsAuthLayer::new(timed).sessions(&sessions)), sessions)
}

async fn is_full(app: &Router, token: &str) -> bool {
    let response = answer(app, handshake().bearer_subprotocol(token).build()).await;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => false,
        _ => {
            assert!(is_refused_with(&response, StatusCode::TOO_MANY_REQUESTS, "too_many_sessions"));
            assert_eq!(response.headers()["retry-after"], "5");
            true
        }
    }
}

/// Whether the socket is still open once all tasks have run.
async fn is_open(socket: &mut ClientSocket) -> bool {
    settle().await;
    socket.next().now_or_never().is_none()
}

/// Waits until the socket is closed for a newer session. Returns how long that took.
async fn eviction(socket: &mut ClientSocket) -> Duration {
    let begin = Instant::now();
    let end = timeout(MINUTE, closed(socket)).await.expect("the socket is closed");
    assert_eq!(end, (1008, "too_many_sessions".to_owned()));
    begin.elapsed()
}

#[tokio::test]
async fn the_store_of_these_tests_passes_the_conformance_test() {
    let store = MemoryLimits::new();
    conformance::limits(store.clone(), store).await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_subject_covers_all_nodes() {
    let store = MemoryLimits::new();
    let nodes = [(); 3].map(|()| node(&store, AtLimit::RefuseNew));
    let first = connected(&nodes[0].0, "alice").await;
    let _second = connected(&nodes[1].0, "alice").await;
    for (app, sessions) in &nodes {
        let before = sessions.count();
        assert!(is_full(app, "alice").await);
        assert_eq!(sessions.count(), before, "a refused handshake leaves no session");
        assert!(!is_full(app, "bob").await);
        settle().await;
        assert!(!is_full(app, "nobody").await, "a session without a subject is not limited");
    }
    settle().await;
    assert_eq!(store.count(), 2, "the sessions of bob have ended");
    drop(first);
    settle().await;
    let _third = connected(&nodes[2].0, "alice").await;
    assert!(is_full(&nodes[0].0, "alice").await);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_session_is_evicted_on_any_node() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    let mut oldest = connected(&one.0, "alice").await;
    let mut older = connected(&other.0, "alice").await;
    let mut newest = connected(&other.0, "alice").await;
    assert_eq!(eviction(&mut oldest).await, Duration::ZERO);
    assert!(is_open(&mut older).await && is_open(&mut newest).await);
    // The same on the node of the new session.
    let _last = connected(&other.0, "alice").await;
    assert_eq!(eviction(&mut older).await, Duration::ZERO);
    assert!(is_open(&mut newest).await);
    settle().await;
    assert_eq!(store.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_that_was_not_received_takes_effect_at_the_next_renewal() {
    let store = MemoryLimits::new();
    store.hides_evictions.store(true, SeqCst);
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    let mut oldest = connected(&one.0, "alice").await;
    let _rest = [connected(&other.0, "alice").await, connected(&other.0, "alice").await];
    assert!(is_open(&mut oldest).await);
    assert!(eviction(&mut oldest).await <= Duration::from_secs(21), "renewals are 20 seconds apart");
    // The node that asked learns of it by the answer.
    let mut oldest = connected(&one.0, "bob").await;
    let _rest = [connected(&other.0, "bob").await, connected(&one.0, "bob").await];
    assert_eq!(eviction(&mut oldest).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reconnects_is_admitted_before_its_lease_is_released() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    let (first, _second) = (connected(&one.0, "alice").await, connected(&one.0, "alice").await);
    store.release_fails.store(true, SeqCst);
    drop(first);
    settle().await;
    assert!(is_full(&other.0, "alice").await, "the store still has the lease");
    let third = connected(&one.0, "alice").await;
    assert!(is_full(&one.0, "alice").await, "one lease is free");
    assert!(is_full(&other.0, "alice").await, "one lease is free");
    // A renewal does not restore an ended session's lease.
    sleep(MINUTE / 2).await;
    drop(third);
    settle().await;
    let _fourth = connected(&one.0, "alice").await;
    store.release_fails.store(false, SeqCst);
    sleep(MINUTE / 2).await;
    assert_eq!(store.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_while_sessions_live_and_expire_with_their_node() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    // A node that dies without releasing its lease.
    let dying = std::thread::spawn({
        let store = store.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let socket = runtime.block_on(async { connected(&node(&store, AtLimit::RefuseNew).0, "alice").await });
            std::mem::forget(socket);
            std::mem::forget(runtime);
        }
    });
    dying.join().unwrap();
    let mut live = connected(&one.0, "alice").await;
    assert!(is_full(&other.0, "alice").await);
    sleep(MINUTE - Duration::from_secs(5)).await;
    assert!(is_full(&other.0, "alice").await);
    sleep(Duration::from_secs(6)).await;
    let _next = connected(&other.0, "alice").await;
    for _ in 0..10 {
        sleep(MINUTE).await;
        assert!(is_full(&one.0, "alice").await && is_full(&other.0, "alice").await);
    }
    assert!(is_open(&mut live).await);
}

#[tokio::test(start_paused = true)]
async fn the_lease_lifetime_can_be_set() {
    let short = Duration::from_secs(2);
    assert_eq!(Limits::new().lease_lifetime(short).err(), Some(ConfigError::ShortLease(short)));
    let store = MemoryLimits::new();
    let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap().across_nodes(store.clone());
    let (app, _sessions) = node_with(limits.lease_lifetime(Duration::from_secs(3)).unwrap());
    let _live = connected(&app, "alice").await;
    sleep(Duration::from_millis(900)).await;
    store.remove_all_leases();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(store.count(), 1, "leases are renewed every second");
}

#[tokio::test(start_paused = true)]
async fn without_the_store_each_node_counts_alone_and_nobody_waits_long() {
    for hangs in [false, true] {
        let store = MemoryLimits::new();
        let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
        let mut sockets = vec![connected(&one.0, "alice").await, connected(&other.0, "alice").await];
        assert!(is_full(&one.0, "alice").await);
        store.fails.store(!hangs, SeqCst);
        store.hangs.store(hangs, SeqCst);

        let begin = Instant::now();
        sockets.push(connected(&one.0, "alice").await);
        assert!(begin.elapsed() <= Duration::from_secs(2), "hangs: {hangs}");
        let (begin, calls) = (Instant::now(), store.acquire_calls.load(SeqCst));
        sockets.push(connected(&other.0, "alice").await);
        assert!(is_full(&one.0, "alice").await && is_full(&other.0, "alice").await, "each node applies the limit");
        assert!(begin.elapsed() <= Duration::from_secs(2));
        for _ in 0..100 {
            assert!(!is_full(&one.0, "bob").await);
            settle().await;
        }
        assert_eq!(store.acquire_calls.load(SeqCst), calls + 1, "the store is not asked for a while");
        assert!(begin.elapsed() <= Duration::from_secs(2));
        sleep(Duration::from_secs(6)).await;
        let calls = store.acquire_calls.load(SeqCst);
        let names = ["carol", "dave", "erin", "frank"];
        let handshakes = names.map(|name| answer(&one.0, handshake().bearer_subprotocol(name).build()));
        futures_util::future::join_all(handshakes).await;
        assert_eq!(store.acquire_calls.load(SeqCst), calls + 1, "then it is asked once for all");

        // When the store is back, all sessions count again, and none was ended.
        sleep(MINUTE * 3).await;
        store.fails.store(false, SeqCst);
        store.hangs.store(false, SeqCst);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(store.count(), 4, "hangs: {hangs}");
        for socket in &mut sockets {
            assert!(is_open(socket).await);
        }
        sockets.truncate(2);
        settle().await;
        assert!(is_full(&one.0, "alice").await && is_full(&other.0, "alice").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_one_subject_limits_all_others() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    let mut bobs = vec![connected(&one.0, "bob").await, connected(&other.0, "bob").await];
    let _alice = connected(&one.0, "alice").await;
    *store.fails_for.lock().unwrap() = Some("alice");
    for turn in 0..20 {
        // Each node counts alice alone.
        assert!(!is_full(&one.0, "alice").await, "turn {turn}");
        assert!(!is_full(&other.0, "alice").await, "turn {turn}");
        assert!(is_full(&one.0, "bob").await && is_full(&other.0, "bob").await, "turn {turn}");
        // Other leases are released and taken while hers cannot be.
        drop(bobs.pop());
        sleep(Duration::from_secs(1)).await;
        bobs.push(connected(&one.0, "bob").await);
        assert!(is_full(&other.0, "bob").await, "turn {turn}");
        // Other leases are renewed while hers cannot be.
        sleep(Duration::from_secs(13)).await;
    }
    assert_eq!(store.count_of(|subject| subject == "bob"), 2);
    *store.fails_for.lock().unwrap() = None;
    sleep(MINUTE).await;
    assert_eq!(store.count_of(|subject| subject == "alice"), 1, "alice's session counts again");
}

#[tokio::test(start_paused = true)]
async fn sessions_beyond_the_limit_are_evicted_once_the_store_is_back() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    store.fails.store(true, SeqCst);
    let mut here = [connected(&one.0, "alice").await, connected(&one.0, "alice").await];
    let mut there = [connected(&other.0, "alice").await, connected(&other.0, "alice").await];
    store.fails.store(false, SeqCst);
    sleep(MINUTE).await;
    assert_eq!(store.count(), 4);
    let _next = connected(&one.0, "alice").await;
    settle().await;
    assert_eq!(store.count(), 2);
    for socket in &mut here {
        eviction(socket).await;
    }
    eviction(&mut there[0]).await;
    assert!(is_open(&mut there[1]).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_all_leases_ends_nobody_and_is_restored() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    let mut sockets = [connected(&one.0, "alice").await, connected(&other.0, "alice").await];
    store.remove_all_leases();
    sleep(MINUTE).await;
    for socket in &mut sockets {
        assert!(is_open(socket).await);
    }
    assert_eq!(store.count(), 2);
    let _next = connected(&other.0, "alice").await;
    eviction(&mut sockets[0]).await;
}

#[tokio::test(start_paused = true)]
async fn constant_releases_do_not_stop_renewals() {
    let store = MemoryLimits::new();
    let (app, _sessions) = node(&store, AtLimit::RefuseNew);
    let _live = connected(&app, "alice").await;
    store.slow.store(true, SeqCst);
    store.remove_all_leases();
    let come_and_go: Vec<_> = (0..20)
        .map(|number| {
            let (app, subject) = (app.clone(), format!("bob-{number}"));
            tokio::spawn(async move {
                sleep(Duration::from_millis(31) * number).await;
                loop {
                    drop(connected(&app, &subject).await);
                    sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    sleep(MINUTE).await;
    assert_eq!(store.count_of(|subject| subject == "alice"), 1);
    for one in come_and_go {
        assert!(!one.is_finished());
        one.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn failed_releases_are_forgotten_once_the_leases_expire() {
    let store = MemoryLimits::new();
    let (app, _sessions) = node(&store, AtLimit::RefuseNew);
    store.release_fails.store(true, SeqCst);
    for number in 0..10 {
        drop(connected(&app, "alice").await);
        settle().await;
        assert_eq!(store.released_by_acquire.load(SeqCst), number);
    }
    // The leases have expired.
    sleep(MINUTE + Duration::from_secs(6)).await;
    let _live = connected(&app, "alice").await;
    assert_eq!(store.released_by_acquire.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_dropped_during_acquire_leaves_no_lease() {
    let store = MemoryLimits::new();
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    store.slow.store(true, SeqCst);
    let mut handshake = Box::pin(answer(&app, test_util::handshake().bearer_subprotocol("alice").build()));
    assert!(futures_util::poll!(&mut handshake).is_pending());
    assert_eq!(store.count(), 1, "the lease is taken");
    drop(handshake);
    sleep(Duration::from_secs(2)).await;
    assert_eq!((store.count(), sessions.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_during_acquire_leaves_no_lease() {
    let store = MemoryLimits::new();
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    store.slow.store(true, SeqCst);
    let connecting = tokio::spawn(async move { connected(&app, "alice").await });
    settle().await;
    assert_eq!((sessions.end_subject("alice"), store.count()), (1, 1));
    let mut socket = connecting.await.unwrap();
    assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(store.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_adds_no_lease_that_is_still_being_acquired() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    let _two = [connected(&other.0, "alice").await, connected(&other.0, "alice").await];
    let _bob = connected(&one.0, "bob").await;
    sleep(MINUTE / 3 - Duration::from_millis(250)).await;
    store.slow.store(true, SeqCst);
    let handshake = tokio::spawn(async move { is_full(&one.0, "alice").await });
    sleep(Duration::from_millis(400)).await;
    assert_eq!((handshake.is_finished(), store.count()), (false, 3));
    assert!(handshake.await.unwrap());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(store.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_begin_with_a_first_message_count() {
    let store = MemoryLimits::new();
    let (by_token, _sessions) = node(&store, AtLimit::RefuseNew);
    let sessions =
        Sessions::with_limits(Limits::new().per_subject(2, AtLimit::RefuseNew).unwrap().across_nodes(store.clone()));
    let layer = WsAuthLayer::new(timed).sessions(&sessions).first_message(FirstMessage::graphql_ws());
    let app = Router::new().route("/", any(idle)).layer(layer);
    let _first = connected(&by_token, "alice").await;
    let begin = async || {
        let (mut socket, _) = test_util::connect(app.clone(), handshake().build()).await.unwrap();
        let init = r#"{"type":"connection_init","payload":{"Authorization":"Bearer alice"}}"#;
        socket.send(init.into()).await.unwrap();
        socket
    };
    let mut second = begin().await;
    assert!(is_open(&mut second).await);
    assert!(is_full(&by_token, "alice").await);
    let Some(Ok(Message::Close(Some(frame)))) = begin().await.next().await else { panic!("a close frame") };
    assert_eq!(u16::from(frame.code), 1013);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_handshake_takes_no_lease() {
    let store = MemoryLimits::new();
    let revocations = Revocations::new(MemoryRevocations::new());
    let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(store.clone());
    let sessions = Sessions::with_limits(limits);
    let layer = WsAuthLayer::new(timed).sessions(&sessions).revocations(&revocations);
    let app = Router::new().route("/", any(idle)).layer(layer);
    let mut live = connected(&app, "alice.60.good").await;
    revocations.revoke_token("bad").await.unwrap();
    let calls = store.acquire_calls.load(SeqCst);
    let response = answer(&app, handshake().bearer_subprotocol("alice.60.bad").build()).await;
    assert!(is_refused_with(&response, StatusCode::UNAUTHORIZED, "revoked"));
    assert_eq!(store.acquire_calls.load(SeqCst), calls);
    assert!(is_open(&mut live).await);
}

#[tokio::test(start_paused = true)]
async fn draining_releases_all_leases() {
    let store = MemoryLimits::new();
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    let mut sockets = [connected(&app, "alice").await, connected(&app, "bob").await];
    let closing = tokio::spawn(async move {
        for socket in &mut sockets {
            closed(socket).await;
        }
    });
    store.slow.store(true, SeqCst);
    let drained = sessions.drain(Drain::service_restart().within(Duration::from_secs(30))).await;
    assert_eq!((drained.closed, drained.remaining, store.count()), (2, 0, 0));
    closing.await.unwrap();
    store.slow.store(false, SeqCst);

    // A store that hangs does not delay it for long.
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    drop(connected(&app, "alice").await);
    store.hangs.store(true, SeqCst);
    drop(connected(&app, "bob").await);
    let begin = Instant::now();
    sessions.drain(Drain::service_restart()).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_registry() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let store = MemoryLimits::new();
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    assert_eq!(tasks(), 1, "one task for each registry");
    let socket = connected(&app, "alice").await;
    drop(connected(&app, "bob").await);
    settle().await;
    drop((app, sessions));
    settle().await;
    assert!(tasks() > 0, "a session is left");
    drop(socket);
    settle().await;
    assert_eq!(tasks(), 0);
}

#[test]
fn leases_are_renewed_on_a_new_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let store = MemoryLimits::new();
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    runtime().block_on(async { drop(connected(&app, "alice").await) });
    runtime().block_on(async {
        let _live = connected(&app, "alice").await;
        sleep(MINUTE * 2).await;
        assert_eq!((store.count(), sessions.count()), (1, 1));
    });
}

#[test]
fn leases_have_public_fields_and_limits_do_not_show_their_store() {
    let id = "0123456789abcdef0000000000000001".parse().unwrap();
    let lease = SessionLease::new("alice", id, SystemTime::UNIX_EPOCH);
    assert_eq!((lease.subject.id(), lease.session, lease.accepted), ("alice", id, SystemTime::UNIX_EPOCH));
    let limits = Limits::new().across_nodes(MemoryLimits::new());
    assert!(format!("{limits:?}").contains("<store>"));
}
