//! A Redis that is restarted, emptied, full, or does not answer.

use std::time::{Duration, Instant};

use axum::Router;
use axum_ws_auth::{
    AtLimit, Health, HealthReason, HealthStatus, Limits, Revocations, TicketErrorKind, Tickets, store::StoreErrorKind,
};
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;

use crate::{
    alive_tasks, issue, limited_node,
    node_process::LEASE,
    nodes::{eventually, node, status},
    redeem, redeeming_layer,
    redis::{RedisCluster, RedisServer},
    support::{closed, connected, echo_behind},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_has_lost_nothing() {
    let mut server = RedisServer::start();
    let (one, other) = (Revocations::new(server.store()), Revocations::new(server.store()));
    let (app, tickets) = (node(&other), Tickets::<Value>::new(server.store()));
    one.revoke_token("1").await.unwrap();
    eventually("the other node has it", async || status(&app, "alice.1").await == 401).await;
    let ticket = issue(&tickets).await.unwrap();
    let mut live = connected(&app, "alice.2").await;

    server.kill();
    // Tickets are refused, live sessions go on, and known revocations are in effect.
    assert!(issue(&tickets).await.is_err());
    let by_ticket = echo_behind(redeeming_layer(&tickets));
    let ticket = ticket.token().expose();
    assert_eq!(redeem(&by_ticket, ticket).await, 503);
    assert_eq!((status(&app, "alice.1").await, status(&app, "alice.3").await), (401, 101));
    assert!(one.revoke_token("2").await.is_err(), "no store confirms it");

    server.restart();
    // The unconfirmed revocation is added now.
    assert_eq!(closed(&mut live).await, (3000, "revoked".to_owned()));
    let late = node(&Revocations::new(server.store()));
    assert_eq!((status(&late, "alice.1").await, status(&late, "alice.2").await), (401, 401));
    assert_eq!(status(&late, "alice.3").await, 101);
    eventually("the ticket is still valid", async || redeem(&by_ticket, ticket).await == 101).await;
    assert_eq!(redeem(&by_ticket, ticket).await, 401);
    eventually("tickets are issued", async || issue(&tickets).await.is_ok()).await;
}

/// The servers of a cluster are asked like a single one.
#[tokio::test(flavor = "multi_thread")]
async fn health_report_notices_a_killed_server() {
    let (mut server, cluster) = (RedisServer::start(), RedisCluster::start());
    let revocations = Revocations::new(server.store());
    let health =
        Health::new().revocations(&revocations).store("redis", server.store()).store("cluster", cluster.store());
    let status = async || health.report().await.status;
    eventually("it is healthy", async || status().await == HealthStatus::Ok).await;

    server.kill();
    let report = health.report().await;
    assert_eq!(
        (report.status, report.reasons.as_slice()),
        (HealthStatus::Degraded, &[HealthReason::StoreUnreachable][..])
    );
    let reachable: Vec<_> = report.stores.iter().map(|store| (store.name, store.error.is_none())).collect();
    assert_eq!(reachable, [("redis", false), ("cluster", true)]);

    server.restart();
    eventually("it is healthy again", async || status().await == HealthStatus::Ok).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_recover_when_a_cluster_restarts() {
    let mut cluster = RedisCluster::start();
    let (one, other) = (Revocations::new(cluster.store()), Revocations::new(cluster.store()));
    let (app, tickets) = (node(&other), Tickets::<Value>::new(cluster.store()));
    one.revoke_token("1").await.unwrap();
    eventually("the other node has it", async || status(&app, "alice.1").await == 401).await;
    for _ in 0..20 {
        issue(&tickets).await.unwrap();
    }

    cluster.servers.iter_mut().for_each(RedisServer::kill);
    assert!(one.revoke_token("2").await.is_err(), "no store confirms it");
    assert!(issue(&tickets).await.is_err());
    assert_eq!((status(&app, "alice.1").await, status(&app, "alice.3").await), (401, 101));

    cluster.servers.iter_mut().for_each(RedisServer::restart);
    cluster.wait();
    eventually("the unconfirmed revocation arrives", async || status(&app, "alice.2").await == 401).await;
    let late = node(&Revocations::new(cluster.store()));
    eventually("a later node has the confirmed revocation", async || status(&late, "alice.1").await == 401).await;
    eventually("tickets are issued", async || issue(&tickets).await.is_ok()).await;
    drop((one, other, app, late, tickets));
    eventually("no task is left", async || alive_tasks() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_survive_a_flush_and_a_restart() {
    let mut server = RedisServer::start();
    let nodes: Vec<Router> = (0..2)
        .map(|_| {
            let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(server.store());
            limited_node(limits.lease_lifetime(LEASE).unwrap())
        })
        .collect();
    let replaced = (1008, "too_many_sessions".to_owned());
    let mut old = connected(&nodes[0], "alice.1").await;
    // A node subscribes when its first session begins.
    tokio::time::sleep(LEASE / 3).await;
    let begin = Instant::now();
    let mut new = connected(&nodes[1], "alice.1").await;
    assert_eq!(closed(&mut old).await, replaced);
    println!("closed on another node after {:?}", begin.elapsed());

    server.run("FLUSHALL");
    tokio::time::sleep(LEASE / 2).await;
    assert!(new.next().now_or_never().is_none(), "a lost lease is not evicted");
    let mut next = connected(&nodes[0], "alice.1").await;
    assert_eq!(closed(&mut new).await, replaced);

    server.kill();
    let begin = Instant::now();
    let mut another = connected(&nodes[1], "alice.1").await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    server.restart();
    // By then, both nodes have restored their leases.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for socket in [&mut next, &mut another] {
        assert!(socket.next().now_or_never().is_none(), "no session ends because of the restart");
    }
    let _last = connected(&nodes[0], "alice.1").await;
    assert_eq!(closed(&mut next).await, replaced);
    assert_eq!(closed(&mut another).await, replaced);
}

/// A node that has revoked twenty tokens, and another one that has received them.
async fn twenty_revoked(server: &RedisServer) -> (Revocations, Router) {
    let (one, app) = (Revocations::new(server.store()), node(&Revocations::new(server.store())));
    for number in 0..20 {
        one.revoke_token(number.to_string()).await.unwrap();
    }
    eventually("the other node has them", async || status(&app, "alice.19").await == 401).await;
    (one, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_restore_a_server_that_restarts_empty() {
    let mut server = RedisServer::start();
    let (one, app) = twenty_revoked(&server).await;
    server.kill();
    server.restart_empty();
    let late = Revocations::new(server.store());
    let late = node(&late);
    for number in 0..20 {
        eventually("restored", async || status(&late, &format!("alice.{number}")).await == 401).await;
    }
    // Both nodes follow the new stream.
    one.revoke_token("new").await.unwrap();
    for app in [&app, &late] {
        eventually("a new revocation arrives", async || status(app, "alice.new").await == 401).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_restore_a_server_that_is_flushed() {
    let server = RedisServer::start();
    let (one, app) = twenty_revoked(&server).await;
    server.run("FLUSHALL");
    let late = Revocations::new(server.store());
    eventually("restored", async || late.status().entries == 20).await;
    one.revoke_token("new").await.unwrap();
    eventually("a new revocation arrives", async || status(&app, "alice.new").await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_delays_nobody_for_long() {
    let server = RedisServer::start();
    let store = server.store().timeout(Duration::from_millis(200)).unwrap();
    let (revocations, tickets) = (Revocations::new(store.clone()), Tickets::<Value>::new(store));
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    let mut live = connected(&app, "alice.1").await;

    server.suspend();
    let begin = Instant::now();
    assert!(issue(&tickets).await.is_err());
    assert!(revocations.revoke_token("1").await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(closed(&mut live).await, (3000, "revoked".to_owned()), "it is in effect on its own node");
    assert_eq!(status(&app, "alice.2").await, 101, "the node is not stale yet");

    server.resume();
    let late = node(&Revocations::new(server.store()));
    eventually("it arrives when the server answers again", async || status(&late, "alice.1").await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_is_waited_for_no_longer_than_the_timeout() {
    let server = RedisServer::start();
    let store = server.store().timeout(Duration::from_millis(200)).unwrap();
    let (revocations, tickets) = (Revocations::new(store.clone()), Tickets::<Value>::new(store));
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    server.run("CLIENT PAUSE 3000");
    let begin = Instant::now();
    assert!(issue(&tickets).await.is_err());
    assert_eq!(status(&app, "alice.1").await, 101, "a handshake needs no store");
    assert!(revocations.revoke_token("1").await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let late = node(&Revocations::new(server.store()));
    eventually("it arrives after the pause", async || status(&late, "alice.1").await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_reported_as_full() {
    let server = RedisServer::start();
    let (tickets, revocations) = (Tickets::<Value>::new(server.store()), Revocations::new(server.store()));
    server.run("CONFIG SET maxmemory 1");
    let error = issue(&tickets).await.unwrap_err();
    assert_eq!(error.kind(), TicketErrorKind::Store(StoreErrorKind::Full));
    assert_eq!(revocations.revoke_token("1").await.unwrap_err().kind(), StoreErrorKind::Full);
    server.run("CONFIG SET maxmemory 0");
    assert!(issue(&tickets).await.is_ok());
    let late = node(&Revocations::new(server.store()));
    eventually("it arrives when the server is no longer full", async || status(&late, "alice.1").await == 401).await;
}
