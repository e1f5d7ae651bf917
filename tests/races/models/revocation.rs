//! A node's set of revocations against registration, and against tokens that are replaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum_ws_auth::{MemoryRevocations, Revocation, RevocationOptions, Revocations, Sessions, Token};
use http::StatusCode;
use shuttle::{
    future::block_on,
    thread::{self, JoinHandle},
};

use crate::support::{Connection, Node, Tasks, any, check, start};

/// All of them mean the token [`OLD`], and none means [`NEW`].
fn orders() -> [Revocation; 3] {
    let until = start() - Duration::from_secs(1800);
    [
        Revocation::Token("t1".into()),
        Revocation::Subject { subject: "alice".into(), until },
        Revocation::IssuedUntil(until),
    ]
}

const OLD: &str = "alice.t1.60.3600";
const NEW: &str = "alice.t2.60.0";

/// A node that is up to date with its store.
fn node(tasks: &Tasks, store: &Arc<MemoryRevocations>) -> (Node, Revocations) {
    let revocations = Revocations::new(Arc::clone(store));
    let node = Node::new(&Sessions::new(), Some(&revocations));
    tasks.settle();
    assert!(revocations.status().is_current);
    (node, revocations)
}

/// Two revoke the same at once, for example a log-out notice that is delivered twice: both may rely on it.
#[test]
fn no_session_is_open_when_a_revocation_returns() {
    check(|tasks| {
        let (node, revocations) = node(tasks, &Arc::default());
        let earlier = node.connect(OLD).unwrap();
        let order = any(&orders());
        let is_revoked = Arc::new(AtomicBool::new(false));
        let handshake = thread::spawn({
            let (node, is_revoked) = (node.clone(), Arc::clone(&is_revoked));
            move || {
                let was_revoked = is_revoked.load(Ordering::SeqCst);
                let connection = node.connect(OLD);
                assert!(!was_revoked || connection.is_err(), "admitted after the revocation");
                connection
            }
        });
        let revoked = [(); 2].map(|()| {
            let (node, order, revocations) = (node.clone(), order.clone(), revocations.clone());
            let is_revoked = Arc::clone(&is_revoked);
            thread::spawn(move || {
                block_on(revocations.revoke(order)).unwrap();
                is_revoked.store(true, Ordering::SeqCst);
                assert_eq!(node.open().len(), 0, "open after the revocation");
            })
        });
        let running = tasks.run();

        let later = handshake.join().unwrap();
        revoked.into_iter().for_each(|revoked| revoked.join().unwrap());
        running.join().unwrap();
        assert_eq!(node.open().len(), 0);
        drop((earlier, later));
        node.assert_idle();
    });
}

/// The token of a session is replaced by one that is being revoked: the refresh is refused, or the session ends.
#[test]
fn no_session_goes_on_with_a_revoked_token() {
    check(|tasks| {
        let (node, revocations) = node(tasks, &Arc::default());
        let Connection { session, body } = node.connect(NEW).unwrap();
        let refresh = thread::spawn({
            let session = session.clone();
            move || block_on(session.refresh(Token::new(OLD)))
        });
        let order = any(&orders());
        let revoke = thread::spawn(move || block_on(revocations.revoke(order)).unwrap());
        let running = tasks.run();

        let refreshed = refresh.join().unwrap().is_ok();
        revoke.join().unwrap();
        running.join().unwrap();
        assert!(!refreshed || session.end_reason().is_some(), "goes on with a revoked token");
        drop((session, body));
        node.assert_idle();
    });
}

/// Another node revokes.
#[test]
fn no_order_of_another_node_is_lost() {
    check(|tasks| {
        let store = Arc::new(MemoryRevocations::new());
        let (node, _revocations) = node(tasks, &store);
        let earlier = node.connect(OLD).unwrap();
        let (handshake, revoke) = race(&node, &Revocations::new(store));
        let running = tasks.run();

        let later = handshake.join().unwrap();
        revoke.join().unwrap();
        running.join().unwrap();
        tasks.settle();
        assert_eq!(node.open().len(), 0, "the order was lost");
        drop((earlier, later));
        node.assert_idle();
    });
}

/// The runtime of the task that follows the store ends at any step. The next task knows what that one has recorded.
#[test]
fn no_order_is_lost_with_the_task_that_follows_the_store() {
    check(|tasks| {
        let store = Arc::new(MemoryRevocations::new());
        let aborted = Tasks::new();
        let (node, revocations) = aborted.within(|| node(&aborted, &store));
        let earlier = node.connect(OLD).unwrap();
        let (handshake, revoke) = race(&node, &Revocations::new(store));
        let abort = thread::spawn(move || {
            for _ in 0..any(&[0, 1, 2, 3]) {
                aborted.turn();
                thread::yield_now();
            }
        });

        let later = handshake.join().unwrap();
        revoke.join().unwrap();
        abort.join().unwrap();
        // Another one starts when the store has been silent for too long.
        tasks.pass(Duration::from_secs(11));
        let _ = revocations.status();
        tasks.settle();
        assert_eq!(node.open().len(), 0, "the order was lost");
        drop((earlier, later));
        node.assert_idle();
    });
}

/// A handshake, while another node revokes its token as the first of two, so that its order may be recorded and not
/// carried out when the task stops.
fn race(node: &Node, other: &Revocations) -> (JoinHandle<Result<Connection, StatusCode>>, JoinHandle<()>) {
    let (node, other, order) = (node.clone(), other.clone(), any(&orders()));
    let handshake = thread::spawn(move || node.connect(OLD));
    let revoke = thread::spawn(move || {
        block_on(other.revoke(order)).unwrap();
        block_on(other.revoke(Revocation::Token("t7".into()))).unwrap();
    });
    (handshake, revoke)
}

/// An order that is about to expire is given again.
#[test]
fn order_that_is_renewed_has_no_gap() {
    const KEPT: Duration = Duration::from_secs(60);
    check(|tasks| {
        let options = RevocationOptions::new().keep_for(KEPT).unwrap();
        let revocations = Revocations::with_options(MemoryRevocations::new(), options);
        let node = Node::new(&Sessions::new(), Some(&revocations));
        let order = Revocation::Token("t1".into());
        block_on(revocations.revoke(order.clone())).unwrap();
        tasks.settle();
        tasks.pass(KEPT - Duration::from_secs(1));
        tasks.settle();
        let again = thread::spawn(move || block_on(revocations.revoke(order)).unwrap());
        let expiry = thread::spawn({
            let tasks = tasks.clone();
            move || tasks.pass(Duration::from_secs(2))
        });
        let handshake = thread::spawn({
            let node = node.clone();
            move || node.connect(OLD)
        });

        again.join().unwrap();
        expiry.join().unwrap();
        let connection = handshake.join().unwrap();
        assert_eq!(node.open().len(), 0, "admitted in a gap");
        assert!(node.connect(OLD).is_err(), "forgotten");
        drop(connection);
        node.assert_idle();
    });
}
