//! Subjects and token ids are scoped by issuer: two issuers can use the same ones.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

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
/// Two issuers, and `-` for no issuer.
const ISSUERS: [&str; 3] = ["a", "b", "-"];

/// A verifier for tokens `ISSUER.SUBJECT.ID`, with an issuer from [`ISSUERS`].
fn scoped(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
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

fn scope(issuer: &str, id: &str) -> ScopedId {
    match issuer {
        "a" => ScopedId::of(A, id),
        "b" => ScopedId::of(B, id),
        _ => ScopedId::without_issuer(id),
    }
}

/// Opens one socket for each of [`ISSUERS`], all with subject 1001 and token id 7.
async fn connect_each(app: &Router) -> Vec<ClientSocket> {
    let mut sockets = Vec::new();
    for issuer in ISSUERS {
        sockets.push(connected(app, &format!("{issuer}.1001.7")).await);
    }
    sockets
}

/// Which of the sockets are open.
async fn are_open(sockets: &mut [ClientSocket]) -> Vec<bool> {
    let mut open = Vec::new();
    for socket in sockets {
        open.push(is_open(socket).await);
    }
    open
}

#[tokio::test(start_paused = true)]
async fn limits_count_subjects_by_issuer() {
    let shared = || Limits::new().across_nodes(MemoryLimits::new());
    for (name, limits) in [("one node", Limits::new()), ("all nodes", shared())] {
        let sessions = Sessions::with_limits(limits.per_subject(1, AtLimit::EvictOldest).unwrap());
        let app = app(WsAuthLayer::new(scoped).sessions(&sessions));
        let mut sockets = connect_each(&app).await;
        assert_eq!(are_open(&mut sockets).await, [true; 3], "{name}");
        // The limit applies within an issuer.
        let mut again = connected(&app, "a.1001.8").await;
        assert_eq!(closed(&mut sockets[0]).await.1, "too_many_sessions", "{name}");
        assert!(is_open(&mut again).await, "{name}");
        assert_eq!(are_open(&mut sockets[1..]).await, [true; 2], "{name}");
    }
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    let app = app(WsAuthLayer::new(scoped).sessions(&sessions));
    let _sockets = connect_each(&app).await;
    for issuer in ISSUERS {
        assert_eq!(status(&app, &format!("{issuer}.1001.8")).await, 429, "{issuer}");
    }
}

#[tokio::test(start_paused = true)]
async fn shared_limits_count_subjects_by_issuer() {
    let store = MemoryLimits::new();
    let node = || {
        let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap().across_nodes(store.clone());
        app(WsAuthLayer::new(scoped).sessions(&Sessions::with_limits(limits)))
    };
    let (here, there) = (node(), node());
    let mut sockets = connect_each(&here).await;
    let mut other = connected(&there, "b.1001.9").await;
    assert_eq!(closed(&mut sockets[1]).await.1, "too_many_sessions");
    assert!(is_open(&mut sockets[0]).await && is_open(&mut sockets[2]).await && is_open(&mut other).await);
    assert_eq!(store.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn ending_by_subject_or_token_affects_the_given_issuer_only() {
    for (number, issuer) in ISSUERS.into_iter().enumerate() {
        let expected: Vec<bool> = (0..3).map(|other| other != number).collect();

        let sessions = Sessions::new();
        let app = app(WsAuthLayer::new(scoped).sessions(&sessions));
        let mut sockets = connect_each(&app).await;
        assert_eq!(sessions.end_subject(scope(issuer, "1002")), 0, "{issuer}");
        assert_eq!(sessions.end_subject(scope(issuer, "1001")), 1, "{issuer}");
        assert_eq!(are_open(&mut sockets).await, expected, "{issuer}");

        let mut sockets = connect_each(&app).await;
        assert_eq!(sessions.end_token(scope(issuer, "8")), 0, "{issuer}");
        // The remaining sockets of the first three have other issuers.
        assert_eq!(sessions.end_token(scope(issuer, "7")), 1, "{issuer}");
        assert_eq!(are_open(&mut sockets).await, expected, "{issuer}");
    }
}

#[tokio::test(start_paused = true)]
async fn ending_without_an_issuer_affects_all_issuers() {
    let sessions = Sessions::new();
    let app = app(WsAuthLayer::new(scoped).sessions(&sessions));
    let sockets = connect_each(&app).await;
    assert_eq!(sessions.end_subject(ScopedId::any_issuer("1001")), 3);
    assert_eq!(sessions.end_subject("1001"), 0);
    drop(sockets);
    let sockets = connect_each(&app).await;
    assert_eq!(sessions.end_token("7"), 3);
    drop(sockets);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_affects_the_given_issuer_only() {
    for (number, issuer) in ISSUERS.into_iter().enumerate() {
        for by_token in [false, true] {
            let revocations = Revocations::new(MemoryRevocations::new());
            let app = app(WsAuthLayer::new(scoped).revocations(&revocations));
            let mut sockets = connect_each(&app).await;
            if by_token {
                revocations.revoke_token(scope(issuer, "7")).await.unwrap();
            } else {
                revocations.revoke_subject(scope(issuer, "1001")).await.unwrap();
            }
            let expected: Vec<bool> = (0..3).map(|other| other != number).collect();
            assert_eq!(are_open(&mut sockets).await, expected, "{issuer}, by token: {by_token}");
            for (other, is_open) in ISSUERS.into_iter().zip(expected) {
                let status = status(&app, &format!("{other}.1001.7")).await;
                assert_eq!(status, if is_open { 101 } else { 401 }, "{other} after {issuer}, by token: {by_token}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_without_an_issuer_affects_all_issuers() {
    for by_token in [false, true] {
        let revocations = Revocations::new(MemoryRevocations::new());
        let app = app(WsAuthLayer::new(scoped).revocations(&revocations));
        let mut sockets = connect_each(&app).await;
        if by_token {
            revocations.revoke_token("7").await.unwrap();
        } else {
            revocations.revoke_subject("1001").await.unwrap();
        }
        assert_eq!(are_open(&mut sockets).await, [false; 3], "by token: {by_token}");
        for issuer in ISSUERS {
            assert_eq!(status(&app, &format!("{issuer}.1001.7")).await, 401, "{issuer}, by token: {by_token}");
        }
    }
}

/// So that logging out ends the sessions of that user only.
#[tokio::test(start_paused = true)]
async fn session_info_scopes_the_subject_by_issuer() {
    let sessions = Sessions::new();
    let app = app(WsAuthLayer::new(scoped).sessions(&sessions));
    let _sockets = connect_each(&app).await;
    let mut subjects: Vec<_> = sessions.iter().map(|info| info.scoped_subject().unwrap()).collect();
    subjects.sort_by_key(|subject| subject.issuer().map(str::to_owned));
    assert_eq!(subjects, [scope("-", "1001"), scope("a", "1001"), scope("b", "1001")]);
    assert_eq!(sessions.iter().filter(|info| info.issuer() == Some(A)).count(), 1);
    for subject in subjects {
        assert_eq!(sessions.end_subject(&subject), 1, "{subject}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_keeps_the_issuer_of_its_token() {
    let sessions = Sessions::new();
    let tickets = Tickets::<String>::new(MemoryTickets::new());
    let redeeming = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap().sessions(&sessions);
    let app = Router::new()
        .route("/ticket", tickets.route(TicketOptions::new()))
        .layer(WsAuthLayer::new(scoped))
        .route("/", any(idle).layer(redeeming));
    let mut sockets = Vec::new();
    for issuer in ISSUERS {
        let request = Request::post("/ticket").header("authorization", format!("Bearer {issuer}.1001.7"));
        let response = answer(&app, request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let ticket: Value = serde_json::from_str(&text(response).await).unwrap();
        let request = handshake().path(format!("/?ticket={}", ticket["ticket"].as_str().unwrap())).build();
        sockets.push(axum_ws_auth::test_util::connect(app.clone(), request).await.unwrap().0);
    }
    assert_eq!(sessions.end_subject(ScopedId::of(B, "1001")), 1);
    assert_eq!(are_open(&mut sockets).await, [true, false, true]);
}

#[test]
fn a_revocation_is_serialized_with_its_issuer() {
    let cases = [
        (ScopedId::any_issuer("1"), r#"{"Token":{"id":"1"}}"#),
        (ScopedId::without_issuer("1"), r#"{"Token":{"id":"1","issuer":"unnamed"}}"#),
        (ScopedId::of(A, "1"), r#"{"Token":{"id":"1","issuer":{"named":"https://a.example"}}}"#),
    ];
    for (id, expected) in cases {
        let revocation = Revocation::Token(id.clone());
        let json = serde_json::to_string(&revocation).unwrap();
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Revocation>(&json).unwrap(), revocation);
    }
    // An unknown format is an error, because ignoring it could miss a revocation.
    for unknown in [r#"{"Token":{"id":"1","issuer":"x"}}"#, r#"{"Token":{"id":"1","realm":"x"}}"#, r#"{"Token":"1"}"#] {
        assert!(serde_json::from_str::<Revocation>(unknown).is_err(), "{unknown}");
    }
}
