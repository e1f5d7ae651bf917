//! Revocations in a real Redis when servers change places: a replica that was behind is promoted, a primary is demoted, all is
//! lost and told again.
//!
//! Needs `redis-server` on the path.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    reason = "a test may panic, and shares its servers with others"
)]

#[path = "support/redis.rs"]
mod redis;
mod support;

use std::{
    future::{Ready, ready},
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, Redis, Revocation, RevocationOptions, Revocations, Verified, VerifyError, VerifyInput,
    WsAuthLayer,
    store::{Cursor, RevocationStore, StoreErrorKind},
    test_util::{conformance, handshake},
};
use redis::RedisServer;
use support::{answer, closed, connected};
use tokio::net::{TcpListener, TcpStream};

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
        assert!(begin.elapsed() < Duration::from_secs(40), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn port(server: &RedisServer) -> u16 {
    server.url().rsplit(':').next().unwrap().parse().unwrap()
}

fn follow(server: &RedisServer, primary: &RedisServer) {
    server.tell(&format!("REPLICAOF 127.0.0.1 {}", port(primary)));
}

/// Still a replica, of a primary that it cannot reach.
fn cut_off(server: &RedisServer) {
    server.tell("REPLICAOF 127.0.0.1 1");
}

fn promote(server: &RedisServer) {
    server.tell("REPLICAOF NO ONE");
}

/// One address that leads to one server and then to another.
struct Name {
    url: String,
    target: Arc<AtomicU16>,
}

impl Name {
    async fn of(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let target = Arc::new(AtomicU16::new(port(server)));
        let to = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = to.load(SeqCst);
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { url, target }
    }

    fn lead_to(&self, server: &RedisServer) {
        self.target.store(port(server), SeqCst);
    }

    fn store(&self) -> Redis {
        Redis::new(&self.url).unwrap()
    }
}

/// What was logged, by all tests in this program.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn listen() -> Self {
        static LOGGED: std::sync::OnceLock<Logged> = std::sync::OnceLock::new();
        let listen = || {
            let logged = Self::default();
            let writer = logged.clone();
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
            logged
        };
        LOGGED.get_or_init(listen).clone()
    }

    fn has(&self, level: &str, message: &str) -> bool {
        let logged = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        logged.lines().any(|line| line.contains(level) && line.contains(message))
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_replica_that_was_behind_loses_no_order_and_is_told() {
    let logged = Logged::listen();
    // How many orders the replica lacks, and how many the new primary gets before anybody follows it: as many, so that each of
    // the new ones has the number of a lost one; fewer; more; and none.
    for (lost, new) in [(1, 1), (2, 1), (1, 3), (3, 0)] {
        let (mut primary, replica) = (RedisServer::start(), RedisServer::start());
        follow(&replica, &primary);
        let name = Name::of(&primary).await;
        let nodes = [Revocations::new(name.store()), Revocations::new(name.store())];
        let apps = [node(&nodes[0]), node(&nodes[1])];
        nodes[0].revoke_token("before").await.unwrap();
        for app in &apps {
            eventually("told", async || status(app, "alice.before").await == 401).await;
        }
        eventually("replicated", async || replica.ask("EXISTS axum-ws-auth:{revocations}").starts_with(":1")).await;

        cut_off(&replica);
        for number in 0..lost {
            nodes[0].revoke_token(format!("lost{number}")).await.unwrap();
            eventually("told", async || status(&apps[1], &format!("alice.lost{number}")).await == 401).await;
        }
        promote(&replica);
        // One more node, which knows of the new primary alone.
        let third = Revocations::new(replica.store());
        let third_app = node(&third);
        let mut victim = connected(&third_app, "alice.lost0").await;
        let mut live = connected(&apps[1], "alice.new0").await;
        for number in 0..new {
            third.revoke_token(format!("new{number}")).await.unwrap();
        }
        name.lead_to(&replica);
        primary.kill();

        // What was lost is told again, what is new is heard, by all.
        let end = |socket| tokio::time::timeout(Duration::from_secs(40), closed(socket));
        assert_eq!(end(&mut victim).await.expect("told of what was lost"), (3000, "revoked".to_owned()));
        if new > 0 {
            assert_eq!(end(&mut live).await.expect("told of what is new"), (3000, "revoked".to_owned()));
        }
        let late = node(&Revocations::new(replica.store()));
        for app in apps.iter().chain([&third_app, &late]) {
            let lost = (0..lost).map(|number| format!("alice.lost{number}"));
            for token in lost.chain((0..new).map(|number| format!("alice.new{number}"))) {
                eventually(&token, async || status(app, &token).await == 401).await;
            }
            assert_eq!(status(app, "alice.spared").await, 101);
        }
        assert!(logged.has("ERROR", "revocations lost by the store"));
        assert!(logged.has("ERROR", "revocations restored: the store had lost some"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_lost_before_anybody_has_read_it_is_told_again() {
    let (mut primary, replica) = (RedisServer::start(), RedisServer::start());
    follow(&replica, &primary);
    let name = Name::of(&primary).await;
    let one = Revocations::new(name.store());
    let app = node(&one);
    one.revoke_token("before").await.unwrap();
    eventually("replicated", async || replica.ask("EXISTS axum-ws-auth:{revocations}").starts_with(":1")).await;
    // What it follows is a copy from before, as if the failover had come first.
    let copied = name.store();
    let cursor = copied.load().await.unwrap().cursor;
    cut_off(&replica);
    one.revoke_token("lost").await.unwrap();
    name.lead_to(&replica);
    promote(&replica);
    primary.kill();
    let late = node(&Revocations::new(replica.store()));
    eventually("told again", async || status(&late, "alice.lost").await == 401).await;
    assert_eq!(status(&app, "alice.lost").await, 401);
    // That cursor is one in the new primary too.
    eventually("a cursor that both have", async || copied.next(cursor.clone()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reaches_no_primary_grows_stale() {
    let server = RedisServer::start();
    let options = || RevocationOptions::new().max_staleness(Duration::from_secs(15)).unwrap();
    let revocations = Revocations::with_options(server.store(), options());
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    cut_off(&server);
    let begin = Instant::now();
    eventually("stale", async || status(&app, "alice.1").await == 503).await;
    assert!(begin.elapsed() > Duration::from_secs(9), "not before its knowledge is old: {:?}", begin.elapsed());
    // One that starts there knows nothing, though the replica answers.
    let late = Revocations::with_options(server.store(), options());
    assert_eq!(status(&node(&late), "alice.1").await, 503);
    assert_eq!(late.status().age, None);

    promote(&server);
    eventually("in touch again", async || status(&app, "alice.1").await == 101).await;

    // A primary that has lost the replicas it needs is none either.
    server.tell("CONFIG SET min-replicas-to-write 1");
    let store = server.store();
    assert!(store.load().await.is_err());
    assert!(store.add(&Revocation::Token("1".into()), Duration::from_secs(60)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_one_in_its_own_log() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let order = |id: u32| Revocation::Token(id.to_string().into());
    let minute = Duration::from_secs(60);
    // Numbers alone would be the same.
    let cursors = [one.store().load().await.unwrap().cursor, other.store().load().await.unwrap().cursor];
    for (server, number) in [(&one, 1), (&other, 2)] {
        server.store().add(&order(number), minute).await.unwrap();
    }
    let end = one.store().load().await.unwrap().cursor;
    let (id, nonce) = end.0.split_once('/').unwrap();
    let other_end = other.store().load().await.unwrap().cursor;
    let (other_id, other_nonce) = other_end.0.split_once('/').unwrap();
    assert_ne!(nonce, other_nonce);
    for cursor in [
        format!("{id}/{other_nonce}"),
        format!("{other_id}/{nonce}"),
        format!("{id}/"),
        id.to_owned(),
        "0".to_owned(),
        "0-0/".to_owned(),
        String::new(),
        "$/x".to_owned(),
        cursors[1].0.clone(),
        "18446744073709551615-0/x".to_owned(),
    ] {
        let error = one.store().next(Cursor(cursor.clone())).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Lost, "{cursor}");
    }
    let news = one.store().next(cursors[0].clone()).await.unwrap();
    assert_eq!(news.revocations.iter().map(|(order, _)| order.clone()).collect::<Vec<_>>(), [order(1)]);
    assert_eq!(news.cursor, end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_while_others_tell_what_was_lost_knows_that_it_is_incomplete() {
    let server = RedisServer::start();
    let order = |id: &str| (Revocation::Token(id.into()), Duration::from_secs(60));
    let telling = server.store();
    assert!(telling.add_many(&[order("1")], true).await.iter().all(Result::is_ok));
    let revocations = Revocations::new(server.store());
    let app = node(&revocations);
    // What it knows counts.
    assert_eq!((status(&app, "alice.1").await, status(&app, "alice.2").await), (401, 503));
    assert_eq!(revocations.status().age, None);
    assert!(telling.add_many(&[order("2")], false).await.iter().all(Result::is_ok));
    eventually("complete", async || status(&app, "alice.3").await == 101).await;
    assert_eq!(status(&app, "alice.2").await, 401);

    // Whoever knew all before goes on, while two tell.
    let other = server.store();
    for store in [&telling, &other] {
        assert!(store.add_many(&[order("3")], true).await.iter().all(Result::is_ok));
    }
    assert!(telling.add_many(&[order("4")], false).await.iter().all(Result::is_ok));
    let late = Revocations::new(server.store());
    assert_eq!(status(&node(&late), "alice.5").await, 503, "the other one tells more");
    assert_eq!(status(&app, "alice.5").await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn tens_of_thousands_of_orders_are_told_again_and_loaded_in_pages() {
    const COUNT: usize = 20_000;
    let server = RedisServer::start();
    let store = server.store();
    for batch in 0..COUNT / 500 {
        let orders = (0..500)
            .map(|number| (Revocation::Token(format!("{}", batch * 500 + number).into()), Duration::from_secs(3600)));
        assert!(store.add_many(&orders.collect::<Vec<_>>(), false).await.iter().all(Result::is_ok));
    }
    // Twice the same is one.
    let again = [(Revocation::Token("0".into()), Duration::from_secs(3600))];
    let log = server.ask("XLEN axum-ws-auth:{revocations}:log");
    assert!(store.add_many(&again, false).await.iter().all(Result::is_ok));
    assert_eq!(server.ask("XLEN axum-ws-auth:{revocations}:log"), log);

    let revocations = Revocations::new(server.store());
    let app = node(&revocations);
    eventually("loaded", async || revocations.status().entries == COUNT).await;
    let begin = Instant::now();
    server.tell("FLUSHALL");
    let all = format!(":{COUNT}");
    eventually("told again", async || server.ask("ZCARD axum-ws-auth:{revocations}").trim() == all).await;
    println!("{COUNT} orders told again after {:?}", begin.elapsed());
    let late = Revocations::new(server.store());
    eventually("loaded", async || late.status().entries == COUNT).await;
    for app in [&app, &node(&late)] {
        eventually("all is well", async || status(app, "alice.x").await == 101).await;
        assert_eq!(status(app, "alice.19999").await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_end_at_the_same_moment_are_all_loaded() {
    let server = RedisServer::start();
    // More than fit on two pages, all in one call, so that they have one score.
    let orders = (0..2500).map(|id| (Revocation::Token(id.to_string().into()), Duration::from_secs(60)));
    let store = server.store();
    assert!(store.add_many(&orders.collect::<Vec<_>>(), false).await.iter().all(Result::is_ok));
    let loaded = store.load().await.unwrap().revocations;
    let ids: std::collections::HashSet<_> = loaded.into_iter().map(|(order, _)| order).collect();
    assert_eq!(ids.len(), 2500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_written_does_not_hold_up_the_others() {
    let server = RedisServer::start();
    let store = server.store();
    let before_time = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let orders = [Revocation::Token("1".into()), Revocation::IssuedUntil(before_time), Revocation::Token("2".into())]
        .map(|order| (order, Duration::from_secs(60)));
    let outcomes = store.add_many(&orders, false).await;
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(store.load().await.unwrap().revocations.len(), 2);
    // From an application it is one about the beginning of time.
    Revocations::new(store).revoke(Revocation::IssuedUntil(before_time)).await.unwrap();
    conformance::revocations(server.store().prefix("rules").unwrap(), server.store().prefix("rules").unwrap()).await;
}
