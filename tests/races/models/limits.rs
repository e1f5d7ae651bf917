//! Slots, the limit of a subject, and leases.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_ws_auth::{
    AtLimit, Limits, SessionId, Sessions,
    store::{Acquire, Acquired, LeaseQuery, LimitStore, SessionLease, StoreError},
};
use shuttle::{future::yield_now, thread};

use crate::{
    observer::assert_one_reason,
    support::{Node, any, check},
};

/// A session that is evicted for a newer one is still found by what ends sessions, until it has ended.
#[test]
fn end_of_a_subject_ends_the_sessions_that_are_being_evicted() {
    check(|tasks| {
        let limits = Limits::new().total(3).unwrap().per_subject(1, AtLimit::EvictOldest).unwrap();
        let node = Node::new(&Sessions::with_limits(limits), None);
        let handshakes = ["alice.t1.60.0", "alice.t2.60.0", "alice.t3.60.0"].map(|token| {
            let node = node.clone();
            thread::spawn(move || node.connect(token))
        });
        let end = thread::spawn({
            let node = node.clone();
            move || {
                let before = node.admitted.lock().unwrap().clone();
                node.sessions.end_subject("alice");
                assert!(before.iter().all(|session| session.end_reason().is_some()), "open after the end");
            }
        });

        let connections = handshakes.map(|handshake| handshake.join().unwrap());
        end.join().unwrap();
        tasks.settle();
        assert!(node.open().len() <= 1, "more than the limit");
        drop(connections);
        for session in node.admitted.lock().unwrap().clone() {
            session.end();
            assert_one_reason(&session, &[]);
        }
        node.assert_idle();
    });
}

/// Two nodes share a limit of one. Clients connect to both, leave, and give up in the middle.
#[test]
fn lease_is_given_back_once() {
    check(|tasks| {
        let store = Arc::new(Leases::default());
        let at_limit = any(&[AtLimit::EvictOldest, AtLimit::RefuseNew]);
        let nodes = [(); 2].map(|()| {
            let limits = Limits::new().per_subject(1, at_limit).unwrap().across_nodes(Arc::clone(&store));
            Node::new(&Sessions::with_limits(limits.lease_lifetime(Duration::from_secs(3)).unwrap()), None)
        });
        let clients = [(0, "alice.t1.60.0"), (1, "alice.t2.60.0"), (0, "alice.t3.60.0")].map(|(number, token)| {
            let node: Node = nodes[number].clone();
            thread::spawn(move || match any(&[true, false]) {
                true => node.connect(token).ok(),
                false => {
                    node.give_up(token, any(&[0, 1, 2, 3]));
                    None
                }
            })
        });
        let end = thread::spawn({
            let node = nodes[0].clone();
            move || node.sessions.end_subject("alice")
        });
        let running = tasks.run();

        let connections = clients.map(|client| client.join().unwrap());
        end.join().unwrap();
        running.join().unwrap();
        // A renewal, which may come at any time, takes no lease back that was released.
        tasks.pass(Duration::from_secs(1));
        tasks.settle();
        assert!(nodes.iter().map(|node| node.open().len()).sum::<usize>() <= 1, "more than the limit");
        drop(connections);
        nodes.iter().for_each(Node::assert_idle);
        tasks.settle();
        let leases = store.0.lock().unwrap();
        assert!(leases.held.is_empty(), "never given back: {:?}", leases.held);
        assert!(leases.released.values().all(|times| *times == 1), "given back twice: {:?}", leases.released);
    });
}

/// A limit store that lets others run in the middle.
#[derive(Default)]
struct Leases(Mutex<State>);

#[derive(Default)]
struct State {
    /// In the order of their age.
    held: Vec<SessionId>,
    /// The number of releases.
    released: BTreeMap<SessionId, usize>,
}

impl LimitStore for Leases {
    async fn acquire(&self, request: Acquire<'_>) -> Result<Acquired, StoreError> {
        yield_now().await;
        let acquired = self.0.lock().unwrap().acquire(&request);
        yield_now().await;
        Ok(acquired)
    }

    async fn renew(&self, leases: &[SessionLease], _: Duration) -> Result<Vec<SessionId>, StoreError> {
        yield_now().await;
        let state = self.0.lock().unwrap();
        Ok(leases.iter().map(|lease| lease.session).filter(|session| !state.held.contains(session)).collect())
    }

    async fn release(&self, leases: &[SessionLease]) -> Result<(), StoreError> {
        yield_now().await;
        let mut state = self.0.lock().unwrap();
        for lease in leases {
            state.held.retain(|other| *other != lease.session);
            *state.released.entry(lease.session).or_default() += 1;
        }
        Ok(())
    }

    async fn list(&self, _: LeaseQuery<'_>) -> Result<Vec<SessionLease>, StoreError> {
        Ok(Vec::new())
    }

    async fn evicted(&self) -> Result<Vec<SessionId>, StoreError> {
        pending().await
    }
}

impl State {
    fn acquire(&mut self, request: &Acquire<'_>) -> Acquired {
        self.held.retain(|held| request.released.iter().all(|released| released.session != *held));
        let mut evicted = Vec::new();
        while self.held.len() >= request.limit.get() {
            match request.at_limit {
                AtLimit::EvictOldest => evicted.push(self.held.remove(0)),
                _ => return Acquired::Full,
            }
        }
        self.held.push(request.lease.session);
        Acquired::Taken { evicted }
    }
}
