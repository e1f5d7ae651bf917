//! Two nodes in one process, over a bus in memory.

use std::{
    future::pending,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use axum_ws_auth::{
    store::{Delivery, NodeBus, NodeId, NodeInbox, StoreError},
    test_util::MemoryBus,
};
use serde_json::json;
use tokio::sync::Notify;
use tracing::Level;

use super::*;
use crate::support::{
    closed,
    log::{Log, captured},
};

fn node_on(bus: impl NodeBus) -> Node {
    Node::with_sessions(
        WsAuthLayer::new(timed).refresh_limit(2, Duration::from_secs(60)),
        Sessions::new().reachable_through(bus),
    )
}

/// A bus that can fail, records what it carries, and can be made to lose it.
#[derive(Clone, Default)]
struct TestBus(Arc<State>);

#[derive(Default)]
struct State {
    bus: MemoryBus,
    fails: AtomicBool,
    /// Takes a second until it listens.
    is_slow: AtomicBool,
    loses: AtomicBool,
    sent: Mutex<Vec<Vec<u8>>>,
    listening: AtomicUsize,
    /// Inboxes receive nothing more.
    broken: Notify,
}

struct TestInbox<I>(I, Arc<State>);

impl NodeBus for TestBus {
    async fn listen(&self, node: NodeId) -> Result<impl NodeInbox, StoreError> {
        if self.0.fails.load(SeqCst) {
            return Err(StoreError::unavailable().with_source("the bus is down"));
        }
        if self.0.is_slow.load(SeqCst) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.0.listening.fetch_add(1, SeqCst);
        Ok(TestInbox(self.0.bus.listen(node).await?, Arc::clone(&self.0)))
    }

    async fn send(&self, to: NodeId, message: Vec<u8>) -> Result<Delivery, StoreError> {
        self.0.sent.lock().unwrap().push(message.clone());
        if self.0.fails.load(SeqCst) {
            return Err(StoreError::unavailable().with_source("the bus is down"));
        }
        if self.0.loses.load(SeqCst) {
            return Ok(Delivery::Sent);
        }
        self.0.bus.send(to, message).await
    }
}

impl<I: NodeInbox> NodeInbox for TestInbox<I> {
    async fn receive(&mut self) -> Result<Vec<u8>, StoreError> {
        tokio::select! {
            received = self.0.receive() => received,
            () = self.1.broken.notified() => Err(StoreError::unavailable()),
        }
    }
}

impl<I> Drop for TestInbox<I> {
    fn drop(&mut self) {
        self.1.listening.fetch_sub(1, SeqCst);
    }
}

#[tokio::test]
async fn bus_in_memory_conforms() {
    let bus = MemoryBus::default();
    test_util::conformance::bus(bus.clone(), bus).await;
}

#[tokio::test(start_paused = true)]
async fn any_node_refreshes_a_session() {
    let bus = MemoryBus::default();
    let (one, other) = (node_on(bus.clone()), node_on(bus));
    let (mut socket, session) = one.open("alice.60").await;

    assert_eq!(other.refresh(session.id(), "alice.3600").await.expires_in(), 3599);
    assert_eq!(*session.claims(), "alice.3600");
    // All rules are those of the session's own node.
    assert_eq!(other.refresh(session.id(), "bad").await.error(), (401, "invalid_token"));
    assert_eq!(other.refresh(session.id(), "bob.3600").await.error(), (404, "unknown_session"));
    assert_eq!(other.refresh(session.id(), "nobody").await.error(), (404, "unknown_session"));
    assert_eq!(other.refresh(session.id(), "alice").await.body, json!({ "expires_in": null }));
    let answer = other.refresh(session.id(), "alice.7200").await;
    assert_eq!((answer.error(), answer.retry_after.as_deref()), ((429, "too_many_attempts"), Some("60")));
    let never: SessionId = format!("{}ffffffffffffffff", &session.id().to_string()[..16]).parse().unwrap();
    assert_eq!(other.refresh(never, "alice.7200").await.error(), (404, "unknown_session"));

    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(other.refresh(session.id(), "alice.30").await.expires_in(), 29);
    assert_eq!(closed(&mut socket).await.1, "token_expired");
    assert_eq!(other.refresh(session.id(), "alice.3600").await.error(), (404, "unknown_session"));
}

#[tokio::test(start_paused = true)]
async fn nodes_without_a_bus_know_their_own_sessions_only() {
    let (one, other) = (Node::new(), Node::new());
    let (_socket, session) = one.open("alice.60").await;
    assert_eq!(other.refresh(session.id(), "alice.3600").await.error(), (404, "unknown_session"));
    assert_eq!(one.refresh(session.id(), "alice.3600").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn invalid_token_is_not_passed_on() {
    let bus = TestBus::default();
    let (one, other) = (node_on(bus.clone()), node_on(bus.clone()));
    let (_socket, session) = one.open("alice.60").await;
    assert_eq!(other.refresh(session.id(), "bad").await.status, 401);
    assert_eq!(other.post(&format!("/refresh/{}", session.id()), &[]).await.status, 401);
    assert!(bus.0.sent.lock().unwrap().is_empty());
    assert_eq!(other.refresh(session.id(), "alice.3600").await.status, 200);
    assert_eq!(bus.0.sent.lock().unwrap().len(), 2, "a request and an answer");
    // The session's own node asks nobody.
    assert_eq!(one.refresh(session.id(), "alice.3600").await.status, 200);
    assert_eq!(bus.0.sent.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn node_that_is_gone_has_no_sessions() {
    let bus = MemoryBus::default();
    let (one, other) = (node_on(bus.clone()), node_on(bus));
    let (socket, session) = one.open("alice.60").await;
    let id = session.id();
    drop((socket, session, one));
    settle().await;
    assert_eq!(other.refresh(id, "alice.3600").await.error(), (404, "unknown_session"));
}

#[tokio::test(start_paused = true)]
async fn node_that_is_about_to_listen_is_waited_for() {
    let bus = MemoryBus::default();
    let other = node_on(bus.clone());
    let one = Node::new();
    let (_socket, session) = one.open("alice.60").await;
    let refresh = async { other.refresh(session.id(), "alice.3600").await };
    let listen = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        one.sessions.clone().reachable_through(bus)
    };
    let (answer, _) = tokio::join!(refresh, listen);
    assert_eq!(answer.status, 200);
}

#[tokio::test(start_paused = true)]
async fn bus_that_fails_is_unavailable_and_recovers() {
    let bus = TestBus::default();
    let (one, other) = (node_on(bus.clone()), node_on(bus.clone()));
    let (_socket, session) = one.open("alice.60").await;
    settle().await;
    bus.0.fails.store(true, SeqCst);
    let (answer, log) = captured(Level::WARN, other.refresh(session.id(), "alice.3600.secret")).await;
    assert_eq!((answer.error(), answer.retry_after.as_deref()), ((503, "unavailable"), Some("2")));
    if cfg!(feature = "tracing") {
        assert!(log.contains("node bus unavailable") && log.contains("the bus is down"), "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
    assert_eq!(other.refresh(session.id(), "bad").await.status, 401, "that is known without the bus");

    bus.0.fails.store(false, SeqCst);
    bus.0.loses.store(true, SeqCst);
    let begin = tokio::time::Instant::now();
    assert_eq!(other.refresh(session.id(), "alice.3600").await.error(), (503, "unavailable"));
    assert!(begin.elapsed() >= Duration::from_secs(2) && begin.elapsed() < Duration::from_millis(2100));
    bus.0.loses.store(false, SeqCst);
    assert_eq!(other.refresh(session.id(), "alice.3600").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_event_says_once_that_the_bus_is_gone() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let bus = TestBus::default();
    let log = Log::default();
    let _capture = log.capture(Level::WARN);
    let _node = node_on(bus.clone());
    for outages in 1..=2 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(bus.0.listening.load(SeqCst), 1);
        bus.0.fails.store(true, SeqCst);
        bus.0.broken.notify_waiters();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(log.text().matches("node bus unavailable").count(), outages, "{}", log.text());
        bus.0.fails.store(false, SeqCst);
    }
}

/// Whoever has a valid token can ask for sessions of other nodes.
#[tokio::test(start_paused = true)]
async fn flood_while_the_bus_is_gone_is_a_handful_of_log_events() {
    let bus = TestBus::default();
    let (one, other) = (node_on(bus.clone()), node_on(bus.clone()));
    let (_socket, session) = one.open("alice.60").await;
    assert_eq!(other.refresh(session.id(), "bob").await.status, 404);
    bus.0.fails.store(true, SeqCst);
    let log = Log::default();
    let _capture = log.capture(Level::WARN);
    for _ in 0..25 {
        assert_eq!(other.refresh(session.id(), "bob").await.status, 503);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    if cfg!(feature = "tracing") {
        let log = log.text();
        assert_eq!(log.matches("node bus unavailable").count(), 10, "{log}");
        assert!(log.ends_with("node bus still unavailable suppressed=15\n"), "{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn node_that_cannot_listen_keeps_trying() {
    let bus = TestBus::default();
    bus.0.fails.store(true, SeqCst);
    let (one, other) = (node_on(bus.clone()), node_on(bus.clone()));
    let (_socket, session) = one.open("alice.60").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(other.refresh(session.id(), "alice.3600").await.error(), (503, "unavailable"));
    bus.0.fails.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(other.refresh(session.id(), "alice.3600").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn node_asks_only_once_it_would_receive_the_answer() {
    let bus = MemoryBus::default();
    let slow = TestBus(Arc::new(State { bus: bus.clone(), is_slow: AtomicBool::new(true), ..State::default() }));
    let (one, other) = (node_on(bus), node_on(slow));
    let (_socket, session) = one.open("alice.60").await;
    assert_eq!(other.refresh(session.id(), "alice.3600").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn task_ends_with_the_registry() {
    let bus = TestBus::default();
    let one = node_on(bus.clone());
    let sessions = one.sessions.clone();
    settle().await;
    assert_eq!(bus.0.listening.load(SeqCst), 1);
    // Another bus replaces the first.
    let next = TestBus::default();
    let sessions = sessions.reachable_through(next.clone());
    settle().await;
    assert_eq!((bus.0.listening.load(SeqCst), next.0.listening.load(SeqCst)), (0, 1));
    drop((one, sessions));
    settle().await;
    assert_eq!(next.0.listening.load(SeqCst), 0);
}

#[test]
fn registry_from_outside_a_runtime_listens_from_the_first_handshake_on() {
    let bus = MemoryBus::default();
    let (one, other) = (node_on(bus.clone()), node_on(bus));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (_socket, session) = one.open("alice.60").await;
        assert_eq!(other.refresh(session.id(), "alice.3600").await.status, 200);
    });
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_none_are_ignored() {
    let bus = TestBus::default();
    let (one, other) = (node_on(bus.clone()), node_on(bus.clone()));
    let (_socket, session) = one.open("alice.60").await;
    assert_eq!(other.refresh(session.id(), "alice.3600").await.status, 200);
    let (request, reply) = {
        let sent = bus.0.sent.lock().unwrap();
        let read = |message: &[u8]| serde_json::from_slice::<Value>(message).unwrap();
        (read(&sent[0]), read(&sent[1]))
    };
    let node: NodeId = session.id().to_string()[..16].parse().unwrap();
    let mut messages = vec![Vec::new(), b"\xff\xfe".to_vec(), b"{}".to_vec(), vec![b'['; 1 << 20], vec![b' '; 1 << 20]];
    for message in [&request, &reply] {
        for (field, value) in [
            ("version", json!(2)),
            ("version", json!("1")),
            ("type", json!("other")),
            ("number", json!(-1)),
            ("session", json!("0123")),
            ("from", json!("é")),
            ("token", json!(7)),
            ("sender", json!({ "id": "alice", "more": 1 })),
            ("reply", json!("other")),
        ] {
            let mut changed = message.clone();
            let Some(own) = changed.get_mut(field) else { continue };
            *own = value;
            messages.push(changed.to_string().into_bytes());
        }
    }
    for message in messages {
        let _ = bus.0.bus.send(node, message).await;
    }
    // An answer that nobody waits for, and a request that claims to be of the session's subject.
    let _ = bus.0.bus.send(node, reply.to_string().into_bytes()).await;
    let mut forged = request;
    forged["token"] = json!("bob.3600");
    forged["sender"] = json!({ "id": "alice", "issuer": "unnamed" });
    let _ = bus.0.bus.send(node, forged.to_string().into_bytes()).await;
    settle().await;
    assert_eq!(*session.claims(), "alice.3600");
    assert_eq!(
        other.refresh(session.id(), "alice.7200").await.status,
        200,
        "it still listens, and no attempt was counted"
    );
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_at_a_time_get_no_answer() {
    struct Never;
    impl Verifier for Never {
        type Claims = String;
        async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
            if input.token.expose() == "alice.3600" && input.parts.method == http::Method::GET {
                pending::<()>().await;
            }
            timed(input).await
        }
    }
    let bus = MemoryBus::default();
    let node = |bus| Arc::new(Node::with_sessions(WsAuthLayer::new(Never), Sessions::new().reachable_through(bus)));
    let (one, other) = (node(bus.clone()), node(bus));
    let (_socket, session) = one.open("alice.60").await;
    let requests: Vec<_> = (0..256)
        .map(|_| {
            let (other, id) = (Arc::clone(&other), session.id());
            tokio::spawn(async move { other.refresh(id, "alice.3600").await })
        })
        .collect();
    settle().await;
    assert_eq!(other.refresh(session.id(), "alice.7200").await.error(), (503, "unavailable"));
    for request in requests {
        assert_eq!(request.await.unwrap().error(), (503, "unavailable"));
    }
    assert_eq!(other.refresh(session.id(), "alice.7200").await.status, 200);
}
