//! Limits that several nodes keep together, and what a node does without the others.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

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
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

const MINUTE: Duration = Duration::from_secs(60);

async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

/// A node, with its registry: two sessions for each subject.
fn node(store: &MemoryLimits, at_limit: AtLimit) -> (Router, Sessions) {
    node_of(Limits::new().per_subject(2, at_limit).unwrap().across_nodes(store.clone()))
}

fn node_of(limits: Limits) -> (Router, Sessions) {
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

/// Whether the socket is open when all was let run.
async fn is_open(socket: &mut ClientSocket) -> bool {
    settle().await;
    socket.next().now_or_never().is_none()
}

/// Waits until the socket is closed for a newer session. Returns how long that took.
async fn eviction(socket: &mut ClientSocket) -> Duration {
    let begin = Instant::now();
    let end = timeout(MINUTE, closed(socket)).await.expect("it is closed");
    assert_eq!(end, (1008, "too_many_sessions".to_owned()));
    begin.elapsed()
}

#[tokio::test]
async fn the_store_of_these_tests_keeps_the_rules() {
    let store = MemoryLimits::new();
    conformance::limits(store.clone(), store).await;
}

#[tokio::test(start_paused = true)]
async fn a_subject_has_as_many_sessions_on_all_nodes_as_it_may_have() {
    let store = MemoryLimits::new();
    let nodes = [(); 3].map(|()| node(&store, AtLimit::RefuseNew));
    let first = connected(&nodes[0].0, "alice").await;
    let _second = connected(&nodes[1].0, "alice").await;
    for (app, sessions) in &nodes {
        let before = sessions.count();
        assert!(is_full(app, "alice").await);
        assert_eq!(sessions.count(), before, "who was refused leaves nothing behind");
        assert!(!is_full(app, "bob").await);
        settle().await;
        assert!(!is_full(app, "nobody").await, "who is nobody is not limited");
    }
    settle().await;
    assert_eq!(store.count(), 2, "those of bob are over");
    drop(first);
    settle().await;
    let _third = connected(&nodes[2].0, "alice").await;
    assert!(is_full(&nodes[0].0, "alice").await);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_session_ends_on_whatever_node_it_is() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    let mut oldest = connected(&one.0, "alice").await;
    let mut older = connected(&other.0, "alice").await;
    let mut newest = connected(&other.0, "alice").await;
    assert_eq!(eviction(&mut oldest).await, Duration::ZERO);
    assert!(is_open(&mut older).await && is_open(&mut newest).await);
    // One that is on the same node goes too.
    let _last = connected(&other.0, "alice").await;
    assert_eq!(eviction(&mut older).await, Duration::ZERO);
    assert!(is_open(&mut newest).await);
    settle().await;
    assert_eq!(store.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_not_told_of_its_eviction_ends_when_it_is_renewed() {
    let store = MemoryLimits::new();
    store.discreet.store(true, SeqCst);
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    let mut oldest = connected(&one.0, "alice").await;
    let _rest = [connected(&other.0, "alice").await, connected(&other.0, "alice").await];
    assert!(is_open(&mut oldest).await);
    assert!(eviction(&mut oldest).await <= Duration::from_secs(21), "a third of a minute");
    // Where it is on the node that asked, it is told by the answer.
    let mut oldest = connected(&one.0, "bob").await;
    let _rest = [connected(&other.0, "bob").await, connected(&one.0, "bob").await];
    assert_eq!(eviction(&mut oldest).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_at_once_is_admitted_though_the_store_has_not_been_told() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    let (first, _second) = (connected(&one.0, "alice").await, connected(&one.0, "alice").await);
    store.keeping.store(true, SeqCst);
    drop(first);
    settle().await;
    assert!(is_full(&other.0, "alice").await, "nobody has told");
    let third = connected(&one.0, "alice").await;
    assert!(is_full(&one.0, "alice").await, "it is one place");
    assert!(is_full(&other.0, "alice").await, "it is one place");
    // Not even a renewal brings back what is over.
    sleep(MINUTE / 2).await;
    drop(third);
    settle().await;
    let _fourth = connected(&one.0, "alice").await;
    store.keeping.store(false, SeqCst);
    sleep(MINUTE / 2).await;
    assert_eq!(store.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_for_as_long_as_their_sessions_live_and_run_out_with_their_node() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    // On a node that goes without a word.
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
async fn how_long_a_lease_lives_can_be_set() {
    let short = Duration::from_secs(2);
    assert_eq!(Limits::new().lease_lifetime(short).err(), Some(ConfigError::ShortLease(short)));
    let store = MemoryLimits::new();
    let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap().across_nodes(store.clone());
    let (app, _sessions) = node_of(limits.lease_lifetime(Duration::from_secs(3)).unwrap());
    let _live = connected(&app, "alice").await;
    sleep(Duration::from_millis(900)).await;
    store.forget_everything();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(store.count(), 1, "it is renewed every second");
}

#[tokio::test(start_paused = true)]
async fn without_a_store_each_node_counts_for_itself_and_nobody_waits_for_long() {
    for silent in [false, true] {
        let store = MemoryLimits::new();
        let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
        let mut sockets = vec![connected(&one.0, "alice").await, connected(&other.0, "alice").await];
        assert!(is_full(&one.0, "alice").await);
        store.broken.store(!silent, SeqCst);
        store.silent.store(silent, SeqCst);

        let begin = Instant::now();
        sockets.push(connected(&one.0, "alice").await);
        assert!(begin.elapsed() <= Duration::from_secs(2), "silent: {silent}");
        let (begin, asked) = (Instant::now(), store.asked.load(SeqCst));
        sockets.push(connected(&other.0, "alice").await);
        assert!(is_full(&one.0, "alice").await && is_full(&other.0, "alice").await, "two here and two there");
        assert!(begin.elapsed() <= Duration::from_secs(2));
        for _ in 0..100 {
            assert!(!is_full(&one.0, "bob").await);
            settle().await;
        }
        assert_eq!(store.asked.load(SeqCst), asked + 1, "nobody asks in vain for a while");
        assert!(begin.elapsed() <= Duration::from_secs(2));
        sleep(Duration::from_secs(6)).await;
        let asked = store.asked.load(SeqCst);
        let names = ["carol", "dave", "erin", "frank"];
        let asking = names.map(|name| answer(&one.0, handshake().bearer_subprotocol(name).build()));
        futures_util::future::join_all(asking).await;
        assert_eq!(store.asked.load(SeqCst), asked + 1, "and then one asks for all");

        // Whatever there is counts again when the store is back, and nobody was ended.
        sleep(MINUTE * 3).await;
        store.broken.store(false, SeqCst);
        store.silent.store(false, SeqCst);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(store.count(), 4, "silent: {silent}");
        for socket in &mut sockets {
            assert!(is_open(socket).await);
        }
        sockets.truncate(2);
        settle().await;
        assert!(is_full(&one.0, "alice").await && is_full(&other.0, "alice").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_one_subject_counts_all_others() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    let mut bobs = vec![connected(&one.0, "bob").await, connected(&other.0, "bob").await];
    let _alice = connected(&one.0, "alice").await;
    *store.broken_for.lock().unwrap() = Some("alice");
    for turn in 0..20 {
        // By each node for itself.
        assert!(!is_full(&one.0, "alice").await, "turn {turn}");
        assert!(!is_full(&other.0, "alice").await, "turn {turn}");
        assert!(is_full(&one.0, "bob").await && is_full(&other.0, "bob").await, "turn {turn}");
        // Places are given back while hers cannot be, and taken again.
        drop(bobs.pop());
        sleep(Duration::from_secs(1)).await;
        bobs.push(connected(&one.0, "bob").await);
        assert!(is_full(&other.0, "bob").await, "turn {turn}");
        // Leases are renewed while hers is not.
        sleep(Duration::from_secs(13)).await;
    }
    assert_eq!(store.count_of(|subject| subject == "bob"), 2);
    *store.broken_for.lock().unwrap() = None;
    sleep(MINUTE).await;
    assert_eq!(store.count_of(|subject| subject == "alice"), 1, "she is counted again");
}

#[tokio::test(start_paused = true)]
async fn too_many_that_came_without_the_store_make_room_for_the_next() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    store.broken.store(true, SeqCst);
    let mut here = [connected(&one.0, "alice").await, connected(&one.0, "alice").await];
    let mut there = [connected(&other.0, "alice").await, connected(&other.0, "alice").await];
    store.broken.store(false, SeqCst);
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
async fn a_store_that_forgot_everything_ends_nobody_and_is_told_again() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::EvictOldest), node(&store, AtLimit::EvictOldest));
    let mut sockets = [connected(&one.0, "alice").await, connected(&other.0, "alice").await];
    store.forget_everything();
    sleep(MINUTE).await;
    for socket in &mut sockets {
        assert!(is_open(socket).await);
    }
    assert_eq!(store.count(), 2);
    let _next = connected(&other.0, "alice").await;
    eviction(&mut sockets[0]).await;
}

#[tokio::test(start_paused = true)]
async fn releases_without_end_do_not_keep_a_node_from_renewing() {
    let store = MemoryLimits::new();
    let (app, _sessions) = node(&store, AtLimit::RefuseNew);
    let _live = connected(&app, "alice").await;
    store.slow.store(true, SeqCst);
    store.forget_everything();
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
async fn what_could_not_be_released_is_not_remembered_for_ever() {
    let store = MemoryLimits::new();
    let (app, _sessions) = node(&store, AtLimit::RefuseNew);
    store.keeping.store(true, SeqCst);
    for number in 0..10 {
        drop(connected(&app, "alice").await);
        settle().await;
        assert_eq!(store.carried.load(SeqCst), number);
    }
    // They have run out.
    sleep(MINUTE + Duration::from_secs(6)).await;
    let _live = connected(&app, "alice").await;
    assert_eq!(store.carried.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_dropped_while_it_asks_leaves_no_lease() {
    let store = MemoryLimits::new();
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    store.slow.store(true, SeqCst);
    let mut asking = Box::pin(answer(&app, handshake().bearer_subprotocol("alice").build()));
    assert!(futures_util::poll!(&mut asking).is_pending());
    assert_eq!(store.count(), 1, "its answer is lost");
    drop(asking);
    sleep(Duration::from_secs(2)).await;
    assert_eq!((store.count(), sessions.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_it_asks_leaves_no_lease() {
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
async fn who_is_still_asking_gets_no_lease_by_a_renewal() {
    let store = MemoryLimits::new();
    let (one, other) = (node(&store, AtLimit::RefuseNew), node(&store, AtLimit::RefuseNew));
    let _two = [connected(&other.0, "alice").await, connected(&other.0, "alice").await];
    let _bob = connected(&one.0, "bob").await;
    sleep(MINUTE / 3 - Duration::from_millis(250)).await;
    store.slow.store(true, SeqCst);
    let asking = tokio::spawn(async move { is_full(&one.0, "alice").await });
    sleep(Duration::from_millis(400)).await;
    assert_eq!((asking.is_finished(), store.count()), (false, 3));
    assert!(asking.await.unwrap());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(store.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_begin_with_the_first_message_are_counted_with_the_others() {
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
async fn revoked_handshakes_take_no_place() {
    let store = MemoryLimits::new();
    let revocations = Revocations::new(MemoryRevocations::new());
    let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(store.clone());
    let sessions = Sessions::with_limits(limits);
    let layer = WsAuthLayer::new(timed).sessions(&sessions).revocations(&revocations);
    let app = Router::new().route("/", any(idle)).layer(layer);
    let mut live = connected(&app, "alice.60.good").await;
    revocations.revoke_token("bad").await.unwrap();
    let asked = store.asked.load(SeqCst);
    let response = answer(&app, handshake().bearer_subprotocol("alice.60.bad").build()).await;
    assert!(is_refused_with(&response, StatusCode::UNAUTHORIZED, "revoked"));
    assert_eq!(store.asked.load(SeqCst), asked);
    assert!(is_open(&mut live).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_down_gives_back_what_it_has_before_it_is_gone() {
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

    // And it is not kept from that by a store that does not answer.
    let (app, sessions) = node(&store, AtLimit::RefuseNew);
    drop(connected(&app, "alice").await);
    store.silent.store(true, SeqCst);
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
    assert_eq!(tasks(), 1, "one for each registry");
    let socket = connected(&app, "alice").await;
    drop(connected(&app, "bob").await);
    settle().await;
    drop((app, sessions));
    settle().await;
    assert!(tasks() > 0, "there is a session");
    drop(socket);
    settle().await;
    assert_eq!(tasks(), 0);
}

#[test]
fn leases_are_kept_up_again_when_the_runtime_is_another() {
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
fn a_lease_says_whose_it_is_and_limits_do_not_show_their_store() {
    let id = "0123456789abcdef0000000000000001".parse().unwrap();
    let lease = SessionLease::new("alice", id, SystemTime::UNIX_EPOCH);
    assert_eq!((lease.subject.id(), lease.session, lease.accepted), ("alice", id, SystemTime::UNIX_EPOCH));
    let limits = Limits::new().across_nodes(MemoryLimits::new());
    assert!(format!("{limits:?}").contains("<store>"));
}
