//! Ending sessions: it reaches every session that somebody holds, and blocks nobody however many there are.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedUpgrade, CloseCodes, Drain, EndReason, Limits, MemoryRevocations, Revocations,
    ScopedId, Session, Sessions, WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::FutureExt;
use http::{Request, StatusCode};
use support::{log::captured, *};
use tracing::Level;

type Kept = Arc<Mutex<Vec<Session<String>>>>;

/// Keeps the session of each request, like a handler that upgrades later.
fn keeping(layer: WsAuthLayer) -> (Router, Kept) {
    let kept = Kept::default();
    let keep = Arc::clone(&kept);
    let handler = async move |Authenticated(session): Authenticated<String>| keep.lock().unwrap().push(session);
    (Router::new().route("/", any(handler)).layer(layer), kept)
}

fn polling(token: &str) -> Request<axum::body::Body> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    request.body(axum::body::Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_way_to_end_sessions_reaches_one_that_is_not_a_connection() {
    type End = fn(&Sessions, &Revocations, &Session<String>) -> Option<usize>;
    let ways: [(&str, End, EndReason); 9] = [
        ("end", |sessions, _, session| Some(sessions.end(session.id())), EndReason::Revoked),
        ("end_subject", |sessions, _, _| Some(sessions.end_subject("alice")), EndReason::Revoked),
        (
            "end_subject without an issuer",
            |sessions, _, _| Some(sessions.end_subject(ScopedId::without_issuer("alice"))),
            EndReason::Revoked,
        ),
        ("end_token", |sessions, _, _| Some(sessions.end_token("id")), EndReason::Revoked),
        ("end_provider_session", |sessions, _, _| Some(sessions.end_provider_session("of id")), EndReason::Revoked),
        ("end_all", |sessions, _, _| Some(sessions.end_all()), EndReason::Revoked),
        (
            "drain",
            |sessions, _, _| {
                let sessions = sessions.clone();
                tokio::spawn(async move { sessions.drain(Drain::going_away()).await });
                None
            },
            EndReason::Shutdown,
        ),
        (
            "revoke_subject",
            |_, revocations, _| {
                let revocations = revocations.clone();
                tokio::spawn(async move { revocations.revoke_subject("alice").await });
                None
            },
            EndReason::Revoked,
        ),
        (
            "revoke_token",
            |_, revocations, _| {
                let revocations = revocations.clone();
                tokio::spawn(async move { revocations.revoke_token("id").await });
                None
            },
            EndReason::Revoked,
        ),
    ];
    for (name, end, reason) in ways {
        let sessions = Sessions::new();
        let revocations = Revocations::new(MemoryRevocations::new());
        let (app, kept) = keeping(WsAuthLayer::new(timed).sessions(&sessions).revocations(&revocations));
        assert_eq!(answer(&app, polling("alice.3600.id")).await.status(), StatusCode::OK);
        let session = kept.lock().unwrap().pop().unwrap();
        assert_eq!((sessions.count(), sessions.iter().count()), (0, 0), "{name}: it does not count");
        assert_eq!(end(&sessions, &revocations, &session).unwrap_or(1), 1, "{name}");
        assert_eq!(session.ended().await, reason, "{name}");
        drop(session);
        assert_eq!(sessions.end_all(), 0, "{name}: nothing is left");
    }
}

#[tokio::test]
async fn a_session_that_is_not_a_connection_does_not_count() {
    let limits = Limits::new().total(1).unwrap().per_subject(1, AtLimit::EvictOldest).unwrap();
    let sessions = Sessions::with_limits(limits);
    let (app, kept) = keeping(WsAuthLayer::new(timed).sessions(&sessions));
    let connection = || handshake().bearer_subprotocol("alice.3600").build();
    for round in 0..3 {
        assert_eq!(answer(&app, polling("alice.3600")).await.status(), StatusCode::OK, "{round}");
    }
    assert_eq!(answer(&app, connection()).await.status(), StatusCode::OK);
    assert_eq!(answer(&app, polling("alice.3600")).await.status(), StatusCode::OK);
    assert!(kept.lock().unwrap().iter().all(|session| session.end_reason().is_none()), "nobody was evicted");
    assert_eq!(sessions.count(), 1);
    let drained = sessions.drain(Drain::going_away().within(Duration::ZERO)).await;
    assert_eq!(drained.remaining, 1, "drain waits for connections only");
    assert!(kept.lock().unwrap().iter().all(|session| session.end_reason() == Some(EndReason::Shutdown)));
}

/// Nobody else closes the handler's socket, so a session ends with its last handle, even if it is watched.
#[tokio::test(start_paused = true)]
async fn a_watcher_does_not_keep_a_session_alive() {
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    let (app, kept) = keeping(WsAuthLayer::new(timed).sessions(&sessions));
    for request in [handshake().bearer_subprotocol("alice.3600").build(), polling("alice.3600")] {
        assert_eq!(answer(&app, request).await.status(), StatusCode::OK);
        let session = kept.lock().unwrap().pop().unwrap();
        let watcher = session.watch();
        assert_eq!((watcher.id(), watcher.subject()), (session.id(), Some("alice")));
        assert_eq!(watcher.expires_at(), session.expires_at());
        let waiting = tokio::spawn({
            let watcher = watcher.clone();
            async move { watcher.ended().await }
        });
        settle().await;
        assert!(!waiting.is_finished() && watcher.end_reason().is_none());
        drop(session);
        assert_eq!(sessions.count(), 0);
        assert_eq!(waiting.await.unwrap(), EndReason::Closed);
        assert_eq!(watcher.expiring_in(Duration::from_secs(1)).await, Duration::ZERO);
        assert_eq!(watcher.end_reason(), Some(EndReason::Closed));
    }
    // A watcher also sees deadlines and revocations.
    for (token, reason) in [("alice.60", EndReason::TokenExpired), ("alice.3600", EndReason::Revoked)] {
        assert_eq!(answer(&app, handshake().bearer_subprotocol(token).build()).await.status(), StatusCode::OK);
        let session = kept.lock().unwrap().pop().unwrap();
        let watcher = session.watch();
        assert!(watcher.ended().now_or_never().is_none());
        if reason == EndReason::Revoked {
            sessions.end_subject("alice");
        }
        assert_eq!(watcher.ended().await, reason);
    }
}

const MANY: usize = 3_000;

async fn many(of_one_subject: bool, registered: bool) -> (Sessions, Vec<Session<String>>) {
    let sessions = Sessions::new();
    let (app, kept) = keeping(WsAuthLayer::new(timed).sessions(&sessions));
    for number in 0..MANY {
        let token = if of_one_subject { "alice.3600.id".to_owned() } else { format!("user{number}.3600.id") };
        let request = if registered { handshake().bearer_subprotocol(&token).build() } else { polling(&token) };
        assert_eq!(answer(&app, request).await.status(), StatusCode::OK);
    }
    let kept = std::mem::take(&mut *kept.lock().unwrap());
    (sessions, kept)
}

/// All sessions have ended when the call returns; their sockets are closed in slices.
#[tokio::test]
async fn ending_many_sessions_takes_effect_at_once_and_blocks_nobody() {
    type End = fn(&Sessions) -> usize;
    let ways: [(&str, bool, End); 5] = [
        ("end_subject", true, |sessions| sessions.end_subject("alice")),
        ("end_token", false, |sessions| sessions.end_token("id")),
        ("end_provider_session", false, |sessions| sessions.end_provider_session("of id")),
        ("end_all", false, Sessions::end_all),
        ("end_all of one subject", true, Sessions::end_all),
    ];
    for (name, of_one_subject, end) in ways {
        for registered in [true, false] {
            let (sessions, kept) = many(of_one_subject, registered).await;
            let began = Instant::now();
            assert_eq!(end(&sessions), MANY, "{name}");
            let took = began.elapsed();
            assert_eq!(end(&sessions), 0, "{name}: each is ended once");
            assert!(kept.iter().all(|session| session.end_reason() == Some(EndReason::Revoked)), "{name}");
            assert_eq!(sessions.iter().count(), 0, "{name}");
            // A quadratic or blocking implementation takes many times as long.
            assert!(took < Duration::from_millis(200), "{name}: {took:?}");
            drop(kept);
            assert_eq!(sessions.count(), 0, "{name}");
        }
    }
}

/// Without a runtime, no task can close the sockets later.
#[test]
fn many_sessions_are_ended_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sessions, kept) = runtime.block_on(many(true, true));
    drop(runtime);
    assert_eq!(sessions.end_subject("alice"), MANY);
    assert!(kept.iter().all(|session| session.end_reason() == Some(EndReason::Revoked)));
}

/// Sessions that begin after the call are not ended, although its task still runs.
#[tokio::test]
async fn ending_sessions_spares_those_that_begin_later() {
    let (sessions, kept) = many(true, true).await;
    let (app, later) = keeping(WsAuthLayer::new(timed).sessions(&sessions));
    assert_eq!(sessions.end_subject("alice"), MANY);
    assert_eq!(answer(&app, handshake().bearer_subprotocol("alice.3600").build()).await.status(), StatusCode::OK);
    let later = later.lock().unwrap().pop().unwrap();
    // Before the task has finished, and after.
    assert_eq!(later.end_reason(), None);
    for _ in 0..50 {
        settle().await;
    }
    assert!(kept.iter().all(|session| session.end_reason() == Some(EndReason::Revoked)));
    assert_eq!(later.end_reason(), None);
    assert_eq!(sessions.end_subject("alice"), 1);
}

/// What a handler without `AuthenticatedUpgrade` does with its session.
type Handle = fn(Option<Authenticated<String>>) -> StatusCode;

/// Nobody holds the session when the response is sent, so nothing can end the connection.
#[tokio::test]
async fn a_dropped_session_of_an_accepted_handshake_is_logged_once() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let (dropped, unwatched) = ("session dropped before its upgrade", "session ended and nothing watches it");
    let drops: Handle = |_| StatusCode::SWITCHING_PROTOCOLS;
    let watches_too_early: Handle = |session| {
        drop(session.map(|Authenticated(session)| (session.watch(), session.end_reason())));
        StatusCode::SWITCHING_PROTOCOLS
    };
    let drops_over_http2: Handle = |_| StatusCode::OK;
    let refuses: Handle = |_| StatusCode::BAD_REQUEST;
    let ends: Handle = |session| {
        assert!(session.is_some_and(|Authenticated(session)| session.end()));
        StatusCode::SWITCHING_PROTOCOLS
    };
    let leaks: Handle = |session| {
        std::mem::forget(session);
        StatusCode::SWITCHING_PROTOCOLS
    };
    let polls: Handle = |session| {
        std::mem::forget(session.inspect(|Authenticated(session)| assert_eq!(session.end_reason(), None)));
        StatusCode::SWITCHING_PROTOCOLS
    };
    let http2 = || handshake().http2().bearer_subprotocol("alice.3600").build();
    let http1 = || handshake().bearer_subprotocol("alice.3600").build();
    type Case = (&'static str, Handle, fn() -> Request<axum::body::Body>, [usize; 2]);
    let cases: [Case; 9] = [
        ("dropped", drops, http1, [1, 0]),
        ("dropped together with its watcher", watches_too_early, http1, [1, 0]),
        ("dropped over HTTP/2", drops_over_http2, http2, [1, 0]),
        ("refused by the handler", refuses, http1, [0, 0]),
        ("refused over HTTP/2", refuses, http2, [0, 0]),
        ("no handshake", drops, || polling("alice.3600"), [0, 0]),
        ("kept", leaks, http1, [0, 1]),
        ("kept, and polled", polls, http1, [0, 0]),
        ("ended by the handler, and dropped", ends, http1, [0, 1]),
    ];
    for (name, handle, request, events) in cases {
        let (_, log) = captured(Level::INFO, async {
            let sessions = Sessions::new();
            let handler = async move |session: Option<Authenticated<String>>| handle(session);
            let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed).sessions(&sessions));
            for _ in 0..3 {
                answer(&app, request()).await;
            }
            sessions.end_all();
        })
        .await;
        assert_eq!([dropped, unwatched].map(|event| log.matches(event).count()), events, "{name}: {log}");
    }
}

/// A supervised socket is closed with its session, and without a registry nothing ends sessions.
#[tokio::test]
async fn supervised_sessions_and_sessions_without_a_registry_are_not_logged_as_dropped() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    async fn supervised(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    async fn drops<C>(_: Authenticated<C>) -> StatusCode {
        StatusCode::SWITCHING_PROTOCOLS
    }
    let (_, log) = captured(Level::INFO, async {
        let app = Router::new().route("/", any(drops::<String>)).layer(WsAuthLayer::new(timed));
        answer(&app, handshake().bearer_subprotocol("alice.3600").build()).await;
        let sessions = Sessions::new();
        let app = Router::new().route("/", any(supervised)).layer(WsAuthLayer::new(timed).sessions(&sessions));
        let (socket, _) = test_util::connect(app, handshake().bearer_subprotocol("alice.3600").build()).await.unwrap();
        drop(socket);
        while sessions.count() > 0 {
            settle().await;
        }
    })
    .await;
    assert!(!log.contains("WARN"), "{log}");
    // A verifier that answers at once takes another code path to the same warning.
    let (_, log) = captured(Level::INFO, async {
        let app =
            Router::new().route("/", any(drops::<serde_json::Value>)).layer(jwt_layer().sessions(&Sessions::new()));
        answer(&app, handshake().bearer_subprotocol(&token()).build()).await;
    })
    .await;
    assert!(log.contains("session dropped before its upgrade"), "{log}");
}

#[tokio::test]
async fn a_watcher_knows_the_close_code() {
    type End = fn(&Sessions);
    let ways: [(End, u16); 2] = [
        (|sessions| assert_eq!(sessions.end_all(), 1), 4401),
        (
            |sessions| {
                let sessions = sessions.clone();
                tokio::spawn(async move { sessions.drain(Drain::service_restart()).await });
            },
            1012,
        ),
    ];
    for (end, code) in ways {
        let sessions = Sessions::new();
        let layer = WsAuthLayer::new(timed).sessions(&sessions).close_codes(CloseCodes::HTTP_LIKE);
        let (app, kept) = keeping(layer);
        answer(&app, handshake().bearer_subprotocol("alice.3600").build()).await;
        let session = kept.lock().unwrap().pop().unwrap();
        let watcher = session.watch();
        assert_eq!((session.close_code(), watcher.close_code()), (None, None));
        end(&sessions);
        watcher.ended().await;
        assert_eq!((session.close_code(), watcher.close_code()), (Some(code), Some(code)));
    }
}

#[tokio::test]
async fn unlimited_and_unwatched_sessions_are_logged_once() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let unlimited = "sessions without a subject are not limited";
    let unwatched = "session ended and nothing watches it";
    for (token, watches, limits, events) in [
        ("nobody.3600", true, true, [1, 0]),
        ("nobody.3600", true, false, [0, 0]),
        ("alice.3600", true, true, [0, 0]),
        ("alice.3600", false, true, [0, 1]),
    ] {
        let (_, log) = captured(Level::INFO, async {
            let mut limit = Limits::new();
            if limits {
                limit = limit.per_subject(5, AtLimit::RefuseNew).unwrap();
            }
            let sessions = Sessions::with_limits(limit);
            let (app, kept) = keeping(WsAuthLayer::new(timed).sessions(&sessions));
            for _ in 0..3 {
                answer(&app, handshake().bearer_subprotocol(token).build()).await;
            }
            if watches {
                kept.lock().unwrap().iter().for_each(|session| drop(session.watch()));
            }
            assert_eq!(sessions.end_all(), 3);
        })
        .await;
        assert_eq!([unlimited, unwatched].map(|event| log.matches(event).count()), events, "{token} {watches}: {log}");
    }
}
