//! Nodes in separate processes.

use std::time::Instant;

use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    node_process::{self, LEASE, NodeProcess},
    nodes::eventually,
    redis::RedisServer,
};

#[tokio::test]
#[ignore = "a node that the next test starts"]
async fn serve_node() {
    node_process::serve().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_in_separate_processes_act_as_one() {
    let server = RedisServer::start();
    let start = || NodeProcess::start("processes::serve_node", &server.url());
    let (mut one, other) = (start(), start());

    // A log-out on one node closes the socket on the other.
    let mut socket = other.connect("alice.1").await.unwrap();
    assert_eq!(one.post("/logout", "alice.1").await.0, 204);
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
    assert_eq!(other.connect("alice.1").await.err(), Some(401));

    // A ticket from one node is valid on the other, once.
    let (issued, body) = one.post("/ticket", "bob.2").await;
    assert_eq!(issued, 200);
    let ticket: Value = serde_json::from_str(&body).unwrap();
    let ticket = ticket["ticket"].as_str().unwrap();
    let socket = other.connect_with_ticket(ticket).await.unwrap();
    for node in [&one, &other] {
        assert_eq!(node.connect_with_ticket(ticket).await.err(), Some(401));
    }
    assert_eq!(one.connect("bob.2").await.err(), Some(429), "bob has a session on the other node");
    drop(socket);
    eventually("bob's lease is released", async || one.connect("bob.2").await.is_ok()).await;

    // The leases of a dead node expire.
    let _socket = one.connect("carol.3").await.unwrap();
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(other.connect("carol.3").await.err(), Some(429), "the lease is renewed");
    one.kill();
    let begin = Instant::now();
    assert_eq!(other.connect("carol.3").await.err(), Some(429));
    eventually("carol's lease expires", async || other.connect("carol.3").await.is_ok()).await;
    println!("expired {:?} after its node was killed", begin.elapsed());
    assert!(begin.elapsed() > LEASE / 3 && begin.elapsed() < LEASE * 2, "{:?}", begin.elapsed());
    other.shut_down();
}
