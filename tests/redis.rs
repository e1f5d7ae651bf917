//! Tickets, revocations and limits in a real Redis, or a cluster, shared by several nodes: also when it is killed, empty, or
//! does not answer.
//!
//! Needs `redis-server` on the path.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "redis/access.rs"]
mod access;
#[path = "redis/failover.rs"]
mod failover;
#[path = "support/node.rs"]
mod node_process;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/redis.rs"]
mod redis;
mod support;
#[cfg(feature = "redis-tls")]
#[path = "redis/tls.rs"]
mod tls;

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    AtLimit, AuthenticatedUpgrade, ConfigError, Limits, Redis, Revocations, Sessions, TicketErrorKind, TicketOptions,
    Tickets, TokenSource, Verified, VerifyError, VerifyInput, WsAuthLayer,
    store::{Acquire, LimitStore, SessionLease, StoreErrorKind, TicketKey, TicketStore},
    test_util::{self, conformance, handshake},
};
use futures_util::StreamExt;
use node_process::{LEASE, NodeProcess};
use redis::{RedisCluster, RedisServer};
use serde_json::{Value, json};
use support::{answer, closed, completed, connected};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// Accepts `SUBJECT.ID`.
fn verifier(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let text = input.token.expose().to_owned();
    let (subject, id) = text.split_once('.').unwrap();
    let verified = Verified::new(text.clone()).with_subject(subject).with_token_id(id);
    ready(Ok(verified.with_issued_at(SystemTime::now() - Duration::from_secs(60))))
}

async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

fn node(revocations: &Revocations) -> Router {
    Router::new().route("/", any(idle)).layer(WsAuthLayer::new(verifier).revocations(revocations))
}

async fn status(app: &Router, token: &str) -> u16 {
    answer(app, handshake().bearer_subprotocol(token).build()).await.status().as_u16()
}

/// Until it is so, or too much time has passed.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What came of something, and the warnings meanwhile.
async fn captured_events<T>(happens: impl Future<Output = T>) -> (T, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
    let writer = log.clone();
    let dispatch = tracing::Dispatch::new(subscriber.with_writer(move || writer.clone()).finish());
    let mut happens = std::pin::pin!(happens);
    // Set for each poll, which may be on any thread.
    let outcome =
        std::future::poll_fn(|cx| tracing::dispatcher::with_default(&dispatch, || happens.as_mut().poll(cx))).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (outcome, text)
}

/// Has the sessions of subjects counted in a store, for one handshake.
async fn one_handshake_with_limits_in(store: Redis) {
    let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap().across_nodes(store);
    let layer = WsAuthLayer::new(verifier).sessions(&Sessions::with_limits(limits));
    let app = Router::new().route("/", any(idle)).layer(layer);
    assert_eq!(status(&app, "alice.1").await, 101, "each node counts for itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_stores_keep_the_rules() {
    let server = RedisServer::start();
    conformance::limits(server.store(), server.store()).await;
    conformance::tickets(server.store()).await;
    conformance::revocations(server.store(), server.store()).await;
    // Two nodes may also be clones of one.
    let store = server.store().prefix("clones").unwrap();
    conformance::revocations(store.clone(), store.clone()).await;
    conformance::limits(store.clone(), store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_all_three_stores_keep_the_rules() {
    let cluster = RedisCluster::start();
    tokio::join!(
        conformance::tickets(cluster.store()),
        conformance::revocations(cluster.store(), cluster.store()),
        conformance::limits(cluster.store(), cluster.store()),
    );
    for server in &cluster.servers {
        assert!(!server.ask("DBSIZE").starts_with(":0"), "keys are spread");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_killed_and_comes_back_is_followed_again() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut cluster = RedisCluster::start();
    let (one, other) = (Revocations::new(cluster.store()), Revocations::new(cluster.store()));
    let (app, tickets) = (node(&other), Tickets::<Value>::new(cluster.store()));
    one.revoke_token("1").await.unwrap();
    eventually("told", async || status(&app, "alice.1").await == 401).await;
    for _ in 0..20 {
        tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.unwrap();
    }

    cluster.servers.iter_mut().for_each(RedisServer::kill);
    assert!(one.revoke_token("2").await.is_err(), "nobody confirms it");
    assert!(tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.is_err());
    assert_eq!((status(&app, "alice.1").await, status(&app, "alice.3").await), (401, 101));

    cluster.servers.iter_mut().for_each(RedisServer::restart);
    cluster.wait();
    eventually("told what was not confirmed", async || status(&app, "alice.2").await == 401).await;
    let late = node(&Revocations::new(cluster.store()));
    eventually("nothing is lost", async || status(&late, "alice.1").await == 401).await;
    eventually("tickets are issued", async || {
        tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.is_ok()
    })
    .await;
    drop((one, other, app, late, tickets));
    eventually("no task is left", async || tasks() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_are_over_leave_nothing_in_redis() {
    let (server, second) = (RedisServer::start(), Duration::from_secs(1));
    let (store, most) = (server.store(), std::num::NonZeroUsize::MIN);
    let lease = |number: u32| SessionLease::new("alice", format!("{number:032x}").parse().unwrap(), SystemTime::now());
    let leases = [lease(1), lease(2)];
    for lease in &leases {
        store.acquire(Acquire::new(lease, most, AtLimit::EvictOldest, second)).await.unwrap();
    }
    tokio::time::sleep(second / 2).await;
    assert_eq!(store.renew(&leases, second).await.unwrap(), [leases[0].session]);
    tokio::time::sleep(second / 4 * 3).await;
    assert_eq!(server.ask("DBSIZE").trim(), ":1", "it was renewed");
    server.tell("FLUSHALL");
    assert!(store.renew(&leases, second).await.unwrap().is_empty());
    tokio::time::sleep(second + second / 2).await;
    assert_eq!(server.ask("DBSIZE").trim(), ":0");
    store.acquire(Acquire::new(&leases[0], most, AtLimit::EvictOldest, second)).await.unwrap();
    store.release(&leases).await.unwrap();
    assert_eq!(server.ask("DBSIZE").trim(), ":0");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_outlive_a_server_that_is_emptied_and_one_that_is_killed() {
    let mut server = RedisServer::start();
    let nodes: Vec<Router> = (0..2)
        .map(|_| {
            let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(server.store());
            let sessions = Sessions::with_limits(limits.lease_lifetime(LEASE).unwrap());
            Router::new().route("/", any(idle)).layer(WsAuthLayer::new(verifier).sessions(&sessions))
        })
        .collect();
    let replaced = (1008, "too_many_sessions".to_owned());
    let mut old = connected(&nodes[0], "alice.1").await;
    // A node listens from its first session on.
    tokio::time::sleep(LEASE / 3).await;
    let begin = Instant::now();
    let mut new = connected(&nodes[1], "alice.1").await;
    assert_eq!(closed(&mut old).await, replaced);
    println!("closed on another node after {:?}", begin.elapsed());

    server.tell("FLUSHALL");
    tokio::time::sleep(LEASE / 2).await;
    assert!(futures_util::FutureExt::now_or_never(new.next()).is_none(), "what is lost is not evicted");
    let mut next = connected(&nodes[0], "alice.1").await;
    assert_eq!(closed(&mut new).await, replaced);

    server.kill();
    let begin = Instant::now();
    let mut another = connected(&nodes[1], "alice.1").await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    server.restart();
    // Both have told again by then.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for socket in [&mut next, &mut another] {
        assert!(futures_util::FutureExt::now_or_never(socket.next()).is_none(), "nobody ends for it");
    }
    let _last = connected(&nodes[0], "alice.1").await;
    assert_eq!(closed(&mut next).await, replaced);
    assert_eq!(closed(&mut another).await, replaced);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_handshakes_on_two_nodes_one_redeems_the_ticket() {
    let server = RedisServer::start();
    let nodes: Vec<Tickets<Value>> = (0..2).map(|_| Tickets::new(server.store())).collect();
    let apps: Vec<Router> = nodes
        .iter()
        .map(|tickets| {
            let layer = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap();
            support::echo_behind(layer)
        })
        .collect();
    for _ in 0..3 {
        let ticket = nodes[0].issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.unwrap();
        let racing: Vec<_> = (0..1000)
            .map(|number| {
                let (app, path) = (apps[number % 2].clone(), format!("/?ticket={}", ticket.token().expose()));
                tokio::spawn(async move { answer(&app, handshake().path(path).build()).await.status().as_u16() })
            })
            .collect();
        assert_eq!(completed(racing).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_revokes_ends_on_the_other_within_a_moment() {
    let server = RedisServer::start();
    let nodes: Vec<Revocations> = (0..3).map(|_| Revocations::new(server.store())).collect();
    let apps: Vec<Router> = nodes.iter().map(node).collect();
    let mut times = Vec::new();
    for number in 0..21 {
        let token = format!("alice.{number}");
        let mut here = connected(&apps[0], &token).await;
        let mut there = connected(&apps[1], &token).await;
        let mut spared = connected(&apps[2], "bob.x").await;
        let begin = Instant::now();
        nodes[0].revoke_token(number.to_string()).await.unwrap();
        assert_eq!(closed(&mut there).await, (3000, "revoked".to_owned()));
        times.push(begin.elapsed());
        assert_eq!(closed(&mut here).await, (3000, "revoked".to_owned()));
        eventually("refused everywhere", async || status(&apps[2], &token).await == 401).await;
        assert!(futures_util::FutureExt::now_or_never(spared.next()).is_none());
    }
    times.sort();
    println!("closed on another node after {:?} (median), {:?} at most", times[10], times[20]);
    assert!(times[10] < Duration::from_millis(100), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_has_lost_nothing() {
    let mut server = RedisServer::start();
    let (one, other) = (Revocations::new(server.store()), Revocations::new(server.store()));
    let (app, tickets) = (node(&other), Tickets::<Value>::new(server.store()));
    one.revoke_token("1").await.unwrap();
    eventually("told", async || status(&app, "alice.1").await == 401).await;
    let ticket = tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.unwrap();
    let mut live = connected(&app, "alice.2").await;

    server.kill();
    // Tickets are refused, live sessions go on, and what is known still counts.
    assert!(tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.is_err());
    let layer = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap();
    let by_ticket = support::echo_behind(layer);
    let offer = || handshake().path(format!("/?ticket={}", ticket.token().expose())).build();
    assert_eq!(answer(&by_ticket, offer()).await.status(), 503);
    assert_eq!((status(&app, "alice.1").await, status(&app, "alice.3").await), (401, 101));
    assert!(one.revoke_token("2").await.is_err(), "nobody confirms it");

    server.restart();
    // What was not confirmed is told as well.
    assert_eq!(closed(&mut live).await, (3000, "revoked".to_owned()));
    let late = node(&Revocations::new(server.store()));
    assert_eq!((status(&late, "alice.1").await, status(&late, "alice.2").await), (401, 401));
    assert_eq!(status(&late, "alice.3").await, 101);
    eventually("the ticket is still there", async || answer(&by_ticket, offer()).await.status() == 101).await;
    assert_eq!(answer(&by_ticket, offer()).await.status(), 401);
    eventually("tickets are issued", async || {
        tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.is_ok()
    })
    .await;
}

/// One node that has revoked twenty tokens, and another one that was told.
async fn twenty_revoked(server: &RedisServer) -> (Revocations, Router) {
    let (one, app) = (Revocations::new(server.store()), node(&Revocations::new(server.store())));
    for number in 0..20 {
        one.revoke_token(number.to_string()).await.unwrap();
    }
    eventually("told", async || status(&app, "alice.19").await == 401).await;
    (one, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_everything_is_told_again() {
    let mut server = RedisServer::start();
    let (one, app) = twenty_revoked(&server).await;
    server.kill();
    server.restart_empty();
    let late = Revocations::new(server.store());
    let late = node(&late);
    for number in 0..20 {
        eventually("told again", async || status(&late, &format!("alice.{number}")).await == 401).await;
    }
    // And they follow the new stream.
    one.revoke_token("new").await.unwrap();
    for app in [&app, &late] {
        eventually("told of what is new", async || status(app, "alice.new").await == 401).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_holds_nobody_up_for_long() {
    let server = RedisServer::start();
    let store = server.store().timeout(Duration::from_millis(200)).unwrap();
    let (revocations, tickets) = (Revocations::new(store.clone()), Tickets::<Value>::new(store));
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    let mut live = connected(&app, "alice.1").await;

    server.stop();
    let begin = Instant::now();
    assert!(tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.is_err());
    assert!(revocations.revoke_token("1").await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(closed(&mut live).await, (3000, "revoked".to_owned()), "here it counts");
    assert_eq!(status(&app, "alice.2").await, 101, "for a minute");

    server.go_on();
    let late = node(&Revocations::new(server.store()));
    eventually("told when it answers again", async || status(&late, "alice.1").await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pauses_is_waited_for_no_longer_than_it_may_take() {
    let server = RedisServer::start();
    let store = server.store().timeout(Duration::from_millis(200)).unwrap();
    let (revocations, tickets) = (Revocations::new(store.clone()), Tickets::<Value>::new(store));
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    server.tell("CLIENT PAUSE 3000");
    let begin = Instant::now();
    assert!(tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.is_err());
    assert_eq!(status(&app, "alice.1").await, 101, "a handshake asks nobody");
    assert!(revocations.revoke_token("1").await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let late = node(&Revocations::new(server.store()));
    eventually("told after the pause", async || status(&late, "alice.1").await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_emptied_under_live_connections_is_told_again() {
    let server = RedisServer::start();
    let (one, app) = twenty_revoked(&server).await;
    server.tell("FLUSHALL");
    let late = Revocations::new(server.store());
    eventually("told again", async || late.status().entries == 20).await;
    one.revoke_token("new").await.unwrap();
    eventually("told of what is new", async || status(&app, "alice.new").await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_says_so() {
    let server = RedisServer::start();
    let (tickets, revocations) = (Tickets::<Value>::new(server.store()), Revocations::new(server.store()));
    server.tell("CONFIG SET maxmemory 1");
    let error = tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), TicketErrorKind::Store(StoreErrorKind::Full));
    assert_eq!(revocations.revoke_token("1").await.unwrap_err().kind(), StoreErrorKind::Full);
    server.tell("CONFIG SET maxmemory 0");
    assert!(tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.is_ok());
    let late = node(&Revocations::new(server.store()));
    eventually("told when there is room", async || status(&late, "alice.1").await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_worth_nothing_when_its_token_was_revoked() {
    let server = RedisServer::start();
    let (tickets, revocations) = (Tickets::<Value>::new(server.store()), Revocations::new(server.store()));
    let layer = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap();
    let app = support::echo_behind(layer.revocations(&revocations));
    let bought = Verified::new(json!({})).with_subject("alice").with_token_id("1");
    let ticket = tickets.issue_for(&bought, &TicketOptions::new()).await.unwrap();
    revocations.revoke_token("1").await.unwrap();
    let response = answer(&app, handshake().path(format!("/?ticket={}", ticket.token().expose())).build()).await;
    assert!(support::is_refused_with(&response, http::StatusCode::UNAUTHORIZED, "revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_revoke_at_once_are_all_heard() {
    let server = RedisServer::start();
    let nodes: Vec<Revocations> = (0..4).map(|_| Revocations::new(server.store())).collect();
    let revoking: Vec<_> = (0..400)
        .map(|number| {
            let node = nodes[number % 4].clone();
            tokio::spawn(async move { node.revoke_token(number.to_string()).await })
        })
        .collect();
    for one in revoking {
        one.await.unwrap().unwrap();
    }
    for node in &nodes {
        eventually("all are heard", async || node.status().entries == 400).await;
    }
    let late = Revocations::new(server.store());
    eventually("also by who comes late", async || late.status().entries == 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_sessions_of_one_subject_end_within_a_second() {
    let server = RedisServer::start();
    let (here, there) = (Revocations::new(server.store()), Revocations::new(server.store()));
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(verifier).sessions(&sessions).revocations(&there);
    let app = Router::new().route("/", any(idle)).layer(layer);
    let mut sockets = Vec::new();
    for number in 0..10_000 {
        sockets.push(connected(&app, &format!("alice.{number}")).await);
    }
    assert_eq!(sessions.iter().count(), 10_000);
    let begin = Instant::now();
    here.revoke_subject("alice").await.unwrap();
    for socket in &mut sockets {
        let Some(Ok(frame)) = socket.next().await else { panic!("a close frame") };
        assert!(frame.is_close());
    }
    println!("10 000 close frames after {:?}", begin.elapsed());
    eventually("all are gone", async || sessions.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_keep_applications_apart() {
    let server = RedisServer::start();
    let (one, other) = (server.store().prefix("one").unwrap(), server.store().prefix("other").unwrap());
    let key = TicketKey::of(&[7; 32]);
    one.put(key, b"content".to_vec(), Duration::from_secs(10)).await.unwrap();
    assert_eq!(other.redeem(key).await.unwrap(), None);
    assert!(one.redeem(key).await.unwrap().is_some());
    Revocations::new(one.clone()).revoke_token("1").await.unwrap();
    // Each knows all that there is when it has looked.
    for (store, entries) in [(one, 1), (other, 0)] {
        let late = Revocations::new(store);
        eventually("it has looked", async || late.status().age.is_some()).await;
        assert_eq!(late.status().entries, entries);
    }
}

#[tokio::test]
async fn configurations_that_cannot_be_meant_are_refused_and_passwords_not_shown() {
    let error = Redis::new("redis://user:secret@[nowhere").unwrap_err();
    assert!(matches!(error, ConfigError::InvalidUrl { .. }) && !format!("{error} {error:?}").contains("secret"));
    let redis = Redis::new("redis://user:secret@127.0.0.1").unwrap();
    assert!(!format!("{redis:?}").contains("secret"));
    for prefix in ["", "{a}", "a}"] {
        assert_eq!(redis.clone().prefix(prefix).unwrap_err(), ConfigError::InvalidPrefix(prefix.to_owned()));
    }
    for timeout in [Duration::ZERO, Duration::MAX] {
        assert!(redis.clone().timeout(timeout).is_err());
    }

    let urls = ["redis://user:secret@10.0.0.1", "redis://user:other@10.0.0.2"];
    for urls in [&urls[..], &["redis://user:secret@[nowhere"], &[]] {
        let error = Redis::cluster(urls.iter().copied()).unwrap_err();
        assert!(matches!(error, ConfigError::InvalidUrl { .. }) && !format!("{error} {error:?}").contains("secret"));
    }
    let cluster = Redis::cluster(["redis://user:secret@10.0.0.1", "redis://user:secret@10.0.0.2"]).unwrap();
    assert!(!format!("{cluster:?}").contains("secret"));
}

#[tokio::test]
async fn no_task_is_left_behind() {
    let mut server = RedisServer::start();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (revocations, tickets) = (Arc::new(Revocations::new(server.store())), Tickets::<Value>::new(server.store()));
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.unwrap();
    server.kill();
    assert!(revocations.revoke_token("1").await.is_err());
    server.restart();
    let _ = test_util::handshake();
    eventually("it is back", async || revocations.revoke_token("2").await.is_ok()).await;
    drop((revocations, app, tickets));
    eventually("no task is left", async || tasks() == 0).await;
}

/// What happened on one node of those below.
#[derive(Default)]
struct Record {
    /// The ids of tokens whose revocation was asked for there and is over, and whether it was confirmed.
    revoked: Mutex<Vec<(String, bool)>>,
    admitted: AtomicUsize,
    refused: AtomicUsize,
    late: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_nothing() {
    let mut server = RedisServer::start_with(["--appendfsync", "always"]);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 0);
    let tickets: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let nodes: Vec<_> = (0..2)
        .map(|_| {
            let limits = Limits::new().per_subject(1000, AtLimit::RefuseNew).unwrap().across_nodes(server.store());
            let (revocations, shop) = (Revocations::new(server.store()), Tickets::<Value>::new(server.store()));
            let sessions = Sessions::with_limits(limits);
            let layer = WsAuthLayer::new(verifier).sessions(&sessions).revocations(&revocations);
            let by_token = Router::new().route("/", any(idle)).layer(layer);
            let layer = WsAuthLayer::new(shop.verifier()).sources([TokenSource::ticket()]).unwrap();
            (by_token, support::echo_behind(layer.revocations(&revocations)), revocations, shop)
        })
        .collect();
    let records: Vec<Arc<Record>> = (0..2).map(|_| Arc::default()).collect();

    let mut load = JoinSet::new();
    for (number, ((by_token, _, revocations, shop), record)) in nodes.iter().zip(&records).enumerate() {
        for worker in 0..4 {
            let (app, record, is_over) = (by_token.clone(), Arc::clone(record), Arc::clone(&is_over));
            load.spawn(async move {
                for turn in 0.. {
                    if is_over.load(SeqCst) {
                        return;
                    }
                    // One that was revoked here and one that never is, in turns.
                    let revoked = {
                        let revoked = record.revoked.lock().unwrap();
                        let one = revoked.get(turn / 2 % revoked.len().max(1)).map(|(id, _)| id.clone());
                        one.filter(|_| turn % 2 == 0)
                    };
                    match &revoked {
                        Some(id) => {
                            let status = status(&app, &format!("alice.{id}")).await;
                            record.refused.fetch_add(1, SeqCst);
                            record.late.fetch_add(usize::from(status != 401), SeqCst);
                        }
                        None => {
                            assert_eq!(status(&app, &format!("alice.good-{worker}")).await, 101);
                            record.admitted.fetch_add(1, SeqCst);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        let (revocations, record, over) = (revocations.clone(), Arc::clone(record), Arc::clone(&is_over));
        load.spawn(async move {
            for turn in 0.. {
                if over.load(SeqCst) {
                    return;
                }
                let id = format!("{number}-{turn}");
                let confirmed = revocations.revoke_token(id.clone()).await.is_ok();
                record.revoked.lock().unwrap().push((id, confirmed));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        // Each ticket is offered on both nodes at once.
        let apps = [nodes[0].1.clone(), nodes[1].1.clone()];
        let (shop, tickets, over) = (shop.clone(), Arc::clone(&tickets), Arc::clone(&is_over));
        load.spawn(async move {
            while !over.load(SeqCst) {
                if let Ok(ticket) = shop.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await {
                    let ticket = ticket.token().expose().to_owned();
                    let offers = (0..4).map(|offer| by_ticket(&apps[offer % 2], &ticket));
                    let redeemed = futures_util::future::join_all(offers).await;
                    tickets.lock().unwrap().push((ticket, redeemed.iter().filter(|status| **status == 101).count()));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    is_over.store(true, SeqCst);
    while let Some(done) = load.join_next().await {
        done.unwrap();
    }

    // Whoever revoked, confirmed or not: it counts on both, and on one that comes late.
    let late = Revocations::new(server.store());
    let late_shop = Tickets::<Value>::new(server.store());
    let layer = WsAuthLayer::new(late_shop.verifier()).sources([TokenSource::ticket()]).unwrap();
    let (late_app, late_by_ticket) = (node(&late), support::echo_behind(layer));
    let mut unconfirmed = 0;
    for record in &records {
        assert_eq!(record.late.load(SeqCst), 0, "nobody comes in after the order");
        let revoked = record.revoked.lock().unwrap().clone();
        unconfirmed += revoked.iter().filter(|(_, confirmed)| !confirmed).count();
        for app in [&nodes[0].0, &nodes[1].0, &late_app] {
            for (id, confirmed) in &revoked {
                eventually(&format!("{id}, confirmed: {confirmed}"), async || {
                    status(app, &format!("alice.{id}")).await == 401
                })
                .await;
            }
        }
    }
    // A ticket whose answer was lost may be good still, and then once.
    let (mut redeemed, mut spared) = (0, 0);
    let tickets = tickets.lock().unwrap().clone();
    for (ticket, times) in &tickets {
        let again = usize::from(by_ticket(&late_by_ticket, ticket).await == 101);
        assert!(times + again <= 1, "a ticket was redeemed {times} times, and {again} time later");
        redeemed += times;
        spared += again;
    }
    let count = |counter: fn(&Record) -> &AtomicUsize| -> usize {
        records.iter().map(|record| counter(record).load(SeqCst)).sum()
    };
    let (admitted, refused) = (count(|record| &record.admitted), count(|record| &record.refused));
    println!("{admitted} admitted, {refused} refused; {unconfirmed} revocations unconfirmed");
    println!("of {} tickets {redeemed} redeemed, {spared} later", tickets.len());
    assert!(admitted > 100 && refused > 100 && unconfirmed > 0 && redeemed > 20);

    drop((nodes, late, late_shop, late_app, late_by_ticket));
    eventually("no task is left", async || tasks() == 0).await;
}

async fn by_ticket(app: &Router, ticket: &str) -> u16 {
    answer(app, handshake().path(format!("/?ticket={ticket}")).build()).await.status().as_u16()
}

#[tokio::test]
#[ignore = "a node for the next test, which starts it"]
async fn a_node_in_a_process_of_its_own() {
    node_process::serve().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_in_processes_of_their_own_act_as_one() {
    let server = RedisServer::start();
    let start = || NodeProcess::start("a_node_in_a_process_of_its_own", &server.url());
    let (mut one, other) = (start(), start());

    // Who logs out at the one is disconnected from the other.
    let mut socket = other.connect("alice.1").await.unwrap();
    assert_eq!(one.post("/logout", "alice.1").await.0, 204);
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
    assert_eq!(other.connect("alice.1").await.err(), Some(401));

    // A ticket of the one is good at the other, once.
    let (bought, body) = one.post("/ticket", "bob.2").await;
    assert_eq!(bought, 200);
    let ticket: Value = serde_json::from_str(&body).unwrap();
    let ticket = ticket["ticket"].as_str().unwrap();
    let socket = other.connect_by(ticket).await.unwrap();
    for node in [&one, &other] {
        assert_eq!(node.connect_by(ticket).await.err(), Some(401));
    }
    assert_eq!(one.connect("bob.2").await.err(), Some(429), "he has a session there");
    drop(socket);
    eventually("his place is free", async || one.connect("bob.2").await.is_ok()).await;

    // The places on a node that is gone are free after a while.
    let _socket = one.connect("carol.3").await.unwrap();
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(other.connect("carol.3").await.err(), Some(429), "it is kept up");
    one.kill();
    let begin = Instant::now();
    assert_eq!(other.connect("carol.3").await.err(), Some(429));
    eventually("her place is free", async || other.connect("carol.3").await.is_ok()).await;
    println!("free {:?} after its node was gone", begin.elapsed());
    assert!(begin.elapsed() > LEASE / 3 && begin.elapsed() < LEASE * 2, "{:?}", begin.elapsed());
    other.leave();
}
