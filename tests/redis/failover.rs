//! Servers that go down, move, or hang.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant, SystemTime},
};

use axum::Router;
use axum_ws_auth::{
    AtLimit, Limits, Redis, Revocation,
    store::{Acquire, Acquired, LimitStore, RevocationStore, SessionLease, StoreError, TicketKey, TicketStore},
};
use tokio::time::sleep;

use crate::{
    limited_node,
    node_process::LEASE,
    nodes::{eventually, status},
    proxy::Proxy,
    redis::{RedisCluster, RedisServer, SentinelServer},
    support::{closed, connected},
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

/// Runs each command once, on one shared connection.
async fn run_each_command(store: &Redis, number: u32) {
    let lease = lease(&format!("subject-{number}"), number);
    store.put(key(number), b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key(number)).await.unwrap().unwrap(), b"content");
    assert_eq!(acquire(store, &lease).await.unwrap(), Acquired::Taken { evicted: vec![] });
    assert!(store.renew(std::slice::from_ref(&lease), MINUTE).await.unwrap().is_empty());
    store.release(std::slice::from_ref(&lease)).await.unwrap();
    store.add(&Revocation::Token(number.to_string().into()), MINUTE).await.unwrap();
}

/// Runs each command as the first one after something happened to its connection.
async fn run_each_command_first_after(what: &str, store: impl Fn() -> Redis, happens: impl AsyncFnOnce()) {
    let stores: Vec<Redis> = (0..6).map(|_| store()).collect();
    for store in &stores {
        assert_eq!(store.redeem(key(99)).await.unwrap(), None, "{what}");
    }
    happens().await;
    let leases = [lease("alice", 7)];
    let print = |command| move |error: &StoreError| println!("{command} after {what}: {error}");
    stores[0].put(key(1), b"content".to_vec(), MINUTE).await.inspect_err(print("put")).unwrap();
    let redeemed = stores[1].redeem(key(1)).await.inspect_err(print("redeem")).unwrap();
    assert_eq!(redeemed.unwrap(), b"content", "{what}");
    let acquired = acquire(&stores[2], &leases[0]).await.inspect_err(print("acquire")).unwrap();
    assert_eq!(acquired, Acquired::Taken { evicted: vec![] }, "{what}");
    stores[3].renew(&leases, MINUTE).await.inspect_err(print("renew")).unwrap();
    stores[4].release(&leases).await.inspect_err(print("release")).unwrap();
    let revoked = stores[5].add(&Revocation::Token("1".into()), MINUTE).await;
    revoked.inspect_err(print("revoke")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_on_a_connection_that_broke_while_idle_succeeds() {
    let server = RedisServer::start();
    run_each_command_first_after(
        "the connection was closed",
        || server.store(),
        async || {
            server.query("CLIENT KILL TYPE normal");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_after_the_idle_timeout_of_the_server_succeeds() {
    let server = RedisServer::start_with(["--timeout", "1"]);
    let store = || server.store();
    run_each_command_first_after("idle", store, async || sleep(Duration::from_millis(2500)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_after_a_restart_succeeds() {
    let mut server = RedisServer::start();
    let url = server.url();
    run_each_command_first_after(
        "a restart",
        || Redis::new(&url).unwrap(),
        async || {
            server.kill();
            server.restart();
            server.wait_until_ready();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_that_moves_to_a_new_primary_is_resolved_again() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    new.run(&format!("REPLICAOF 127.0.0.1 {}", old.port()));
    eventually("replicated", async || new.query("INFO replication").contains("master_link_status:up")).await;
    let proxy = Proxy::to(old.port()).await;
    let store = Redis::new(&proxy.url()).unwrap();
    run_each_command(&store, 1).await;
    let held = lease("held", 1);
    acquire(&store, &held).await.unwrap();
    eventually("replicated", async || new.query("DBSIZE") == old.query("DBSIZE")).await;
    sleep(Duration::from_millis(500)).await;

    new.run("REPLICAOF NO ONE");
    old.run(&format!("REPLICAOF 127.0.0.1 {}", new.port()));
    let begin = Instant::now();
    // The servers change before the host name does.
    assert!(store.put(key(2), b"content".to_vec(), MINUTE).await.is_err());
    proxy.set_target(new.port());
    eventually("the new primary is used", async || store.put(key(3), b"content".to_vec(), MINUTE).await.is_ok()).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    run_each_command(&store, 4).await;
    assert_eq!(acquire(&store, &lease("held", 2)).await.unwrap(), Acquired::Full, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_server_that_is_no_longer_primary_is_replaced() {
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
        let proxy = Proxy::to(server.port()).await;
        let store = || Redis::new(&proxy.url()).unwrap().prefix(format!("case-{number}")).unwrap();
        run_each_command_first_after(line, store, async || {
            // A younger connection is not replaced.
            sleep(Duration::from_millis(600)).await;
            proxy.override_answers(line);
        })
        .await;
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_not_reconnected_to_repeatedly() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let store = Redis::new(&proxy.url()).unwrap();
    server.run("REPLICAOF 127.0.0.1 1");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        let error = store.put(key(1), vec![], MINUTE).await.unwrap_err().to_string();
        assert!(error.contains("READONLY"), "{error}");
    }
    assert!(proxy.accepted() <= 6, "{}", proxy.accepted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_causes_few_connections() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let store = Redis::new(&proxy.url()).unwrap();
    run_each_command(&store, 1).await;
    server.suspend();
    let callers: Vec<_> = (0..50)
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
    server.resume();
    for caller in callers {
        caller.await.unwrap();
    }
    eventually("the new primary is used", async || store.put(key(1000), vec![], MINUTE).await.is_ok()).await;
    assert!(proxy.accepted() <= 10, "{} connections", proxy.accepted());
}

/// A command that is given up on stays in the buffers of the network or of a server that is suspended. It ran after the
/// release on another connection, and put the lease back: the user had one session less for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_command_does_not_undo_a_release() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let store = Redis::new(&proxy.url()).unwrap().timeout(Duration::from_millis(300)).unwrap();
    let (taken, renewed) = (lease("alice", 1), lease("bob", 2));
    assert_eq!(acquire(&store, &renewed).await.unwrap(), Acquired::Taken { evicted: vec![] });
    proxy.hold();
    let (late_acquire, late_renew) =
        futures_util::join!(acquire(&store, &taken), store.renew(std::slice::from_ref(&renewed), MINUTE));
    assert!(late_acquire.is_err() && late_renew.is_err());
    eventually("released", async || store.release(&[taken.clone(), renewed.clone()]).await.is_ok()).await;
    let commands =
        || server.query("INFO commandstats").lines().filter(|line| line.contains("eval")).collect::<String>();
    let before = commands();
    proxy.pass_on();
    eventually("the late commands run", async || commands() != before).await;
    sleep(Duration::from_millis(200)).await;
    for (number, subject) in [(3, "alice"), (4, "bob")] {
        assert_eq!(acquire(&store, &lease(subject, number)).await.unwrap(), Acquired::Taken { evicted: vec![] });
    }
}

/// For each server, the numbers of up to `count` tickets whose slots it has.
fn numbers_by_server(cluster: &RedisCluster, count: usize) -> Vec<Vec<u32>> {
    let mut numbers = vec![Vec::new(); 3];
    for number in 0..600 {
        let answer = cluster.servers[1].query(&format!("CLUSTER KEYSLOT axum-ws-auth:ticket:{}", key(number)));
        let slot: usize = answer.trim().trim_start_matches(':').parse().unwrap();
        let of_server = &mut numbers[slot / 5461 % 3];
        if of_server.len() < count {
            of_server.push(number);
        }
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_primary_of_a_cluster_does_not_affect_the_others() {
    for is_killed in [true, false] {
        let mut cluster = RedisCluster::start_with(["--cluster-require-full-coverage", "no"]);
        let numbers = numbers_by_server(&cluster, 20);
        let store = cluster.store();
        run_each_command(&store, 1).await;
        if is_killed {
            cluster.servers[0].kill();
        } else {
            cluster.servers[0].suspend();
        }
        let lost = &numbers[0];
        let begin = Instant::now();
        for (turn, number) in numbers[1].iter().chain(&numbers[2]).enumerate() {
            // Meanwhile, other tasks use the slots of the dead server.
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
        // A store that is created now finds the other servers.
        let late = cluster.store();
        late.put(key(numbers[1][0] + 10_000), vec![], MINUTE).await.map(drop).unwrap_or(());
        eventually("a new store finds the other servers", async || late.redeem(key(numbers[2][0])).await.is_ok()).await;
        if is_killed {
            cluster.servers[0].restart();
        } else {
            cluster.servers[0].resume();
        }
        eventually("the server is used again", async || store.put(key(lost[1]), vec![], MINUTE).await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_are_found() {
    let cluster = RedisCluster::start();
    let store = cluster.store();
    run_each_command(&store, 1).await;
    let numbers = numbers_by_server(&cluster, 1);
    let (from, to) = (&cluster.servers[0], &cluster.servers[1]);
    let ids = [from, to].map(|server| {
        let answer = server.query("CLUSTER MYID");
        answer.split("\r\n").nth(1).unwrap().to_owned()
    });
    let number = numbers[0][0];
    let answer = from.query(&format!("CLUSTER KEYSLOT axum-ws-auth:ticket:{}", key(number)));
    let slot = answer.trim().trim_start_matches(':');
    // While the slot moves, the old server redirects missing keys to the new one (`ASK`).
    to.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]));
    from.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]));
    store.put(key(number), b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key(number)).await.unwrap().unwrap(), b"content");
    // The slot has moved (`MOVED`).
    for server in [to, from, &cluster.servers[2]] {
        server.run(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]));
    }
    store.put(key(number), b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key(number)).await.unwrap().unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_named_by_sentinels_is_used() {
    let (mut primary, replica) = (RedisServer::start(), RedisServer::start());
    replica.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    eventually("replicated", async || replica.query("INFO replication").contains("master_link_status:up")).await;
    let sentinels: Vec<_> = (0..3).map(|_| SentinelServer::start(primary.port())).collect();
    for sentinel in &sentinels {
        eventually("the sentinels know each other", async || {
            let known = sentinel.query("SENTINEL MASTER mymaster");
            known.contains("num-other-sentinels\r\n$1\r\n2") && known.contains("num-slaves\r\n$1\r\n1")
        })
        .await;
    }
    let store = Redis::sentinel(sentinels.iter().map(SentinelServer::url), "redis://mymaster").unwrap();
    run_each_command(&store, 1).await;
    let unknown = Redis::sentinel(sentinels.iter().map(SentinelServer::url), "redis://other").unwrap();
    let error = unknown.put(key(1), vec![], MINUTE).await.unwrap_err().to_string();
    assert!(error.contains("does not know `other`"), "{error}");

    primary.kill();
    assert!(store.put(key(2), vec![], MINUTE).await.is_err());
    eventually("the replica is promoted", async || store.put(key(3), vec![], MINUTE).await.is_ok()).await;
    run_each_command(&store, 4).await;
    assert!(replica.query("INFO replication").contains("role:master"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_lease_affects_no_other_subject() {
    let server = RedisServer::start();
    let nodes: Vec<Router> = (0..2)
        .map(|_| {
            let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap().across_nodes(server.store());
            limited_node(limits.lease_lifetime(LEASE).unwrap())
        })
        .collect();
    let alice = connected(&nodes[0], "alice.1").await;
    let keys = server.query("KEYS axum-ws-auth:sessions:*");
    let of_alice = keys.split("\r\n").find(|line| line.starts_with("axum")).unwrap();
    server.run(&format!("SET {of_alice} wrong"));
    for turn in 0..5 {
        // Each node counts alice alone.
        assert_eq!(status(&nodes[1], "alice.2").await, 101);
        let socket = connected(&nodes[0], &format!("bob-{turn}.1")).await;
        assert_eq!(status(&nodes[1], &format!("bob-{turn}.2")).await, 429, "turn {turn}");
        drop(socket);
        // Leases of other subjects are still released and renewed.
        eventually("the lease is released", async || status(&nodes[1], &format!("bob-{turn}.3")).await == 101).await;
    }
    let _bob = connected(&nodes[0], "bob.1").await;
    sleep(LEASE * 2).await;
    assert_eq!(status(&nodes[1], "bob.2").await, 429, "the lease is renewed");
    drop(alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn evictions_are_received_after_the_primary_has_moved() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::to(old.port()).await;
    let nodes: Vec<Router> = (0..2)
        .map(|_| {
            let store = Redis::new(&proxy.url()).unwrap();
            let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(store);
            limited_node(limits)
        })
        .collect();
    let _bob = (connected(&nodes[0], "bob.1").await, connected(&nodes[1], "carol.1").await);
    sleep(Duration::from_millis(600)).await;
    old.run("REPLICAOF 127.0.0.1 1");
    proxy.set_target(new.port());
    let mut first = connected(&nodes[0], "alice.1").await;
    // Before leases are renewed.
    sleep(Duration::from_secs(4)).await;
    let begin = Instant::now();
    let _second = connected(&nodes[1], "alice.2").await;
    assert_eq!(closed(&mut first).await, (1008, "too_many_sessions".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
