//! Revocations in a real Redis that loses data: a lagging replica is promoted, a primary is demoted, or the server is
//! flushed.
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

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/redis.rs"]
mod redis;
mod support;

use std::time::{Duration, Instant, SystemTime};

use axum_ws_auth::{
    Redis, Revocation, RevocationOptions, Revocations,
    store::{Cursor, RevocationStore, StoreErrorKind},
    test_util::conformance,
};
use nodes::{eventually, node, status};
use proxy::Proxy;
use redis::RedisServer;
use support::{closed, connected, log::Log};

const MINUTE: Duration = Duration::from_secs(60);

fn replicate(replica: &RedisServer, primary: &RedisServer) {
    replica.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
}

/// Makes the server a replica of a primary that it cannot reach.
fn cut_off(server: &RedisServer) {
    server.run("REPLICAOF 127.0.0.1 1");
}

fn promote(server: &RedisServer) {
    server.run("REPLICAOF NO ONE");
}

fn store_by(proxy: &Proxy) -> Redis {
    Redis::new(&proxy.url()).unwrap()
}

fn token(number: usize) -> Revocation {
    Revocation::Token(number.to_string().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_lagging_replica_loses_no_revocation_and_is_logged() {
    let log = Log::of_process();
    // How many revocations the replica lacks, and how many the new primary gets before the nodes reach it: as many, so
    // that each new entry has the number of a lost one; fewer; more; and none.
    for (lost, new) in [(1, 1), (2, 1), (1, 3), (3, 0)] {
        let (mut primary, replica) = (RedisServer::start(), RedisServer::start());
        replicate(&replica, &primary);
        let proxy = Proxy::to(primary.port()).await;
        let nodes = [Revocations::new(store_by(&proxy)), Revocations::new(store_by(&proxy))];
        let apps = [node(&nodes[0]), node(&nodes[1])];
        nodes[0].revoke_token("before").await.unwrap();
        for app in &apps {
            eventually("every node has it", async || status(app, "alice.before").await == 401).await;
        }
        eventually("replicated", async || replica.query("EXISTS axum-ws-auth:{revocations}").starts_with(":1")).await;

        cut_off(&replica);
        for number in 0..lost {
            nodes[0].revoke_token(format!("lost{number}")).await.unwrap();
            eventually("the other node has it", async || status(&apps[1], &format!("alice.lost{number}")).await == 401)
                .await;
        }
        promote(&replica);
        // A third node, which uses the new primary directly.
        let third = Revocations::new(replica.store());
        let third_app = node(&third);
        let mut victim = connected(&third_app, "alice.lost0").await;
        let mut live = connected(&apps[1], "alice.new0").await;
        for number in 0..new {
            third.revoke_token(format!("new{number}")).await.unwrap();
        }
        proxy.set_target(replica.port());
        primary.kill();

        // All nodes receive what was lost and what is new.
        let end = |socket| tokio::time::timeout(Duration::from_secs(40), closed(socket));
        assert_eq!(end(&mut victim).await.expect("a lost revocation is restored"), (3000, "revoked".to_owned()));
        if new > 0 {
            assert_eq!(end(&mut live).await.expect("a new revocation arrives"), (3000, "revoked".to_owned()));
        }
        let late = node(&Revocations::new(replica.store()));
        for app in apps.iter().chain([&third_app, &late]) {
            let lost = (0..lost).map(|number| format!("alice.lost{number}"));
            for token in lost.chain((0..new).map(|number| format!("alice.new{number}"))) {
                eventually(&token, async || status(app, &token).await == 401).await;
            }
            assert_eq!(status(app, "alice.spared").await, 101);
        }
        assert!(log.has("ERROR", "revocations lost by the store"));
        assert!(log.has("ERROR", "revocations restored: the store had lost some"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_is_lost_before_any_node_reads_it_is_restored() {
    let (mut primary, replica) = (RedisServer::start(), RedisServer::start());
    replicate(&replica, &primary);
    let proxy = Proxy::to(primary.port()).await;
    let one = Revocations::new(store_by(&proxy));
    let app = node(&one);
    one.revoke_token("before").await.unwrap();
    eventually("replicated", async || replica.query("EXISTS axum-ws-auth:{revocations}").starts_with(":1")).await;
    // The cursor is from before the failover.
    let old_store = store_by(&proxy);
    let cursor = old_store.load().await.unwrap().cursor;
    cut_off(&replica);
    one.revoke_token("lost").await.unwrap();
    proxy.set_target(replica.port());
    promote(&replica);
    primary.kill();
    let late = node(&Revocations::new(replica.store()));
    eventually("restored", async || status(&late, "alice.lost").await == 401).await;
    assert_eq!(status(&app, "alice.lost").await, 401);
    // The new primary has the entry of that cursor.
    eventually("the cursor is valid", async || old_store.next(cursor.clone()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_primary_becomes_stale() {
    let server = RedisServer::start();
    let options = || RevocationOptions::new().max_staleness(Duration::from_secs(15)).unwrap();
    let revocations = Revocations::with_options(server.store(), options());
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    cut_off(&server);
    let begin = Instant::now();
    eventually("stale", async || status(&app, "alice.1").await == 503).await;
    assert!(begin.elapsed() > Duration::from_secs(9), "it becomes stale after a while: {:?}", begin.elapsed());
    // A node that starts now knows nothing, although the replica answers.
    let late = Revocations::with_options(server.store(), options());
    assert_eq!(status(&node(&late), "alice.1").await, 503);
    assert_eq!(late.status().age, None);

    promote(&server);
    eventually("the node is current again", async || status(&app, "alice.1").await == 101).await;

    // The same for a primary without the replicas that it requires.
    server.run("CONFIG SET min-replicas-to-write 1");
    let store = server.store();
    assert!(store.load().await.is_err());
    assert!(store.add(&token(1), MINUTE).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_valid_in_its_own_log_only() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    // The numbers of the entries are the same.
    let cursors = [one.store().load().await.unwrap().cursor, other.store().load().await.unwrap().cursor];
    for (server, number) in [(&one, 1), (&other, 2)] {
        server.store().add(&token(number), MINUTE).await.unwrap();
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
    let batch = one.store().next(cursors[0].clone()).await.unwrap();
    assert_eq!(batch.revocations.iter().map(|(revocation, _)| revocation.clone()).collect::<Vec<_>>(), [token(1)]);
    assert_eq!(batch.cursor, end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_while_others_restore_admits_nobody() {
    let server = RedisServer::start();
    let batch = |number| [(token(number), MINUTE)];
    let restoring = server.store();
    assert!(restoring.add_many(&batch(1), true).await.iter().all(Result::is_ok));
    let revocations = Revocations::new(server.store());
    let app = node(&revocations);
    // Known revocations are in effect.
    assert_eq!((status(&app, "alice.1").await, status(&app, "alice.2").await), (401, 503));
    assert_eq!(revocations.status().age, None);
    assert!(restoring.add_many(&batch(2), false).await.iter().all(Result::is_ok));
    eventually("the store is complete", async || status(&app, "alice.3").await == 101).await;
    assert_eq!(status(&app, "alice.2").await, 401);

    // A node that was up to date once keeps admitting while two nodes restore.
    let other = server.store();
    for store in [&restoring, &other] {
        assert!(store.add_many(&batch(3), true).await.iter().all(Result::is_ok));
    }
    assert!(restoring.add_many(&batch(4), false).await.iter().all(Result::is_ok));
    let late = Revocations::new(server.store());
    assert_eq!(status(&node(&late), "alice.5").await, 503, "the other node is still restoring");
    assert_eq!(status(&app, "alice.5").await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_revocations_are_restored_and_loaded_in_pages() {
    const COUNT: usize = 20_000;
    let server = RedisServer::start();
    let store = server.store();
    for batch in 0..COUNT / 500 {
        let revocations = (0..500).map(|number| (token(batch * 500 + number), MINUTE * 60));
        assert!(store.add_many(&revocations.collect::<Vec<_>>(), false).await.iter().all(Result::is_ok));
    }
    // Two equal revocations are one.
    let again = [(token(0), MINUTE * 60)];
    let len = server.query("XLEN axum-ws-auth:{revocations}:log");
    assert!(store.add_many(&again, false).await.iter().all(Result::is_ok));
    assert_eq!(server.query("XLEN axum-ws-auth:{revocations}:log"), len);

    let revocations = Revocations::new(server.store());
    let app = node(&revocations);
    eventually("loaded", async || revocations.status().entries == COUNT).await;
    let begin = Instant::now();
    server.run("FLUSHALL");
    let all = format!(":{COUNT}");
    eventually("restored", async || server.query("ZCARD axum-ws-auth:{revocations}").trim() == all).await;
    println!("{COUNT} revocations restored after {:?}", begin.elapsed());
    let late = Revocations::new(server.store());
    eventually("loaded", async || late.status().entries == COUNT).await;
    for app in [&app, &node(&late)] {
        eventually("others are admitted", async || status(app, "alice.x").await == 101).await;
        assert_eq!(status(app, "alice.19999").await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_with_the_same_expiry_are_all_loaded() {
    let server = RedisServer::start();
    // More than two pages. One call adds them all, so that they have one score.
    let revocations = (0..2500).map(|id| (token(id), MINUTE));
    let store = server.store();
    assert!(store.add_many(&revocations.collect::<Vec<_>>(), false).await.iter().all(Result::is_ok));
    let loaded = store.load().await.unwrap().revocations;
    let ids: std::collections::HashSet<_> = loaded.into_iter().map(|(revocation, _)| revocation).collect();
    assert_eq!(ids.len(), 2500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_cannot_be_written_does_not_stop_the_others() {
    let server = RedisServer::start();
    let store = server.store();
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let revocations = [token(1), Revocation::IssuedUntil(before_1970), token(2)].map(|revocation| (revocation, MINUTE));
    let outcomes = store.add_many(&revocations, false).await;
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(store.load().await.unwrap().revocations.len(), 2);
    // An application's revocation is moved to 1970.
    Revocations::new(store).revoke(Revocation::IssuedUntil(before_1970)).await.unwrap();
    conformance::revocations(server.store().prefix("rules").unwrap(), server.store().prefix("rules").unwrap()).await;
}
