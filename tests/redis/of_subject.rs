//! The sessions of a subject, on several nodes.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    time::{Duration, Instant, SystemTime},
};

use axum_ws_auth::{
    AtLimit, Limits, ScopedId, SessionInfo, SessionKind, Sessions, WsAuthLayer,
    store::{Acquire, LimitStore, SessionLease, StoreErrorKind},
};
use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    node_process::{self, LEASE, NodeProcess},
    nodes::{eventually, node_behind, verifier},
    redis::{RedisCluster, RedisServer},
    support::connected,
};

const MINUTE: Duration = Duration::from_secs(60);

fn lease(number: u32, accepted: SystemTime) -> SessionLease {
    SessionLease::new(ScopedId::without_issuer("alice"), format!("{number:032x}").parse().unwrap(), accepted)
}

async fn acquire(store: &impl LimitStore, lease: &SessionLease) {
    let request = Acquire::new(lease, NonZeroUsize::MAX, AtLimit::RefuseNew, MINUTE);
    store.acquire(request).await.unwrap();
}

#[tokio::test]
#[ignore = "a node that the next test starts"]
async fn serve_node() {
    node_process::serve_limited(Limits::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_agree_on_the_devices_of_a_user_after_one_is_killed() {
    let server = RedisServer::start();
    let mut nodes: Vec<_> = (0..3).map(|_| NodeProcess::start("of_subject::serve_node", &server.url())).collect();
    let mut sockets = Vec::new();
    for number in 0..9 {
        sockets.push(nodes[number % 3].connect_from(&format!("device{number}"), "alice.1").await.unwrap());
    }
    let _other = nodes[0].connect_from("bobs", "bob.1").await.unwrap();
    let without = |gone: &[usize]| -> Vec<String> {
        (0..9).filter(|number| !gone.contains(number)).map(|number| format!("device{number}")).collect()
    };
    for node in &nodes {
        assert_eq!(node.devices("alice.2").await, without(&[]), "the same list, in order, on every node");
    }

    // One node ends a session of another. Bob cannot.
    assert_eq!(nodes[0].post("/devices/device4/sign-out", "bob.2").await.0, 404);
    assert_eq!(nodes[0].post("/devices/device4/sign-out", "alice.2").await.0, 204);
    let Some(Ok(Message::Close(Some(frame)))) = sockets[4].next().await else { panic!("a close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
    for node in &nodes {
        eventually("it is gone", async || node.devices("alice.2").await == without(&[4])).await;
    }

    // The sessions of a dead node are gone with their leases; the others stay, whose leases are renewed.
    nodes[2].kill();
    let begin = Instant::now();
    assert_eq!(nodes[0].devices("alice.2").await, without(&[4]), "nobody knows yet");
    let gone = [2, 4, 5, 8];
    for node in &nodes[..2] {
        eventually("the list is true again", async || node.devices("alice.2").await == without(&gone)).await;
    }
    println!("true again {:?} after a node was killed", begin.elapsed());
    assert!(begin.elapsed() < LEASE * 2, "{:?}", begin.elapsed());
    tokio::time::sleep(LEASE * 2).await;
    for node in &nodes[..2] {
        assert_eq!(node.devices("alice.2").await, without(&gone), "live sessions stay");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_sessions_of_a_subject_are_paged_while_others_come_and_go() {
    let server = RedisServer::start();
    let (store, begin) = (server.store(), SystemTime::now());
    let at = |number: u32| begin + Duration::from_millis(u64::from(number) / 3);
    // Details as long as they get.
    let details = |number: u32| format!("1\u{1d}stream\u{1d}1700000000000\u{1d}device\u{1f}{number:0500}\u{1e}");
    let leases: Vec<_> = (0..5000).map(|number| lease(number, at(number)).with_details(details(number))).collect();
    for leases in leases.chunks(250) {
        store.renew(leases, MINUTE).await.unwrap();
    }
    let sessions = Sessions::with_limits(Limits::new().across_nodes(server.store()));
    // Two hundred at a time come and go.
    let passing: Vec<_> = (5000..5400).map(|number| lease(number, at((number - 5000) * 12))).collect();

    for limit in [100, 1000] {
        server.run("SLOWLOG RESET");
        server.run("CONFIG SET slowlog-log-slower-than 5000");
        server.run("CONFIG RESETSTAT");
        let (mut seen, mut after, mut pages) = (BTreeSet::new(), None, 0);
        let begin = Instant::now();
        loop {
            let page = sessions.of_subject("alice").after(after).limit(limit).await.unwrap();
            assert!(page.sessions().is_sorted_by_key(SessionInfo::cursor));
            for info in &page {
                assert!(seen.insert(info.id()), "listed twice");
                assert!(info.meta().get("device").is_some() || passing.iter().any(|lease| lease.session == info.id()));
            }
            let (some, others) = passing.split_at(200);
            let (come, gone) = if pages % 2 == 0 { (some, others) } else { (others, some) };
            store.renew(come, MINUTE).await.unwrap();
            store.release(gone).await.unwrap();
            pages += 1;
            after = page.next();
            if after.is_none() {
                break;
            }
        }
        let stats = server.query("INFO commandstats");
        let slow = server.query("SLOWLOG LEN");
        println!("{pages} pages in {:?}, slower than 5 ms: {}", begin.elapsed(), slow.trim());
        stats
            .lines()
            .filter(|line| line.contains("zrange") || line.contains("evalsha"))
            .for_each(|line| println!("{line}"));
        assert!(leases.iter().all(|lease| seen.contains(&lease.session)), "complete");
    }
    let found = sessions.of_subject("alice").find(leases[4999].session).await.unwrap();
    assert_eq!(found.map(|info| (info.id(), info.kind())), Some((leases[4999].session, SessionKind::Stream)));
    assert!(sessions.of_subject("bob").find(leases[4999].session).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_without_known_details_is_listed_with_what_is_known() {
    let server = RedisServer::start();
    let store = server.store();
    let now = SystemTime::now();
    acquire(&store, &lease(1, now)).await;
    acquire(&store, &lease(2, now).with_details("2\u{1d}of a later version")).await;
    acquire(&store, &lease(3, now).with_details("1\u{1d}stream\u{1d}5000\u{1d}device\u{1f}phone\u{1e}")).await;
    // Text that is none.
    acquire(&store, &lease(4, now).with_details("x")).await;
    let keys = server.query("KEYS *:details:*");
    let key = keys.lines().find(|line| line.contains(":details:")).unwrap();
    let field = lease(4, now).cursor();
    assert!(server.query(&format!("HSET {key} {field} \"\\xff\\xfe\"")).starts_with(":0"), "it is replaced");
    let sessions = Sessions::with_limits(Limits::new().across_nodes(store));
    let page = sessions.of_subject("alice").await.unwrap();
    assert_eq!(page.sessions().len(), 4);
    for (info, number) in page.sessions().iter().zip(1..) {
        assert_eq!((info.id(), info.subject(), info.is_local()), (lease(number, now).session, Some("alice"), false));
        assert!(now.duration_since(info.connected_at()).unwrap() < Duration::from_millis(1));
        let expected = match number {
            3 => (SessionKind::Stream, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5)), Some("phone")),
            _ => (SessionKind::WebSocket, None, None),
        };
        assert_eq!((info.kind(), info.expires_at(), info.meta().get("device")), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_there_is_an_error_and_the_sessions_of_the_node_are_listed() {
    let mut server = RedisServer::start();
    let sessions = Sessions::with_limits(Limits::new().across_nodes(server.store()));
    let app = node_behind(WsAuthLayer::new(verifier).sessions(&sessions));
    let _before = connected(&app, "alice.1").await;
    server.kill();
    let begin = Instant::now();
    let error = sessions.of_subject("alice").await.unwrap_err();
    println!("an error after {:?}: {error}", begin.elapsed());
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let _during = connected(&app, "alice.2").await;
    let local: Vec<_> = sessions.iter().filter(|info| info.subject() == Some("alice")).collect();
    assert_eq!(local.len(), 2);
    for info in local {
        assert!(sessions.of_subject("alice").find(info.id()).await.unwrap().is_some());
    }
    server.restart();
    eventually("redis is back", async || {
        sessions.of_subject("alice").await.is_ok_and(|page| page.sessions().len() == 2)
    })
    .await;
    // The other nodes see both after the next renewal.
    let other = Sessions::with_limits(Limits::new().across_nodes(server.store()));
    eventually("the leases are there", async || {
        other.of_subject("alice").await.is_ok_and(|page| page.sessions().len() == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_means_the_subjects_of_all_issuers_in_a_cluster_too() {
    let cluster = RedisCluster::start();
    let (store, other) = (cluster.store(), cluster.store());
    let now = SystemTime::now();
    let mut expected = Vec::new();
    for number in 0..30 {
        let subject = ScopedId::of(format!("https://id.example.com/{number}"), "alice");
        let own = lease(number, now + Duration::from_millis(u64::from(number)));
        let lease = SessionLease::new(subject, own.session, own.accepted);
        acquire(&store, &lease).await;
        expected.push(lease.session);
    }
    let sessions = Sessions::with_limits(Limits::new().across_nodes(other));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = sessions.of_subject("alice").after(after).limit(7).await.unwrap();
        seen.extend(page.sessions().iter().map(SessionInfo::id));
        after = page.next();
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected, "in order, from all servers");

    // Redis has lost everything. The nodes renew their leases, and the issuers with them.
    cluster.servers.iter().for_each(|server| server.run("FLUSHALL"));
    assert!(sessions.of_subject("alice").await.unwrap().sessions().is_empty());
    let node = Sessions::with_limits(Limits::new().across_nodes(store).lease_lifetime(Duration::from_secs(3)).unwrap());
    let app = node_behind(WsAuthLayer::new(verifier).sessions(&node));
    let _socket = connected(&app, "alice.1").await;
    cluster.servers.iter().for_each(|server| server.run("FLUSHALL"));
    eventually("it is listed again", async || sessions.of_subject("alice").await.unwrap().sessions().len() == 1).await;
}
