//! The places that streams take in the limits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use axum_ws_auth::{
    AtLimit, AuthenticatedUpgrade, Drain, EndReason, Limits, Rejection, SessionKind, Sessions, WsAuthLayer,
};
use futures_util::FutureExt;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{task::yield_now, time::Instant};

use super::{
    DOWNLOAD, EVENTS, End, Fixture, last_event, next, request, rest,
    store::MemoryLimits,
    support::{answer, closed, connected, is_refused_with, settle, timed},
};

fn limited(limits: Limits) -> Fixture {
    Fixture::with_sessions(Sessions::with_limits(limits), |layer| layer)
}

/// Sockets that share the registry of a fixture.
fn sockets(fixture: &Fixture) -> Router {
    async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    Router::new().route("/", any(idle)).layer(WsAuthLayer::new(timed).sessions(&fixture.sessions))
}

/// The client sees nothing of the handler's response.
#[tokio::test]
async fn stream_of_a_session_that_has_ended_is_refused() {
    let sessions = Sessions::with_limits(Limits::new().retry_after(Duration::from_secs(9)));
    let drained = sessions.clone();
    let handler = async move || {
        drained.drain(Drain::going_away()).await;
        let events = futures_util::stream::pending::<Result<axum::body::Bytes, std::convert::Infallible>>();
        ([("content-type", "text/event-stream")], axum::body::Body::from_stream(events))
    };
    let app = Router::new().fallback(handler).layer(WsAuthLayer::new(timed).sessions(&sessions));
    let response = answer(&app, request("alice", EVENTS)).await;
    assert!(is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "draining"), "{response:?}");
    assert_eq!(response.headers()["retry-after"], "9");
}

#[tokio::test]
async fn stream_beyond_the_limit_is_refused() {
    let of_subject = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap();
    let in_total = Limits::new().total(1).unwrap();
    for (limits, status, reason) in [
        (of_subject, StatusCode::TOO_MANY_REQUESTS, "too_many_sessions"),
        (in_total, StatusCode::SERVICE_UNAVAILABLE, "server_full"),
    ] {
        let fixture = limited(limits);
        let (first, _source) = fixture.open("alice", EVENTS).await;
        let response = answer(&fixture.app, request("alice", EVENTS)).await;
        assert!(is_refused_with(&response, status, reason), "{response:?}");
        assert_eq!(response.headers()["retry-after"], "5");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"{\"title\""), "{body:?}");
        let refused = fixture.source();
        assert!(refused.is_dropped());
        assert_eq!(refused.session().end_reason(), Some(EndReason::Closed));
        assert_eq!((fixture.sessions.count(), fixture.sessions.iter().count()), (1, 1));

        // What takes no place is not refused, and evicts nobody.
        let (_page, _) = fixture.open("alice", "text/html").await;
        assert_eq!(fixture.sessions.count(), 1);
        // A client that leaves makes room.
        drop(first);
        let (_second, _) = fixture.open("alice", EVENTS).await;
    }
}

#[tokio::test]
async fn hook_answers_a_stream_beyond_the_limit() {
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    let hook = |rejection: Rejection| (StatusCode::CONFLICT, rejection.reason()).into_response();
    // `accept_then_close` is for handshakes.
    let fixture = Fixture::with_sessions(sessions, |layer| layer.on_rejection(hook).accept_then_close());
    let (_first, _source) = fixture.open("alice", EVENTS).await;
    let response = answer(&fixture.app, request("alice", EVENTS)).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "too_many_sessions");
}

#[tokio::test]
async fn oldest_of_sockets_and_streams_is_evicted() {
    let fixture = limited(Limits::new().per_subject(2, AtLimit::EvictOldest).unwrap());
    let sockets = sockets(&fixture);
    let mut socket = connected(&sockets, "alice").await;
    let (first, _source) = fixture.open("alice", EVENTS).await;
    let first = tokio::spawn(rest(first));
    let kinds = || {
        let mut kinds: Vec<_> = fixture.sessions.iter().map(|session| session.kind().as_str()).collect();
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(kinds(), ["stream", "websocket"]);

    // A stream evicts the socket, which is the oldest …
    let (second, _source) = fixture.open("alice", "application/x-ndjson").await;
    assert_eq!(closed(&mut socket).await, (1008, "too_many_sessions".to_owned()));
    settle().await;
    assert_eq!(kinds(), ["stream", "stream"]);
    assert!(!first.is_finished());
    // … and a socket evicts a stream.
    let _socket = connected(&sockets, "alice").await;
    settle().await;
    assert_eq!(first.now_or_never().unwrap().unwrap(), (last_event("too_many_sessions"), End::Regular));
    assert_eq!(kinds(), ["stream", "websocket"]);
    let (_bob, _source) = fixture.open("bob", EVENTS).await;
    assert!(rest(second).now_or_never().is_none(), "another subject evicts nobody");
}

#[tokio::test]
async fn place_is_freed_with_the_body() {
    struct Panics;
    impl http_body::Body for Panics {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            panic!("the handler's body panics")
        }
    }
    let fixture = limited(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    // Dropped unread, dropped while it is read, and read to its end.
    for round in 0..3 {
        let (mut body, source) = fixture.open("alice", EVENTS).await;
        assert_eq!(fixture.sessions.count(), 1);
        if round > 0 {
            source.send("data: 1\n\n");
            next(&mut body).await;
        }
        if round == 2 {
            drop(source);
            assert!(body.frame().await.is_none());
            assert_eq!(fixture.sessions.count(), 0, "before it is dropped");
        }
        drop(body);
        assert_eq!((fixture.sessions.count(), fixture.sessions.iter().count()), (0, 0), "{round}");
    }
    let panics = async || ([("content-type", EVENTS)], axum::body::Body::new(Panics));
    let app = Router::new().route("/", get(panics)).layer(WsAuthLayer::new(timed).sessions(&fixture.sessions));
    let body = answer(&app, request("alice", "")).await.into_body();
    assert_eq!(fixture.sessions.count(), 1);
    assert!(tokio::spawn(rest(body)).await.unwrap_err().is_panic());
    assert_eq!(fixture.sessions.count(), 0);
}

/// A client that does not read keeps its connection, but not its place among the sessions of its subject.
#[tokio::test]
async fn ended_stream_that_nobody_reads_does_not_count_for_its_subject() {
    let fixture = limited(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    let (unread, source) = fixture.open("alice", EVENTS).await;
    fixture.sessions.end_subject("alice");
    assert_eq!((fixture.sessions.count(), fixture.sessions.iter().count()), (1, 0));
    assert!(!source.is_dropped());
    let (_second, _source) = fixture.open("alice", EVENTS).await;
    drop(unread);
    assert_eq!(fixture.sessions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_streams_and_waits_for_them() {
    let fixture = Fixture::new();
    let (unread, _unread_source) = fixture.open("alice", EVENTS).await;
    let (events, _source) = fixture.open("alice", EVENTS).await;
    let events = tokio::spawn(rest(events));
    // A page goes on until the server shuts down.
    let (mut page, page_source) = fixture.open("alice", "text/html").await;
    let begin = Instant::now();
    let drain = Drain::going_away().within(Duration::from_secs(10));
    let drained = tokio::join!(fixture.sessions.drain(drain), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(rest(unread).await, (last_event("shutdown"), End::Regular));
    })
    .0;
    assert_eq!((drained.closed, drained.remaining), (2, 0));
    assert_eq!(begin.elapsed().as_secs(), 5, "as long as the last client took");
    assert_eq!(events.await.unwrap(), (last_event("shutdown"), End::Regular));
    page_source.send("<p>");
    assert_eq!(next(&mut page).await, "<p>");
    drop(page_source);
    assert_eq!(rest(page).await, (String::new(), End::Regular));

    // From now on there is no place for a stream, but pages are served.
    let response = answer(&fixture.app, request("alice", EVENTS)).await;
    assert!(is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "draining"));
    let (_page, _source) = {
        fixture.source();
        fixture.open("alice", DOWNLOAD).await
    };
}

/// Two nodes with a limit of two sessions per subject.
fn nodes(store: &MemoryLimits, at_limit: AtLimit) -> [Fixture; 2] {
    [(), ()].map(|()| limited(Limits::new().per_subject(2, at_limit).unwrap().across_nodes(store.clone())))
}

#[tokio::test(start_paused = true)]
async fn streams_count_across_nodes() {
    let store = MemoryLimits::new();
    let [one, two] = nodes(&store, AtLimit::RefuseNew);
    let (first, _source) = one.open("alice", EVENTS).await;
    let (_page, _source_of_page) = one.open("alice", "text/html").await;
    let (_second, _source) = two.open("alice", EVENTS).await;
    assert_eq!(store.count(), 2);
    for node in [&one, &two] {
        let response = answer(&node.app, request("alice", EVENTS)).await;
        assert!(is_refused_with(&response, StatusCode::TOO_MANY_REQUESTS, "too_many_sessions"));
        assert!(node.source().is_dropped());
        assert_eq!(node.sessions.count(), 1);
    }
    drop(first);
    settle().await;
    assert_eq!(store.count(), 1, "the lease is released");
    let (_third, _source) = two.open("alice", EVENTS).await;
}

#[tokio::test(start_paused = true)]
async fn another_node_evicts_a_stream() {
    let store = MemoryLimits::new();
    let [one, two] = nodes(&store, AtLimit::EvictOldest);
    let (first, _source) = one.open("alice", EVENTS).await;
    let first = tokio::spawn(rest(first));
    settle().await;
    let (_second, _source) = two.open("alice", EVENTS).await;
    let (_third, _source) = two.open("alice", EVENTS).await;
    settle().await;
    assert_eq!(first.now_or_never().unwrap().unwrap().0, last_event("too_many_sessions"));
}

/// The response waits for the store. A client that leaves in the meantime leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn client_that_leaves_during_the_acquisition_frees_its_place() {
    let store = MemoryLimits::new();
    let [one, _] = nodes(&store, AtLimit::RefuseNew);
    store.slow.store(true, SeqCst);
    let app = one.app.clone();
    let responding = tokio::spawn(async move { answer(&app, request("alice", EVENTS)).await });
    settle().await;
    let source = one.source();
    assert_eq!((one.sessions.count(), source.session().kind()), (1, SessionKind::Stream));
    responding.abort();
    settle().await;
    assert!(source.is_dropped());
    assert_eq!(one.sessions.count(), 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(store.count(), 0);
}

/// A session may end between the handler's response and the first look at its body.
#[tokio::test(start_paused = true)]
async fn session_that_ends_during_the_acquisition_ends_the_body() {
    let store = MemoryLimits::new();
    let [one, _] = nodes(&store, AtLimit::RefuseNew);
    store.slow.store(true, SeqCst);
    let app = one.app.clone();
    let is_answered = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_answered);
    let responding = tokio::spawn(async move {
        let response = answer(&app, request("alice", EVENTS)).await;
        seen.store(true, SeqCst);
        rest(response.into_body()).await
    });
    settle().await;
    assert_eq!((is_answered.load(SeqCst), one.sessions.end_subject("alice")), (false, 1));
    assert_eq!(responding.await.unwrap(), (last_event("revoked"), End::Regular));
    while store.count() > 0 {
        tokio::time::advance(Duration::from_millis(100)).await;
        yield_now().await;
    }
}
