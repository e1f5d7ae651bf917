//! Where a subject is signed in: what sessions note about their connections, and the list of a subject's sessions.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "support/limits.rs"]
mod limits;
mod support;

use std::{
    collections::BTreeSet,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedUpgrade, FirstMessage, FirstToken, Limits, ScopedId, SessionCursor,
    SessionInfo, SessionKind, SessionMeta, Sessions, TimeSource, Token, Verified, VerifyError, VerifyInput,
    WsAuthLayer, store::StoreErrorKind, test_util::handshake,
};
use futures_util::SinkExt;
use limits::MemoryLimits;
use support::*;
use tokio::time::sleep;

/// Reads until the socket is closed. A text is a token to refresh with.
async fn refreshing(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            socket.session().refresh(Token::new(message.to_text().unwrap())).await.unwrap();
        }
    })
}

/// `/poll` holds its session for a minute.
fn app(layer: WsAuthLayer) -> Router {
    async fn poll(Authenticated(session): Authenticated<String>) -> String {
        sleep(Duration::from_secs(60)).await;
        session.id().to_string()
    }
    Router::new()
        .route("/", any(refreshing))
        .route("/rooms/{room}", any(refreshing))
        .route("/poll", any(poll))
        .layer(layer)
}

/// As [`timed`], with an issuer before the subject: `a~alice`. Without a tilde, there is none.
fn with_issuer(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let text = input.token.expose();
    let (issuer, token) = text.rsplit_once('~').map_or((None, text), |(issuer, token)| (Some(issuer), token));
    let token = Token::new(token);
    let verified = timed(VerifyInput::new(&token, input.parts, input.now)).into_inner().unwrap();
    ready(Ok(match issuer {
        Some(issuer) => verified.with_issuer(issuer),
        None => verified,
    }))
}

fn across_nodes(store: &MemoryLimits) -> Sessions {
    Sessions::with_limits(Limits::new().across_nodes(store.clone()))
}

/// The devices on a page.
fn devices<'a>(page: impl IntoIterator<Item = &'a SessionInfo>) -> Vec<&'a str> {
    page.into_iter().map(|info| info.meta().get("device").unwrap_or("?")).collect()
}

fn by_device(layer: WsAuthLayer) -> WsAuthLayer {
    layer.session_meta(|parts| match parts.headers.get("user-agent") {
        Some(agent) => SessionMeta::new().with("device", agent.to_str().unwrap()),
        None => SessionMeta::new(),
    })
}

/// Connects a client with this `User-Agent`.
async fn device(app: &Router, token: &str, agent: &str) -> ClientSocket {
    let request = handshake().header("authorization", format!("Bearer {token}")).header("user-agent", agent).build();
    // No two sessions begin in the same millisecond.
    std::thread::sleep(Duration::from_millis(2));
    axum_ws_auth::test_util::connect(app.clone(), request).await.expect("a 101").0
}

#[tokio::test(start_paused = true)]
async fn meta_is_made_once_from_a_head_without_the_token() {
    let (sessions, calls) = (Sessions::new(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let layer = WsAuthLayer::new(timed).sessions(&sessions).session_meta(move |parts| {
        counted.fetch_add(1, SeqCst);
        let seen = format!("{:?} {}", parts.headers, parts.uri);
        assert!(!seen.contains("alice.60"), "{seen}");
        let room = axum_ws_auth::PathParams::of(parts);
        SessionMeta::new().with("room", room.get("room").unwrap_or_default()).with("line", "a\r\nb")
    });
    let app = app(layer);
    let request = handshake().path("/rooms/blue").bearer_subprotocol("alice.60").build();
    let (mut socket, _) = axum_ws_auth::test_util::connect(app.clone(), request).await.unwrap();
    let meta = sessions.iter().next().unwrap().meta().clone();
    assert_eq!(meta.iter().collect::<Vec<_>>(), [("room", "blue"), ("line", "a  b")]);
    assert_eq!(format!("{meta:?}"), r#"{"room": "blue", "line": "a  b"}"#);
    socket.send("alice.90".into()).await.unwrap();
    settle().await;
    assert_eq!(sessions.iter().next().unwrap().meta(), &meta, "a refresh keeps it");
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(answer(&app, handshake().bearer_subprotocol("bad").build()).await.status(), 401);
    assert_eq!(calls.load(SeqCst), 1, "a refused client has no session");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_begins_with_a_first_message_has_the_meta_of_its_handshake() {
    let sessions = Sessions::new();
    let layer = by_device(WsAuthLayer::new(timed).sessions(&sessions));
    let app =
        app(layer
            .first_message(FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))))));
    let request = handshake().header("user-agent", "phone").build();
    let (mut socket, _) = axum_ws_auth::test_util::connect(app, request).await.unwrap();
    assert!(devices(&sessions.of_subject("alice").await.unwrap()).is_empty(), "not authenticated yet");
    socket.send("alice".into()).await.unwrap();
    settle().await;
    assert_eq!(devices(&sessions.of_subject("alice").await.unwrap()), ["phone"]);
}

#[tokio::test(start_paused = true)]
async fn a_subject_has_its_live_connections_in_the_list() {
    let sessions = Sessions::new();
    let app = app(by_device(WsAuthLayer::new(timed).sessions(&sessions)));
    let mut sockets = Vec::new();
    for agent in ["first", "second", "third"] {
        sockets.push(device(&app, "alice.60", agent).await);
    }
    let _others = [device(&app, "bob", "bob's").await, device(&app, "nobody", "nobody's").await];
    let poll = http::Request::get("/poll").header("authorization", "Bearer alice").body(axum::body::Body::empty());
    let plain = tokio::spawn({
        let app = app.clone();
        async move { answer(&app, poll.unwrap()).await }
    });
    settle().await;

    let page = sessions.of_subject("alice").await.unwrap();
    assert_eq!(devices(&page), ["first", "second", "third"]);
    assert_eq!(page.next(), None);
    for info in &page {
        assert_eq!((info.kind(), info.is_local(), info.subject()), (SessionKind::WebSocket, true, Some("alice")));
        assert_eq!(info.expires_at(), info.connected_at().checked_add(Duration::from_secs(60)));
        let found = sessions.of_subject("alice").find(info.id()).await.unwrap();
        assert_eq!(found.map(|info| info.id()), Some(info.id()));
        assert!(sessions.of_subject("bob").find(info.id()).await.unwrap().is_none(), "another subject's");
    }
    assert!(devices(&sessions.of_subject("carol").await.unwrap()).is_empty());

    // A refresh moves the deadline.
    sockets[0].send("alice.600".into()).await.unwrap();
    settle().await;
    let first = sessions.of_subject("alice").await.unwrap().into_iter().next().unwrap();
    assert!(first.expires_at().unwrap() > first.connected_at() + Duration::from_secs(599));

    // Sessions that end are gone at once, while their sockets are still closing.
    assert_eq!(sessions.end(page.sessions()[1].id()), 1);
    assert_eq!(devices(&sessions.of_subject("alice").await.unwrap()), ["first", "third"]);
    assert!(sessions.of_subject("alice").find(page.sessions()[1].id()).await.unwrap().is_none());
    sockets.truncate(1);
    settle().await;
    assert_eq!(devices(&sessions.of_subject("alice").await.unwrap()), ["first"]);
    sleep(Duration::from_secs(700)).await;
    assert!(devices(&sessions.of_subject("alice").await.unwrap()).is_empty(), "it has expired");
    plain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pages_have_every_session_once() {
    let sessions = Sessions::new();
    let app = app(by_device(WsAuthLayer::new(timed).sessions(&sessions)));
    let mut sockets = Vec::new();
    for number in 0..10 {
        sockets.push(device(&app, "alice", &number.to_string()).await);
    }
    for limit in [0, 1, 3, 5, 9, 10, 11, usize::MAX] {
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = sessions.of_subject("alice").after(after).limit(limit).await.unwrap();
            assert!(page.sessions().len() <= limit.max(1));
            seen.extend(devices(&page).iter().map(|device| device.parse::<usize>().unwrap()));
            pages += 1;
            // The cursor goes through a URL.
            after = page.next().map(|next| next.to_string().parse::<SessionCursor>().unwrap());
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>(), "{limit}");
        assert_eq!(pages, 10_usize.div_ceil(limit.clamp(1, 1000)), "{limit}");
    }

    // The session at the cursor ends, and others begin.
    let page = sessions.of_subject("alice").limit(4).await.unwrap();
    drop(sockets.drain(2..5));
    settle().await;
    sockets.push(device(&app, "alice", "new").await);
    let rest = sessions.of_subject("alice").after(page.next()).await.unwrap();
    assert_eq!(devices(&rest), ["5", "6", "7", "8", "9", "new"]);
    for bad in ["", "1", &"0".repeat(43), &"0".repeat(45), &"g".repeat(44), &"é".repeat(22), "+0000000000"] {
        assert!(bad.parse::<SessionCursor>().is_err(), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_means_the_subjects_of_all_issuers() {
    let store = MemoryLimits::new();
    let nodes = [across_nodes(&store), across_nodes(&store)];
    let apps = nodes.each_ref().map(|sessions| app(by_device(WsAuthLayer::new(with_issuer).sessions(sessions))));
    let mut sockets = Vec::new();
    for (number, token) in ["a~alice", "b~alice", "alice", "a~bob"].into_iter().enumerate() {
        sockets.push(device(&apps[number % 2], token, &number.to_string()).await);
    }
    for sessions in &nodes {
        let of = async |subject: ScopedId| {
            let page = sessions.of_subject(subject).await.unwrap();
            devices(&page).iter().map(|&device| device.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("alice".into()).await, ["0", "1", "2"]);
        assert_eq!(of(ScopedId::of("b", "alice")).await, ["1"]);
        assert_eq!(of(ScopedId::without_issuer("alice")).await, ["2"]);
        assert!(of(ScopedId::of("c", "alice")).await.is_empty());
        let issuers: Vec<_> = sessions.of_subject("alice").await.unwrap().into_iter().collect();
        assert_eq!(issuers.iter().map(SessionInfo::issuer).collect::<Vec<_>>(), [Some("a"), Some("b"), None]);
    }
    // The one of another issuer is not found.
    let id = nodes[0].of_subject("alice").await.unwrap().sessions()[1].id();
    for sessions in &nodes {
        assert!(sessions.of_subject(ScopedId::of("b", "alice")).find(id).await.unwrap().is_some());
        assert!(sessions.of_subject(ScopedId::of("a", "alice")).find(id).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_without_a_limit_list_the_sessions_of_each_other() {
    let store = MemoryLimits::new();
    let nodes = [across_nodes(&store), across_nodes(&store)];
    let apps = nodes.each_ref().map(|sessions| app(by_device(WsAuthLayer::new(timed).sessions(sessions))));
    let mut sockets = Vec::new();
    for number in 0..7 {
        sockets.push(device(&apps[number % 2], "alice.60", &number.to_string()).await);
    }
    assert_eq!(store.count(), 7, "no limit");
    for (node, sessions) in nodes.iter().enumerate() {
        for limit in 1..9 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = sessions.of_subject("alice").after(after).limit(limit).await.unwrap();
                seen.extend_from_slice(page.sessions());
                after = page.next();
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(devices(&seen), ["0", "1", "2", "3", "4", "5", "6"]);
            for (number, info) in seen.iter().enumerate() {
                assert_eq!(info.is_local(), number % 2 == node);
                let lifetime = info.expires_at().unwrap().duration_since(info.connected_at()).unwrap();
                assert!(lifetime.abs_diff(Duration::from_secs(60)) < Duration::from_millis(2), "{lifetime:?}");
            }
        }
    }

    // A refresh shows here at once, and elsewhere after the next renewal.
    sockets[0].send("alice.6000".into()).await.unwrap();
    settle().await;
    let lifetime = async |sessions: &Sessions| {
        let first = sessions.of_subject("alice").await.unwrap().into_iter().next().unwrap();
        first.expires_at().unwrap().duration_since(first.connected_at()).unwrap().as_secs() / 1000
    };
    assert_eq!((lifetime(&nodes[0]).await, lifetime(&nodes[1]).await), (6, 0));
    sleep(Duration::from_secs(21)).await;
    assert_eq!((lifetime(&nodes[0]).await, lifetime(&nodes[1]).await), (6, 6));

    // Ended sessions are gone on their node at once, and on the others as soon as their leases are.
    let id = nodes[0].of_subject("alice").await.unwrap().sessions()[2].id();
    store.release_fails.store(true, SeqCst);
    assert_eq!((nodes[1].end(id), nodes[0].end(id)), (0, 1));
    settle().await;
    assert_eq!(devices(&nodes[0].of_subject("alice").await.unwrap()), ["0", "1", "3", "4", "5", "6"]);
    assert_eq!(nodes[1].of_subject("alice").await.unwrap().sessions().len(), 7);
    store.release_fails.store(false, SeqCst);
    // What could not be released is released after the next renewal.
    sleep(Duration::from_secs(25)).await;
    assert_eq!(devices(&nodes[1].of_subject("alice").await.unwrap()), ["0", "1", "3", "4", "5", "6"]);

    // A session without a lease is listed here.
    store.remove_all_leases();
    assert_eq!(devices(&nodes[0].of_subject("alice").await.unwrap()), ["0", "4", "6"]);
}

/// The store still has the leases of sessions that have ended on this node.
#[tokio::test(start_paused = true)]
async fn pages_are_full_while_leases_wait_for_their_release() {
    let store = MemoryLimits::new();
    let nodes = [across_nodes(&store), across_nodes(&store)];
    let apps = nodes.each_ref().map(|sessions| app(by_device(WsAuthLayer::new(timed).sessions(sessions))));
    let mut sockets = Vec::new();
    for (number, node) in [0, 0, 0, 1, 0, 1, 1].into_iter().enumerate() {
        sockets.push(device(&apps[node], "alice.60", &number.to_string()).await);
    }
    let calls = store.list_calls.load(SeqCst);
    assert_eq!(nodes[0].of_subject("alice").await.unwrap().sessions().len(), 7);
    assert_eq!(store.list_calls.load(SeqCst) - calls, 1);

    store.release_fails.store(true, SeqCst);
    assert_eq!(nodes[0].end_subject("alice"), 4);
    settle().await;
    for limit in 1..9 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = nodes[0].of_subject("alice").after(after).limit(limit).await.unwrap();
            after = page.next();
            assert!(page.sessions().len() == limit || after.is_none(), "limit {limit}");
            seen.extend_from_slice(page.sessions());
            if after.is_none() {
                break;
            }
        }
        assert_eq!(devices(&seen), ["3", "5", "6"], "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_an_error() {
    let store = MemoryLimits::new();
    let sessions = across_nodes(&store);
    let app = app(WsAuthLayer::new(timed).sessions(&sessions));
    let _socket = connected(&app, "alice").await;
    let id = sessions.iter().next().unwrap().id();
    for fault in [&store.fails as &AtomicBool, &store.hangs] {
        fault.store(true, SeqCst);
        let error = sessions.of_subject("alice").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert_eq!(sessions.iter().count(), 1);
        assert!(sessions.of_subject("alice").find(id).await.unwrap().is_some(), "it is on this node");
        assert!(sessions.of_subject("bob").find(id).await.is_err());
        fault.store(false, SeqCst);
    }
    assert_eq!(sessions.of_subject("alice").await.unwrap().sessions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_evicted_session_is_not_listed() {
    let store = MemoryLimits::new();
    let limits = || Limits::new().per_subject(2, AtLimit::EvictOldest).unwrap().across_nodes(store.clone());
    let nodes = [Sessions::with_limits(limits()), Sessions::with_limits(limits())];
    let apps = nodes.each_ref().map(|sessions| app(by_device(WsAuthLayer::new(timed).sessions(sessions))));
    let mut sockets = Vec::new();
    for number in 0..5 {
        sockets.push(device(&apps[number % 2], "alice", &number.to_string()).await);
        settle().await;
    }
    for sessions in &nodes {
        assert_eq!(devices(&sessions.of_subject("alice").await.unwrap()), ["3", "4"]);
    }
    assert_eq!(closed(&mut sockets[0]).await.1, "too_many_sessions");
}

#[tokio::test]
async fn sessions_that_begin_in_the_same_moment_are_listed_once() {
    let sessions = Sessions::new();
    let now = SystemTime::now();
    let layer = WsAuthLayer::new(timed).sessions(&sessions).time_source(TimeSource::new(move || now));
    let app = app(layer);
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(connected(&app, "alice").await);
    }
    let (mut seen, mut after) = (BTreeSet::new(), None);
    loop {
        let page = sessions.of_subject("alice").after(after).limit(7).await.unwrap();
        assert!(page.sessions().iter().all(|info| seen.insert(info.id())), "listed twice");
        after = page.next();
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 50);
}

#[cfg(feature = "streams")]
#[tokio::test(start_paused = true)]
async fn an_event_stream_is_listed_as_one_on_every_node() {
    async fn events(Authenticated(_): Authenticated<String>) -> Response {
        let body = axum::body::Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
        Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
    }
    let store = MemoryLimits::new();
    let nodes = [across_nodes(&store), across_nodes(&store)];
    let layer = by_device(WsAuthLayer::new(timed).sessions(&nodes[0]));
    let app = Router::new().route("/", any(events)).layer(layer);
    let request = http::Request::get("/").header("authorization", "Bearer alice").header("user-agent", "tablet");
    let response = answer(&app, request.body(axum::body::Body::empty()).unwrap()).await;
    for sessions in &nodes {
        let page = sessions.of_subject("alice").await.unwrap();
        assert_eq!(devices(&page), ["tablet"]);
        assert_eq!(page.sessions()[0].kind(), SessionKind::Stream);
    }
    drop(response);
    settle().await;
    for sessions in &nodes {
        assert!(sessions.of_subject("alice").await.unwrap().sessions().is_empty());
    }
}
