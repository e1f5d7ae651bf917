//! Two issuers may give the same name to two users, and the same id to two tokens.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "what other tests need of it")]
#[path = "support/limits.rs"]
mod store;
mod support;

use std::future::{Ready, ready};

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{
    AtLimit, AuthenticatedUpgrade, Limits, MemoryRevocations, MemoryTickets, Revocation, Revocations, ScopedId,
    Sessions, TicketOptions, Tickets, TokenSource, Verified, VerifyError, VerifyInput, WsAuthLayer,
    test_util::handshake,
};
use futures_util::{FutureExt, StreamExt};
use http::{Request, StatusCode};
use serde_json::Value;
use store::MemoryLimits;
use support::{ClientSocket, answer, closed, connected, settle, text};

const A: &str = "https://a.example";
const B: &str = "https://b.example";
/// Whose sessions are tried: the same name at two issuers, and without one.
const HOLDERS: [&str; 3] = ["a", "b", "-"];

/// Accepts `ISSUER.SUBJECT.ID`, with `a` and `b` for the issuers and `-` for none.
fn issued(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let token = input.token.expose().to_owned();
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    let [issuer, subject, id] = &parts[..] else { return ready(Err(VerifyError::invalid())) };
    let verified = Verified::new(token.clone()).with_subject(subject.as_str()).with_token_id(id.as_str());
    ready(Ok(match issuer.as_str() {
        "a" => verified.with_issuer(A),
        "b" => verified.with_issuer(B),
        _ => verified,
    }))
}

async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

fn app(layer: WsAuthLayer) -> Router {
    Router::new().route("/", any(idle)).layer(layer)
}

async fn status(app: &Router, token: &str) -> u16 {
    answer(app, handshake().bearer_subprotocol(token).build()).await.status().as_u16()
}

async fn is_open(socket: &mut ClientSocket) -> bool {
    settle().await;
    socket.next().now_or_never().is_none()
}

fn scope(holder: &str, id: &str) -> ScopedId {
    match holder {
        "a" => ScopedId::of(A, id),
        "b" => ScopedId::of(B, id),
        _ => ScopedId::without_issuer(id),
    }
}

/// One socket for each of [`HOLDERS`], all with subject 1001 and token id 7.
async fn one_each(app: &Router) -> Vec<ClientSocket> {
    let mut sockets = Vec::new();
    for holder in HOLDERS {
        sockets.push(connected(app, &format!("{holder}.1001.7")).await);
    }
    sockets
}

/// Which of the sockets are open.
async fn open(sockets: &mut [ClientSocket]) -> Vec<bool> {
    let mut open = Vec::new();
    for socket in sockets {
        open.push(is_open(socket).await);
    }
    open
}

#[tokio::test(start_paused = true)]
async fn the_subject_of_another_issuer_takes_nobody_s_place() {
    let shared = || Limits::new().across_nodes(MemoryLimits::new());
    for (name, limits) in [("one node", Limits::new()), ("all nodes", shared())] {
        let sessions = Sessions::with_limits(limits.per_subject(1, AtLimit::EvictOldest).unwrap());
        let app = app(WsAuthLayer::new(issued).sessions(&sessions));
        let mut sockets = one_each(&app).await;
        assert_eq!(open(&mut sockets).await, [true; 3], "{name}");
        // The limit still holds within an issuer.
        let mut again = connected(&app, "a.1001.8").await;
        assert_eq!(closed(&mut sockets[0]).await.1, "too_many_sessions", "{name}");
        assert!(is_open(&mut again).await, "{name}");
        assert_eq!(open(&mut sockets[1..]).await, [true; 2], "{name}");
    }
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    let app = app(WsAuthLayer::new(issued).sessions(&sessions));
    let _sockets = one_each(&app).await;
    for holder in HOLDERS {
        assert_eq!(status(&app, &format!("{holder}.1001.8")).await, 429, "{holder}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_count_the_subjects_of_two_issuers_apart() {
    let store = MemoryLimits::new();
    let node = || {
        let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(store.clone());
        app(WsAuthLayer::new(issued).sessions(&Sessions::with_limits(limits)))
    };
    let (here, there) = (node(), node());
    let mut sockets = one_each(&here).await;
    let mut other = connected(&there, "b.1001.9").await;
    assert_eq!(closed(&mut sockets[1]).await.1, "too_many_sessions");
    assert!(is_open(&mut sockets[0]).await && is_open(&mut sockets[2]).await && is_open(&mut other).await);
    assert_eq!(store.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_order_ends_the_sessions_of_the_issuer_that_it_names() {
    for (number, holder) in HOLDERS.into_iter().enumerate() {
        let expected: Vec<bool> = (0..3).map(|other| other != number).collect();

        let sessions = Sessions::new();
        let app = app(WsAuthLayer::new(issued).sessions(&sessions));
        let mut sockets = one_each(&app).await;
        assert_eq!(sessions.end_subject(scope(holder, "1002")), 0, "{holder}");
        assert_eq!(sessions.end_subject(scope(holder, "1001")), 1, "{holder}");
        assert_eq!(open(&mut sockets).await, expected, "{holder}");

        let mut sockets = one_each(&app).await;
        assert_eq!(sessions.end_token(scope(holder, "8")), 0, "{holder}");
        // Those of the first three that are left have the same token id.
        assert_eq!(sessions.end_token(scope(holder, "7")), 1, "{holder}");
        assert_eq!(open(&mut sockets).await, expected, "{holder}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_without_an_issuer_is_about_all_of_them() {
    let sessions = Sessions::new();
    let app = app(WsAuthLayer::new(issued).sessions(&sessions));
    let sockets = one_each(&app).await;
    assert_eq!(sessions.end_subject(ScopedId::any_issuer("1001")), 3);
    assert_eq!(sessions.end_subject("1001"), 0);
    drop(sockets);
    let sockets = one_each(&app).await;
    assert_eq!(sessions.end_token("7"), 3);
    drop(sockets);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_about_the_issuer_that_it_names() {
    for (number, holder) in HOLDERS.into_iter().enumerate() {
        for by_token in [false, true] {
            let revocations = Revocations::new(MemoryRevocations::new());
            let app = app(WsAuthLayer::new(issued).revocations(&revocations));
            let mut sockets = one_each(&app).await;
            if by_token {
                revocations.revoke_token(scope(holder, "7")).await.unwrap();
            } else {
                revocations.revoke_subject(scope(holder, "1001")).await.unwrap();
            }
            let expected: Vec<bool> = (0..3).map(|other| other != number).collect();
            assert_eq!(open(&mut sockets).await, expected, "{holder}, by token: {by_token}");
            for (other, is_open) in HOLDERS.into_iter().zip(expected) {
                let status = status(&app, &format!("{other}.1001.7")).await;
                assert_eq!(status, if is_open { 101 } else { 401 }, "{other} after {holder}, by token: {by_token}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_without_an_issuer_is_about_all_of_them() {
    for by_token in [false, true] {
        let revocations = Revocations::new(MemoryRevocations::new());
        let app = app(WsAuthLayer::new(issued).revocations(&revocations));
        let mut sockets = one_each(&app).await;
        if by_token {
            revocations.revoke_token("7").await.unwrap();
        } else {
            revocations.revoke_subject("1001").await.unwrap();
        }
        assert_eq!(open(&mut sockets).await, [false; 3], "by token: {by_token}");
        for holder in HOLDERS {
            assert_eq!(status(&app, &format!("{holder}.1001.7")).await, 401, "{holder}, by token: {by_token}");
        }
    }
}

/// Log-out is about the user who asks for it.
#[tokio::test(start_paused = true)]
async fn a_session_names_its_subject_with_the_issuer() {
    let sessions = Sessions::new();
    let app = app(WsAuthLayer::new(issued).sessions(&sessions));
    let _sockets = one_each(&app).await;
    let mut subjects: Vec<_> = sessions.iter().map(|info| info.scoped_subject().unwrap()).collect();
    subjects.sort_by_key(|subject| subject.issuer().map(str::to_owned));
    assert_eq!(subjects, [scope("-", "1001"), scope("a", "1001"), scope("b", "1001")]);
    assert_eq!(sessions.iter().filter(|info| info.issuer() == Some(A)).count(), 1);
    for subject in subjects {
        assert_eq!(sessions.end_subject(&subject), 1, "{subject}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_a_session_of_the_issuer_that_it_was_bought_with() {
    let sessions = Sessions::new();
    let tickets = Tickets::<String>::new(MemoryTickets::new());
    let redeeming = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap().sessions(&sessions);
    let app = Router::new()
        .route("/ticket", tickets.route(TicketOptions::new()))
        .layer(WsAuthLayer::new(issued))
        .route("/", any(idle).layer(redeeming));
    let mut sockets = Vec::new();
    for holder in HOLDERS {
        let request = Request::post("/ticket").header("authorization", format!("Bearer {holder}.1001.7"));
        let response = answer(&app, request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let ticket: Value = serde_json::from_str(&text(response).await).unwrap();
        let request = handshake().path(format!("/?ticket={}", ticket["ticket"].as_str().unwrap())).build();
        sockets.push(axum_ws_auth::test_util::connect(app.clone(), request).await.unwrap().0);
    }
    assert_eq!(sessions.end_subject(ScopedId::of(B, "1001")), 1);
    assert_eq!(open(&mut sockets).await, [true, false, true]);
}

#[test]
fn an_order_is_written_with_its_issuer() {
    let cases = [
        (ScopedId::any_issuer("1"), r#"{"Token":{"id":"1"}}"#),
        (ScopedId::without_issuer("1"), r#"{"Token":{"id":"1","issuer":"unnamed"}}"#),
        (ScopedId::of(A, "1"), r#"{"Token":{"id":"1","issuer":{"named":"https://a.example"}}}"#),
    ];
    for (id, expected) in cases {
        let order = Revocation::Token(id.clone());
        let written = serde_json::to_string(&order).unwrap();
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_str::<Revocation>(&written).unwrap(), order);
    }
    // An order that is not understood may be about anybody: it is an error, and not a guess.
    for unknown in [r#"{"Token":{"id":"1","issuer":"x"}}"#, r#"{"Token":{"id":"1","realm":"x"}}"#, r#"{"Token":"1"}"#] {
        assert!(serde_json::from_str::<Revocation>(unknown).is_err(), "{unknown}");
    }
}
