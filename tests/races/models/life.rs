//! The life of a session: what ends it, what would prolong it, and who sees it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum_ws_auth::{RefreshErrorKind, Session, Sessions, Token};
use shuttle::{future::block_on, thread};

use crate::{
    observer::assert_one_reason,
    support::{Connection, Node, any, check, read},
};

/// What may end a session.
#[derive(Clone, Copy, Debug)]
enum Party {
    Handler,
    Subject,
    Token,
    Everybody,
    Deadline,
    Recheck,
}

const PARTIES: [Party; 6] =
    [Party::Handler, Party::Subject, Party::Token, Party::Everybody, Party::Deadline, Party::Recheck];

impl Party {
    fn act(self, node: &Node, session: &Session<()>) {
        match self {
            Self::Handler => {
                let is_first = session.end();
                assert!(!is_first || session.end_reason().unwrap().as_str() == "policy");
            }
            Self::Subject => drop(node.sessions.end_subject("alice")),
            Self::Token => drop(node.sessions.end_token("t1")),
            Self::Everybody => drop(node.sessions.end_all()),
            Self::Deadline => node.pass(60),
            Self::Recheck => {
                node.refuses.store(true, Ordering::Relaxed);
                node.sessions.recheck_subject("alice");
            }
        }
    }

    /// Whether the session has ended once this has acted, whatever else happens.
    const fn is_final(self) -> bool {
        matches!(self, Self::Handler | Self::Subject | Self::Everybody)
    }
}

#[test]
fn session_ends_once_and_everybody_learns_why() {
    check(|tasks| {
        let node = Node::new(&Sessions::new(), None);
        let Connection { session, body } = node.connect("alice.t1.60.0").unwrap();
        let is_over = Arc::new(AtomicBool::new(false));

        let handle = thread::spawn(with(&session, |session| block_on(session.ended())));
        let watcher = session.watch();
        let watcher = thread::spawn(move || block_on(watcher.ended()));
        let reader = thread::spawn(move || read(body));
        let refresh = thread::spawn({
            let (session, is_over) = (session.clone(), Arc::clone(&is_over));
            move || {
                let was_over = is_over.load(Ordering::SeqCst);
                let outcome = block_on(session.refresh(Token::new("alice.t2.120.0")));
                assert!(!was_over || outcome.unwrap_err().kind() == RefreshErrorKind::SessionEnded, "revived");
            }
        });
        let parties = [any(&PARTIES), any(&PARTIES)].map(|party| {
            let (node, session, is_over) = (node.clone(), session.clone(), Arc::clone(&is_over));
            thread::spawn(move || {
                party.act(&node, &session);
                party.is_final().then(|| {
                    assert!(session.end_reason().is_some(), "open after {party:?}");
                    is_over.store(true, Ordering::SeqCst);
                    session.expires_at()
                })
            })
        });
        let running = tasks.run();

        let deadlines = parties.map(|party| party.join().unwrap());
        refresh.join().unwrap();
        running.join().unwrap();
        session.end();
        assert_one_reason(&session, &[handle.join().unwrap(), watcher.join().unwrap()]);
        let reason = session.end_reason().unwrap();
        assert_eq!(
            reader.join().unwrap(),
            format!("event: auth.ended\ndata: {{\"reason\":\"{}\"}}\n\n", reason.as_str())
        );
        for deadline in deadlines.into_iter().flatten() {
            assert_eq!(session.expires_at(), deadline, "the deadline has moved after the end");
        }
        tasks.settle();
        node.assert_idle();
    });
}

#[test]
fn connection_that_breaks_frees_everything_once() {
    check(|tasks| {
        let node = Node::new(&Sessions::new(), None);
        let Connection { session, body } = node.connect("alice.t1.60.0").unwrap();
        let handle = thread::spawn(with(&session, |session| block_on(session.ended())));
        let refresh = thread::spawn(with(&session, |session| block_on(session.refresh(Token::new("alice.t2.120.0")))));
        let party = any(&PARTIES);
        let act = thread::spawn({
            let (node, session) = (node.clone(), session.clone());
            move || party.act(&node, &session)
        });
        let broken = thread::spawn(move || drop(body));
        let running = tasks.run();

        act.join().unwrap();
        broken.join().unwrap();
        let _ = refresh.join().unwrap();
        running.join().unwrap();
        assert_one_reason(&session, &[handle.join().unwrap()]);
        tasks.settle();
        node.assert_idle();
    });
}

/// An end may come at any step of a handshake. If the handler has got the session, an event tells how it ended.
#[test]
fn session_that_ends_during_its_handshake_tells_why() {
    check(|tasks| {
        let node = Node::new(&Sessions::new(), None);
        let handshake = thread::spawn({
            let node = node.clone();
            move || node.connect("alice.t1.60.0").ok()
        });
        let party = any(&[Party::Subject, Party::Token, Party::Everybody, Party::Deadline]);
        let act = thread::spawn({
            let node = node.clone();
            move || match party {
                Party::Subject => drop(node.sessions.end_subject("alice")),
                Party::Token => drop(node.sessions.end_token("t1")),
                Party::Everybody => drop(node.sessions.end_all()),
                _ => node.pass(60),
            }
        });
        let running = tasks.run();

        let connection = handshake.join().unwrap();
        act.join().unwrap();
        running.join().unwrap();
        tasks.settle();
        let admitted = node.admitted.lock().unwrap().clone();
        drop(connection);
        for session in admitted {
            session.end();
            assert_one_reason(&session, &[]);
        }
        tasks.settle();
        node.assert_idle();
    });
}

fn with<T, F: FnOnce(Session<()>) -> T>(session: &Session<()>, run: F) -> impl FnOnce() -> T + use<T, F> {
    let session = session.clone();
    move || run(session)
}
