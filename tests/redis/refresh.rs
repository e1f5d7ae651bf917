//! Sessions that are refreshed by another node.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request, routing::any};
use axum_ws_auth::{
    Redis, Sessions, WsAuthLayer,
    test_util::{self, conformance, handshake},
};
use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    alive_tasks,
    node_process::NodeProcess,
    nodes::{eventually, named, verifier},
    redis::{RedisCluster, RedisServer},
    support::{ClientSocket, answer},
};

fn node(store: Redis) -> Router {
    let layer = WsAuthLayer::new(verifier).sessions(&Sessions::new().reachable_through(store));
    let refresh = layer.refresh_route().unwrap();
    Router::new().route("/", any(named)).layer(layer).route("/refresh/{session}", refresh)
}

/// Opens a socket. Returns the id of its session too.
async fn open(node: &Router, token: &str) -> (ClientSocket, String) {
    let handshake = handshake().bearer_subprotocol(token).build();
    let (mut socket, _) = test_util::connect(node.clone(), handshake).await.unwrap();
    let id = socket.next().await.unwrap().unwrap().into_text().unwrap().to_string();
    (socket, id)
}

async fn refresh(node: &Router, session: &str, token: &str) -> u16 {
    let request = Request::post(format!("/refresh/{session}")).header("authorization", format!("Bearer {token}"));
    answer(node, request.body(Body::empty()).unwrap()).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn bus_passes_its_conformance_test() {
    let (server, cluster) = (RedisServer::start(), RedisCluster::start());
    let clones = server.store();
    tokio::join!(
        conformance::bus(server.store(), server.store()),
        conformance::bus(clones.clone(), clones),
        conformance::bus(cluster.store(), cluster.store()),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn node_in_another_process_refreshes_a_session() {
    let mut server = RedisServer::start();
    let start = || NodeProcess::start("processes::serve_node", &server.url());
    let (mut one, other) = (start(), start());
    let mut socket = one.connect_named("alice.1").await.unwrap();
    let Some(Ok(Message::Text(id))) = socket.next().await else { panic!("the id of the session") };
    let path = format!("/refresh/{id}");

    let begin = Instant::now();
    let (status, body) = other.post(&path, "alice.2").await;
    println!("refreshed on another node after {:?}", begin.elapsed());
    assert_eq!((status.as_u16(), body.as_str()), (200, r#"{"expires_in":null}"#));
    assert_eq!(other.post(&path, "bob.2").await.0, 404);
    // The session has the new token and no longer the old one.
    assert_eq!(one.post("/logout", "alice.1").await.0, 204);
    assert_eq!(other.post(&path, "alice.3").await.0, 200);
    assert_eq!(other.post(&path, "alice.1").await.0, 401, "a revoked token");
    assert_eq!(other.post("/logout", "alice.3").await.0, 204);
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));

    // Its node is killed.
    let mut socket = one.connect_named("carol.7").await.unwrap();
    let Some(Ok(Message::Text(id))) = socket.next().await else { panic!("the id of the session") };
    assert_eq!(other.post(&format!("/refresh/{id}"), "carol.8").await.0, 200);
    one.kill();
    eventually("the session is gone", async || other.post(&format!("/refresh/{id}"), "carol.9").await.0 == 404).await;

    // Redis is killed.
    server.kill();
    let begin = Instant::now();
    assert_eq!(other.post(&format!("/refresh/{id}"), "carol.9").await.0, 503);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_reach_each_other_again_after_a_restart() {
    let mut server = RedisServer::start();
    let (one, other) = (node(server.store()), node(server.store()));
    let (_socket, id) = open(&one, "alice.1").await;
    assert_eq!(refresh(&other, &id, "alice.2").await, 200);
    server.kill();
    assert_eq!(refresh(&other, &id, "alice.3").await, 503);
    assert_eq!(refresh(&one, &id, "alice.3").await, 200, "the session's own node needs no bus");
    server.restart();
    let begin = Instant::now();
    let mut seen = Vec::new();
    eventually("another node refreshes it", async || {
        seen.push(refresh(&other, &id, "alice.4").await);
        // Attempts are limited.
        assert_ne!(seen.last(), Some(&404), "{seen:?}");
        seen.last() == Some(&200)
    })
    .await;
    println!("reachable {:?} after a restart: {seen:?}", begin.elapsed());
    drop((one, other, _socket));
    eventually("no task is left", async || alive_tasks() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_a_cluster_refresh_each_others_sessions() {
    let cluster = RedisCluster::start();
    let nodes: Vec<Router> = (0..4).map(|_| node(cluster.store())).collect();
    let (socket, id) = open(&nodes[0], "alice.1").await;
    for (node, token) in nodes.iter().zip(["alice.2", "alice.3", "alice.4", "alice.5"]) {
        assert_eq!(refresh(node, &id, token).await, 200);
    }
    let unknown = format!("{}ffffffffffffffff", &id[..16]);
    assert_eq!(refresh(&nodes[1], &unknown, "alice.6").await, 404);
    drop(socket);
    eventually("it has ended", async || refresh(&nodes[1], &id, "alice.6").await == 404).await;
    // A cluster does not know that nobody listens.
    assert_eq!(refresh(&nodes[1], "0123456789abcdef0000000000000001", "alice.6").await, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_no_token_of_a_refresh() {
    let server = RedisServer::start();
    let (one, other) = (node(server.store()), node(server.store()));
    let (_socket, id) = open(&one, "alice.1").await;
    assert_eq!(refresh(&other, &id, "alice.secret").await, 200);
    // Written behind it, so that everything before is there.
    server.run("SET marker written");
    eventually("the marker is written", async || holds(server.directory(), b"written")).await;
    assert!(!holds(server.directory(), b"secret"));
    assert!(server.query("DBSIZE").starts_with(":1\r"), "the marker");
}

/// Whether a file in this directory has these bytes.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        fs::read(path).unwrap_or_default().windows(bytes.len()).any(|window| window == bytes)
    })
}
