//! What a registry keeps of sessions.

use std::{
    future::ready,
    mem,
    sync::{Arc, Mutex, atomic::Ordering},
};

use axum::{Router, body::Body, routing::any};
use http::Request;
use tokio::{
    task::yield_now,
    time::{Duration, timeout},
};
use tower::ServiceExt;

use super::Sessions;
use crate::{
    Authenticated, ScopedId, Verified, VerifyError, VerifyInput, WsAuthLayer,
    lock::lock,
    session::{EndReason, Session},
};

/// Numbers of sessions are those of the process, so that one test at a time makes some.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// As many sessions of this subject, held by handlers. Their tokens have its name too.
async fn held(sessions: &Sessions, subject: &str, count: usize) -> Vec<Session<()>> {
    let held = Arc::new(Mutex::new(Vec::new()));
    let hold = Arc::clone(&held);
    let handler = async move |Authenticated(session): Authenticated<()>| hold.lock().expect("no panic").push(session);
    let verifier = |input: VerifyInput<'_>| {
        let name = input.token.expose();
        let verified = Verified::new(()).with_subject(name).with_token_id(name).with_provider_session(name);
        ready(Ok::<_, VerifyError>(verified))
    };
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(verifier).sessions(sessions));
    for _ in 0..count {
        let request = Request::get("/").header("authorization", format!("Bearer {subject}")).body(Body::empty());
        let _ = app.clone().oneshot(request.expect("a request")).await;
    }
    let mut held = held.lock().expect("no panic");
    mem::take(&mut *held)
}

/// How many live sessions there are, and how many of alice.
fn live(sessions: &Sessions) -> (usize, usize) {
    let all = sessions.0.shards.iter().map(|shard| lock(shard).live()).sum();
    let alice = ScopedId::without_issuer("alice");
    (all, sessions.0.shard(sessions.0.shard_of_subject(alice.id())).live_of_subject(&alice))
}

#[tokio::test]
async fn ended_sessions_do_not_count_while_handlers_hold_them() {
    let _turn = TURN.lock().await;
    let sessions = Sessions::new();
    let held = held(&sessions, "alice", 3).await;
    assert_eq!(live(&sessions), (3, 3));
    for (session, left) in held.iter().zip([2, 1, 0]) {
        assert_eq!(sessions.end(session.id()), 1);
        assert_eq!(live(&sessions), (left, left));
    }
}

/// Otherwise it would count as one of its subject's.
#[tokio::test]
async fn a_session_that_has_ended_is_not_admitted() {
    let _turn = TURN.lock().await;
    let sessions = Sessions::new();
    let held = held(&sessions, "alice", 2).await;
    let ended = held.first().expect("two sessions");
    assert_eq!(sessions.end(ended.id()), 1);
    assert!(sessions.0.admit(ended.core()).is_ok());
    assert_eq!(live(&sessions), (1, 1));
}

/// More than fit in a time slice.
#[tokio::test]
async fn a_task_ends_the_rest_of_many_sessions_and_no_others() {
    let _turn = TURN.lock().await;
    type End = fn(&Sessions) -> usize;
    let ways: [End; 3] = [
        |sessions| sessions.end_subject("alice"),
        |sessions| sessions.end_token("alice"),
        |sessions| sessions.end_provider_session("alice"),
    ];
    for end in ways {
        let sessions = Sessions::new();
        let bob = held(&sessions, "bob", 1).await;
        let mut alice = held(&sessions, "alice", 2000).await;
        assert_eq!(end(&sessions), 2000);
        // Before the task has run.
        assert!(bob.iter().all(|session| session.end_reason().is_none()));
        assert_eq!(alice.pop().and_then(|last| last.end_reason()), Some(EndReason::Revoked));
        // Nobody looks at the others.
        let all_ended = async {
            for session in &alice {
                session.ended().await;
            }
        };
        timeout(Duration::from_secs(60), all_ended).await.expect("the task ends them");
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(lock(&sessions.0.bulk_ends).is_empty() && !sessions.0.has_bulk_ends.load(Ordering::SeqCst));
    }
}

/// A batch of a scan has 256.
#[tokio::test]
async fn the_last_session_is_ended_with_any_number_of_others() {
    let _turn = TURN.lock().await;
    for count in [255, 256, 257] {
        let sessions = Sessions::new();
        let held = held(&sessions, "alice", count).await;
        assert_eq!(sessions.end_subject("alice"), count);
        // A task may end the rest.
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(held.iter().all(|session| session.end_reason().is_some()), "{count}");
    }
}
