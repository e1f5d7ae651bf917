//! What is lost when a server goes down, moves, or stands still: as little as can be.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, routing::any};
use axum_ws_auth::{
    AtLimit, Limits, Redis, Revocation, Sessions, WsAuthLayer,
    store::{Acquire, Acquired, LimitStore, RevocationStore, SessionLease, StoreError, TicketKey, TicketStore},
};
use tokio::time::sleep;

use crate::{
    eventually, idle,
    proxy::Proxy,
    redis::{RedisCluster, RedisServer, SentinelServer},
    status,
    support::{closed, connected},
    verifier,
};

const MINUTE: Duration = Duration::from_secs(60);

fn key(number: u32) -> TicketKey {
    let mut ticket = [7; 32];
    ticket[..4].copy_from_slice(&number.to_be_bytes());
    TicketKey::of(&ticket)
}

fn lease(subject: &str, number: u32) -> SessionLease {
    SessionLease::new(subject, format!("{number:032x}").parse().unwrap(), SystemTime::now())
}

async fn acquire(store: &Redis, lease: &SessionLease) -> Result<Acquired, StoreError> {
    store.acquire(Acquire::new(lease, NonZeroUsize::MIN, AtLimit::RefuseNew, MINUTE)).await
}

/// Has each command carried out once, on one connection that all share; none may fail.
async fn each_command(store: &Redis, number: u32) {
    let lease = lease(&format!("subject-{number}"), number);
    store.put(key(number), b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key(number)).await.unwrap().unwrap(), b"content");
    assert_eq!(acquire(store, &lease).await.unwrap(), Acquired::Taken { evicted: vec![] });
    assert!(store.renew(std::slice::from_ref(&lease), MINUTE).await.unwrap().is_empty());
    store.release(std::slice::from_ref(&lease)).await.unwrap();
    store.add(&Revocation::Token(number.to_string().into()), MINUTE).await.unwrap();
}

/// Each command is the first one, on a connection of its own, after something happened to the connections.
async fn each_command_is_the_first_after(what: &str, store: impl Fn() -> Redis, happens: impl AsyncFnOnce()) {
    let stores: Vec<Redis> = (0..6).map(|_| store()).collect();
    for store in &stores {
        assert_eq!(store.redeem(key(99)).await.unwrap(), None, "{what}");
    }
    happens().await;
    let leases = [lease("alice", 7)];
    let told = |command| move |error: &StoreError| println!("{command} after {what}: {error}");
    stores[0].put(key(1), b"content".to_vec(), MINUTE).await.inspect_err(told("put")).unwrap();
    let redeemed = stores[1].redeem(key(1)).await.inspect_err(told("redeem")).unwrap();
    assert_eq!(redeemed.unwrap(), b"content", "{what}");
    let acquired = acquire(&stores[2], &leases[0]).await.inspect_err(told("acquire")).unwrap();
    assert_eq!(acquired, Acquired::Taken { evicted: vec![] }, "{what}");
    stores[3].renew(&leases, MINUTE).await.inspect_err(told("renew")).unwrap();
    stores[4].release(&leases).await.inspect_err(told("release")).unwrap();
    let revoked = stores[5].add(&Revocation::Token("1".into()), MINUTE).await;
    revoked.inspect_err(told("revoke")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_on_a_connection_that_broke_while_idle_succeeds() {
    let server = RedisServer::start();
    each_command_is_the_first_after(
        "it was closed",
        || server.store(),
        async || {
            server.ask("CLIENT KILL TYPE normal");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_after_the_idle_timeout_of_the_server_succeeds() {
    let server = RedisServer::start_with(["--timeout", "1"]);
    let store = || server.store();
    each_command_is_the_first_after("idle", store, async || sleep(Duration::from_millis(2500)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_after_a_restart_succeeds() {
    let mut server = RedisServer::start();
    let url = server.url();
    each_command_is_the_first_after(
        "a restart",
        || Redis::new(&url).unwrap(),
        async || {
            server.kill();
            server.restart();
            server.wait();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_to_a_new_primary_is_followed_while_the_old_server_goes_on_answering() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    new.tell(&format!("REPLICAOF 127.0.0.1 {}", old.port()));
    eventually("replicated", async || new.ask("INFO replication").contains("master_link_status:up")).await;
    let name = Proxy::to(old.port()).await;
    let store = Redis::new(&name.url()).unwrap();
    each_command(&store, 1).await;
    let held = lease("held", 1);
    acquire(&store, &held).await.unwrap();
    eventually("replicated", async || new.ask("DBSIZE") == old.ask("DBSIZE")).await;
    sleep(Duration::from_millis(500)).await;

    new.tell("REPLICAOF NO ONE");
    old.tell(&format!("REPLICAOF 127.0.0.1 {}", new.port()));
    let begin = Instant::now();
    // The name follows later than the servers.
    assert!(store.put(key(2), b"content".to_vec(), MINUTE).await.is_err());
    name.lead_to(new.port());
    eventually("healed", async || store.put(key(3), b"content".to_vec(), MINUTE).await.is_ok()).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    each_command(&store, 4).await;
    assert_eq!(acquire(&store, &lease("held", 2)).await.unwrap(), Acquired::Full, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_that_says_it_is_no_primary_is_left_at_once() {
    let server = RedisServer::start();
    let lines = [
        "-READONLY You can't write against a read only replica.\r\n",
        "-READONLY You can't write against a read only replica. script: abc, on @user_script:1.\r\n",
        "-ERR Error running script (call to f_abc): @user_script:8: -READONLY You can't write against a replica\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-NOREPLICAS Not enough good replicas to write.\r\n",
        "-NOAUTH Authentication required.\r\n",
    ];
    let each = lines.into_iter().enumerate().map(async |(number, line)| {
        let name = Proxy::to(server.port()).await;
        let store = || Redis::new(&name.url()).unwrap().prefix(format!("case-{number}")).unwrap();
        each_command_is_the_first_after(line, store, async || {
            // One that was opened this moment may be all that there is.
            sleep(Duration::from_millis(600)).await;
            name.answer_on_open_ones(line);
        })
        .await;
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_read_only_is_not_connected_to_again_and_again() {
    let server = RedisServer::start();
    let name = Proxy::to(server.port()).await;
    let store = Redis::new(&name.url()).unwrap();
    server.tell("REPLICAOF 127.0.0.1 1");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        let error = store.put(key(1), vec![], MINUTE).await.unwrap_err().to_string();
        assert!(error.contains("READONLY"), "{error}");
    }
    assert!(name.accepted() <= 6, "{}", name.accepted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_for_three_seconds_causes_no_storm_of_connections() {
    let server = RedisServer::start();
    let name = Proxy::to(server.port()).await;
    let store = Redis::new(&name.url()).unwrap();
    each_command(&store, 1).await;
    server.stop();
    let asking: Vec<_> = (0..50)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_secs(3) {
                    let _ = store.put(key(number), vec![], MINUTE).await;
                }
            })
        })
        .collect();
    sleep(Duration::from_secs(3)).await;
    server.go_on();
    for one in asking {
        one.await.unwrap();
    }
    eventually("healed", async || store.put(key(1000), vec![], MINUTE).await.is_ok()).await;
    assert!(name.accepted() <= 10, "{} connections", name.accepted());
}

/// Of each server the numbers of tickets that it has.
fn numbers_of(cluster: &RedisCluster, most: usize) -> Vec<Vec<u32>> {
    let mut numbers = vec![Vec::new(); 3];
    for number in 0..600 {
        let answer = cluster.servers[1].ask(&format!("CLUSTER KEYSLOT axum-ws-auth:ticket:{}", key(number)));
        let slot: usize = answer.trim().trim_start_matches(':').parse().unwrap();
        let of_server = &mut numbers[slot / 5461 % 3];
        if of_server.len() < most {
            of_server.push(number);
        }
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_primary_of_three_takes_nothing_from_what_the_others_have() {
    for is_killed in [true, false] {
        let mut cluster = RedisCluster::start_with(["--cluster-require-full-coverage", "no"]);
        let numbers = numbers_of(&cluster, 20);
        let store = cluster.store();
        each_command(&store, 1).await;
        if is_killed {
            cluster.servers[0].kill();
        } else {
            cluster.servers[0].stop();
        }
        let lost = &numbers[0];
        let begin = Instant::now();
        for (turn, number) in numbers[1].iter().chain(&numbers[2]).enumerate() {
            // What the dead one has is asked for by others meanwhile, and in between.
            let one = store.clone();
            let gone = key(lost[turn % lost.len()]);
            let asking = tokio::spawn(async move { one.put(gone, vec![], MINUTE).await });
            let begin = Instant::now();
            let outcome = store.put(key(*number), vec![], MINUTE).await;
            outcome.unwrap_or_else(|error| panic!("killed: {is_killed}, turn {turn}: {error}"));
            assert!(begin.elapsed() < Duration::from_millis(900), "killed: {is_killed}: {:?}", begin.elapsed());
            if turn % 8 == 0 {
                assert!(asking.await.unwrap().is_err(), "killed: {is_killed}");
            }
        }
        println!("40 tickets in {:?}, killed: {is_killed}", begin.elapsed());
        // And what begins with the dead one gone finds the others.
        let late = cluster.store();
        late.put(key(numbers[1][0] + 10_000), vec![], MINUTE).await.map(drop).unwrap_or(());
        eventually("a new node finds the others", async || late.redeem(key(numbers[2][0])).await.is_ok()).await;
        if is_killed {
            cluster.servers[0].restart();
        } else {
            cluster.servers[0].go_on();
        }
        eventually("it is back", async || store.put(key(lost[1]), vec![], MINUTE).await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_to_another_server_of_the_cluster_are_found() {
    let cluster = RedisCluster::start();
    let store = cluster.store();
    each_command(&store, 1).await;
    let numbers = numbers_of(&cluster, 1);
    let (from, to) = (&cluster.servers[0], &cluster.servers[1]);
    let ids = [from, to].map(|server| {
        let answer = server.ask("CLUSTER MYID");
        answer.split("\r\n").nth(1).unwrap().to_owned()
    });
    let number = numbers[0][0];
    let answer = from.ask(&format!("CLUSTER KEYSLOT axum-ws-auth:ticket:{}", key(number)));
    let slot = answer.trim().trim_start_matches(':');
    // On its way: one that is not there any more is asked for at the other (`ASK`).
    to.tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]));
    from.tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]));
    store.put(key(number), b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key(number)).await.unwrap().unwrap(), b"content");
    // And there (`MOVED`).
    for server in [to, from, &cluster.servers[2]] {
        server.tell(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]));
    }
    store.put(key(number), b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key(number)).await.unwrap().unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_that_sentinels_name_is_followed() {
    let (mut primary, replica) = (RedisServer::start(), RedisServer::start());
    replica.tell(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    eventually("replicated", async || replica.ask("INFO replication").contains("master_link_status:up")).await;
    let sentinels: Vec<_> = (0..3).map(|_| SentinelServer::start(primary.port())).collect();
    for sentinel in &sentinels {
        eventually("all know each other", async || {
            let known = sentinel.ask("SENTINEL MASTER mymaster");
            known.contains("num-other-sentinels\r\n$1\r\n2") && known.contains("num-slaves\r\n$1\r\n1")
        })
        .await;
    }
    let store = Redis::sentinel(sentinels.iter().map(SentinelServer::url), "redis://mymaster").unwrap();
    each_command(&store, 1).await;
    let unknown = Redis::sentinel(sentinels.iter().map(SentinelServer::url), "redis://other").unwrap();
    let error = unknown.put(key(1), vec![], MINUTE).await.unwrap_err().to_string();
    assert!(error.contains("does not know `other`"), "{error}");

    primary.kill();
    assert!(store.put(key(2), vec![], MINUTE).await.is_err());
    eventually("the replica is promoted", async || store.put(key(3), vec![], MINUTE).await.is_ok()).await;
    each_command(&store, 4).await;
    assert!(replica.ask("INFO replication").contains("role:master"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_whose_lease_fails_takes_the_shared_limit_from_nobody_else() {
    let server = RedisServer::start();
    let nodes: Vec<Router> = (0..2)
        .map(|_| {
            let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap().across_nodes(server.store());
            let limits = limits.lease_lifetime(crate::LEASE).unwrap();
            let sessions = Sessions::with_limits(limits);
            Router::new().route("/", any(idle)).layer(WsAuthLayer::new(verifier).sessions(&sessions))
        })
        .collect();
    let alice = connected(&nodes[0], "alice.1").await;
    let keys = server.ask("KEYS axum-ws-auth:sessions:*");
    let of_alice = keys.split("\r\n").find(|line| line.starts_with("axum")).unwrap();
    server.tell(&format!("SET {of_alice} wrong"));
    for turn in 0..5 {
        // Alice is counted by each node for itself.
        assert_eq!(status(&nodes[1], "alice.2").await, 101);
        let socket = connected(&nodes[0], &format!("bob-{turn}.1")).await;
        assert_eq!(status(&nodes[1], &format!("bob-{turn}.2")).await, 429, "turn {turn}");
        drop(socket);
        // Renewals and releases of others go on meanwhile.
        eventually("his place is free", async || status(&nodes[1], &format!("bob-{turn}.3")).await == 101).await;
    }
    let _bob = connected(&nodes[0], "bob.1").await;
    sleep(crate::LEASE * 2).await;
    assert_eq!(status(&nodes[1], "bob.2").await, 429, "it was renewed");
    drop(alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn evictions_are_heard_again_when_the_primary_has_moved() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let name = Proxy::to(old.port()).await;
    let nodes: Vec<Router> = (0..2)
        .map(|_| {
            let store = Redis::new(&name.url()).unwrap();
            let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(store);
            let sessions = Sessions::with_limits(limits);
            Router::new().route("/", any(idle)).layer(WsAuthLayer::new(verifier).sessions(&sessions))
        })
        .collect();
    let _bob = (connected(&nodes[0], "bob.1").await, connected(&nodes[1], "carol.1").await);
    sleep(Duration::from_millis(600)).await;
    old.tell("REPLICAOF 127.0.0.1 1");
    name.lead_to(new.port());
    let mut first = connected(&nodes[0], "alice.1").await;
    // Less than until leases are renewed.
    sleep(Duration::from_secs(4)).await;
    let begin = Instant::now();
    let _second = connected(&nodes[1], "alice.2").await;
    assert_eq!(closed(&mut first).await, (1008, "too_many_sessions".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
