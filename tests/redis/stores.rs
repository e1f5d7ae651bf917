//! The three stores, while Redis is available.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant, SystemTime},
};

use axum::Router;
use axum_ws_auth::{
    AtLimit, ConfigError, Redis, Revocations, Sessions, TicketOptions, Tickets, Verified, WsAuthLayer,
    store::{Acquire, LimitStore, SessionLease, TicketKey, TicketStore},
    test_util::{conformance, handshake},
};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::{
    alive_tasks, issue,
    nodes::{eventually, node, node_behind, status, verifier},
    redeem, redeeming_layer,
    redis::{RedisCluster, RedisServer},
    support::{answer, closed, completed, connected, echo_behind, is_refused_with},
};

#[tokio::test(flavor = "multi_thread")]
async fn stores_pass_their_conformance_tests() {
    let server = RedisServer::start();
    conformance::limits(server.store(), server.store()).await;
    conformance::tickets(server.store()).await;
    conformance::revocations(server.store(), server.store()).await;
    // Two nodes may also be clones of one store.
    let store = server.store().prefix("clones").unwrap();
    conformance::revocations(store.clone(), store.clone()).await;
    conformance::limits(store.clone(), store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_in_a_cluster_pass_their_conformance_tests() {
    let cluster = RedisCluster::start();
    tokio::join!(
        conformance::tickets(cluster.store()),
        conformance::revocations(cluster.store(), cluster.store()),
        conformance::limits(cluster.store(), cluster.store()),
    );
    for server in &cluster.servers {
        assert!(!server.query("DBSIZE").starts_with(":0"), "keys are spread over all servers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_released_leases_leave_no_keys() {
    let (server, second) = (RedisServer::start(), Duration::from_secs(1));
    let (store, limit) = (server.store(), NonZeroUsize::MIN);
    let lease = |number: u32| {
        let id = format!("{number:032x}").parse().unwrap();
        SessionLease::new("alice", id, SystemTime::now()).with_details("details")
    };
    let leases = [lease(1), lease(2)];
    for lease in &leases {
        store.acquire(Acquire::new(lease, limit, AtLimit::EvictOldest, second)).await.unwrap();
    }
    tokio::time::sleep(second / 2).await;
    assert_eq!(store.renew(&leases, second).await.unwrap(), [leases[0].session]);
    tokio::time::sleep(second / 4 * 3).await;
    assert_eq!(server.query("DBSIZE").trim(), ":3", "the lease was renewed, with its details and its issuer");
    server.run("FLUSHALL");
    assert!(store.renew(&leases, second).await.unwrap().is_empty());
    assert_eq!(server.query("DBSIZE").trim(), ":3");
    tokio::time::sleep(second * 2 + second / 2).await;
    assert_eq!(server.query("DBSIZE").trim(), ":0");
    store.acquire(Acquire::new(&leases[0], limit, AtLimit::EvictOldest, second)).await.unwrap();
    store.release(&leases).await.unwrap();
    assert_eq!(server.query("DBSIZE").trim(), ":1", "only the issuer is left");
    tokio::time::sleep(second * 2 + second / 2).await;
    assert_eq!(server.query("DBSIZE").trim(), ":0");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_thousand_handshakes_on_two_nodes_redeems_a_ticket() {
    let server = RedisServer::start();
    let nodes: Vec<Tickets<Value>> = (0..2).map(|_| Tickets::new(server.store())).collect();
    let apps: Vec<Router> = nodes.iter().map(|tickets| echo_behind(redeeming_layer(tickets))).collect();
    for _ in 0..3 {
        let ticket = issue(&nodes[0]).await.unwrap();
        let handshakes: Vec<_> = (0..1000)
            .map(|number| {
                let (app, ticket) = (apps[number % 2].clone(), ticket.clone());
                tokio::spawn(async move { redeem(&app, ticket.token().expose()).await })
            })
            .collect();
        assert_eq!(completed(handshakes).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_refused_if_its_token_was_revoked() {
    let server = RedisServer::start();
    let (tickets, revocations) = (Tickets::<Value>::new(server.store()), Revocations::new(server.store()));
    let app = echo_behind(redeeming_layer(&tickets).revocations(&revocations));
    let verified = Verified::new(json!({})).with_subject("alice").with_token_id("1");
    let ticket = tickets.issue_for(&verified, &TicketOptions::new()).await.unwrap();
    revocations.revoke_token("1").await.unwrap();
    let response = answer(&app, handshake().path(format!("/?ticket={}", ticket.token().expose())).build()).await;
    assert!(is_refused_with(&response, http::StatusCode::UNAUTHORIZED, "revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_closes_sockets_on_another_node_within_milliseconds() {
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
        eventually("it is refused on every node", async || status(&apps[2], &token).await == 401).await;
        assert!(spared.next().now_or_never().is_none());
    }
    times.sort();
    println!("closed on another node after {:?} (median), {:?} at most", times[10], times[20]);
    assert!(times[10] < Duration::from_millis(100), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_revocations_reach_every_node() {
    let server = RedisServer::start();
    let nodes: Vec<Revocations> = (0..4).map(|_| Revocations::new(server.store())).collect();
    let calls: Vec<_> = (0..400)
        .map(|number| {
            let node = nodes[number % 4].clone();
            tokio::spawn(async move { node.revoke_token(number.to_string()).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    for node in &nodes {
        eventually("every node has all revocations", async || node.status().entries == 400).await;
    }
    let late = Revocations::new(server.store());
    eventually("a later node has all revocations", async || late.status().entries == 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_subject_ends_ten_thousand_sessions() {
    let server = RedisServer::start();
    let (here, there) = (Revocations::new(server.store()), Revocations::new(server.store()));
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(verifier).sessions(&sessions).revocations(&there);
    let app = node_behind(layer);
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
    eventually("all sessions have ended", async || sessions.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_separate_applications() {
    let server = RedisServer::start();
    let (one, other) = (server.store().prefix("one").unwrap(), server.store().prefix("other").unwrap());
    let key = TicketKey::of(&[7; 32]);
    one.put(key, b"content".to_vec(), Duration::from_secs(10)).await.unwrap();
    assert_eq!(other.redeem(key).await.unwrap(), None);
    assert!(one.redeem(key).await.unwrap().is_some());
    Revocations::new(one.clone()).revoke_token("1").await.unwrap();
    for (store, entries) in [(one, 1), (other, 0)] {
        let late = Revocations::new(store);
        eventually("it has loaded the store", async || late.status().age.is_some()).await;
        assert_eq!(late.status().entries, entries);
    }
}

#[tokio::test]
async fn invalid_settings_are_refused_and_passwords_are_not_shown() {
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
async fn no_task_outlives_the_stores() {
    let mut server = RedisServer::start();
    let (revocations, tickets) = (Revocations::new(server.store()), Tickets::<Value>::new(server.store()));
    let app = node(&revocations);
    assert_eq!(status(&app, "alice.1").await, 101);
    issue(&tickets).await.unwrap();
    server.kill();
    assert!(revocations.revoke_token("1").await.is_err());
    server.restart();
    eventually("the server is available", async || revocations.revoke_token("2").await.is_ok()).await;
    drop((revocations, app, tickets));
    eventually("no task is left", async || alive_tasks() == 0).await;
}
