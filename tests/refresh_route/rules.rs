//! The rules of `Session::refresh`.

use std::{
    future::ready,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use axum::routing::get;
use axum_ws_auth::{Authenticated, MemoryRevocations, PathParams, Revocations, SessionKind};
use tokio::sync::Semaphore;

use super::*;
use crate::support::closed;

#[tokio::test(start_paused = true)]
async fn socket_lives_beyond_its_old_deadline() {
    let node = Node::new();
    let (mut socket, session) = node.open("alice.60").await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(node.refresh(session.id(), "alice.120").await.expires_in(), 119);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(session.end_reason(), None);
    assert_eq!(closed(&mut socket).await, (3000, "token_expired".to_owned()));
    assert_eq!(node.refresh(session.id(), "alice.120").await.error(), (404, "unknown_session"));
}

#[tokio::test(start_paused = true)]
async fn max_lifetime_holds() {
    let node = Node::with_layer(WsAuthLayer::new(timed).max_lifetime(Duration::from_secs(100)).unwrap());
    let (mut socket, session) = node.open("alice.60").await;
    assert!(node.refresh(session.id(), "alice.3600").await.expires_in() <= 100);
    assert_eq!(closed(&mut socket).await.1, EndReason::MaxLifetime.as_str());
}

#[tokio::test(start_paused = true)]
async fn session_without_a_deadline_expires_never() {
    let node = Node::new();
    let (_socket, session) = node.open("alice").await;
    assert_eq!(node.refresh(session.id(), "alice").await.body, serde_json::json!({ "expires_in": null }));
}

#[tokio::test(start_paused = true)]
async fn revoked_token_is_refused() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let node = Node::with_layer(WsAuthLayer::new(timed).revocations(&revocations));
    let (_socket, session) = node.open("alice.60.1").await;
    revocations.revoke_token("2").await.unwrap();
    assert_eq!(node.refresh(session.id(), "alice.3600.2").await.error(), (401, "invalid_token"));
    assert_eq!(*session.claims(), "alice.60.1");
    assert_eq!(node.refresh(session.id(), "alice.3600.3").await.status, 200);
    // From now on, the session is found by its new token.
    revocations.revoke_token("3").await.unwrap();
    assert_eq!(session.end_reason(), Some(EndReason::Revoked));
}

#[tokio::test(start_paused = true)]
async fn same_subject_of_another_issuer_is_somebody_else() {
    // Tokens are `SUBJECT/ISSUER`.
    let node = Node::with_verifier(|input: VerifyInput<'_>| {
        let text = input.token.expose().to_owned();
        let (subject, issuer) = text.split_once('/').unwrap();
        let verified = Verified::new(text.clone()).with_subject(subject).with_issuer(issuer);
        ready(Ok::<_, VerifyError>(verified))
    });
    let (_socket, session) = node.open("alice/one").await;
    assert_eq!(node.refresh(session.id(), "alice/two").await.error(), (404, "unknown_session"));
    assert_eq!(node.refresh(session.id(), "alice/one").await.status, 200);
}

/// Tokens are those of [`timed`], with the rooms that they are for as their id. `-` separates rooms.
fn of_room(claims: &str, parts: &http::request::Parts) -> Result<(), VerifyError> {
    let room: String = PathParams::of(parts).parse("room")?;
    let rooms = claims.split('.').nth(2).unwrap_or_default();
    let allowed = rooms.split('-').any(|allowed| *allowed == room);
    if allowed { Ok(()) } else { Err(VerifyError::insufficient_scope(format!("room:{room}"))) }
}

#[tokio::test(start_paused = true)]
async fn verifier_decides_by_the_path_of_the_handshake() {
    let node = Node::with_verifier(timed.authorize(|claims: &String, parts: &_| of_room(claims, parts)));
    let open = |room: &str| handshake().path(format!("/rooms/{room}")).authorization("alice.60.red");
    let (_socket, session) = node.open_with(open("red")).await;
    // The path of the refresh has no room, so the layer's verifier forbids it. That is not what counts.
    assert_eq!(node.refresh(session.id(), "alice.3600.red-blue").await.status, 200);
    assert_eq!(*session.claims(), "alice.3600.red-blue");
    // Whose token it is remains unknown then, and so does the session.
    assert_eq!(node.refresh(session.id(), "alice.3600.blue").await.error(), (404, "unknown_session"));
    assert_eq!(node.refresh(session.id(), "bob.3600.red").await.error(), (404, "unknown_session"));
    assert_eq!(node.refresh(session.id(), "bad").await.error(), (401, "invalid_token"));
    assert_eq!(*session.claims(), "alice.3600.red-blue");
}

#[tokio::test(start_paused = true)]
async fn only_the_subject_is_told_that_its_token_is_insufficient() {
    // Forbids only where there is a room, so the layer knows whose token it is.
    let verifier =
        timed.authorize(
            |claims, parts| {
                if PathParams::of(parts).get("room").is_some() { of_room(claims, parts) } else { Ok(()) }
            },
        );
    let node = Node::with_verifier(verifier);
    let (_socket, session) = node.open_with(handshake().path("/rooms/red").authorization("alice.60.red")).await;
    let answer = node.refresh(session.id(), "alice.3600.blue").await;
    assert_eq!(answer.error(), (403, "insufficient_scope"));
    let challenge = r#"Bearer realm="websocket", error="insufficient_scope", scope="room:red""#;
    assert_eq!(answer.challenge.as_deref(), Some(challenge));
    assert_eq!(node.refresh(session.id(), "bob.3600.blue").await.error(), (404, "unknown_session"));
    assert_eq!(*session.claims(), "alice.60.red");
}

/// A verifier of [`timed`] tokens that waits for permits, and can be out of order, for handshakes' heads only.
#[derive(Clone)]
struct Slow {
    is_slow: Arc<AtomicBool>,
    is_down: Arc<AtomicBool>,
    permits: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        Self { is_slow: Arc::default(), is_down: Arc::default(), permits: Arc::new(Semaphore::new(0)) }
    }
}

impl Verifier for Slow {
    type Claims = String;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
        if input.parts.method == http::Method::GET {
            if self.is_down.load(SeqCst) {
                return Err(VerifyError::unavailable(Duration::from_millis(6500)));
            }
            if self.is_slow.load(SeqCst) {
                self.permits.acquire().await.unwrap().forget();
            }
        }
        timed(input).await
    }
}

#[tokio::test(start_paused = true)]
async fn first_of_several_tokens_wins() {
    let verifier = Slow::new();
    let node = Arc::new(Node::with_verifier(verifier.clone()));
    let (_socket, session) = node.open("alice.60").await;
    verifier.is_slow.store(true, SeqCst);
    let start = |token: &'static str| {
        let (node, id) = (Arc::clone(&node), session.id());
        tokio::spawn(async move { node.refresh(id, token).await })
    };
    let (first, second) = (start("alice.3600"), start("alice.7200"));
    settle().await;
    verifier.permits.add_permits(1);
    assert_eq!(first.await.unwrap().status, 200);
    verifier.permits.add_permits(1);
    assert_eq!(second.await.unwrap().error(), (409, "refresh_in_progress"));
    assert_eq!(*session.claims(), "alice.3600", "a slower verification undoes nothing");

    // A refresh by the handler is in progress for as long as its verification.
    let handler = tokio::spawn({
        let session = session.clone();
        async move { session.refresh(axum_ws_auth::Token::new("alice.7200")).await }
    });
    settle().await;
    verifier.is_slow.store(false, SeqCst);
    assert_eq!(node.refresh(session.id(), "alice.1800").await.error(), (409, "refresh_in_progress"));
    verifier.permits.add_permits(1);
    handler.await.unwrap().unwrap();
    assert_eq!(*session.claims(), "alice.7200");
}

#[tokio::test(start_paused = true)]
async fn unavailable_verifier_is_unavailable_to_the_subject() {
    let verifier = Slow::new();
    let node = Node::with_verifier(verifier.clone());
    let (_socket, session) = node.open("alice.60").await;
    verifier.is_down.store(true, SeqCst);
    let answer = node.refresh(session.id(), "alice.3600").await;
    assert_eq!((answer.error(), answer.retry_after.as_deref()), ((503, "unavailable"), Some("7")));
    assert_eq!(node.refresh(session.id(), "bob.3600").await.error(), (404, "unknown_session"));

    // It takes too long.
    verifier.is_down.store(false, SeqCst);
    verifier.is_slow.store(true, SeqCst);
    assert_eq!(node.refresh(session.id(), "alice.3600").await.error(), (503, "unavailable"));
    assert_eq!(*session.claims(), "alice.60");
}

#[tokio::test(start_paused = true)]
async fn unavailable_layer_is_unavailable_to_all() {
    let down = |_: VerifyInput<'_>| ready(Err::<Verified<String>, _>(VerifyError::unavailable(Duration::from_secs(3))));
    let node = Node::with_verifier(down);
    let id = "0123456789abcdef0000000000000001".parse().unwrap();
    let answer = node.refresh(id, "alice.3600").await;
    assert_eq!((answer.error(), answer.retry_after.as_deref()), ((503, "unavailable"), Some("3")));
}

#[tokio::test(start_paused = true)]
async fn sessions_of_plain_requests_are_refreshed_while_they_are_held() {
    let held = Arc::new(Mutex::new(None));
    let hold = {
        let held = Arc::clone(&held);
        async move |Authenticated(session): Authenticated<String>| {
            *held.lock().unwrap() = Some(session);
        }
    };
    let layer = WsAuthLayer::new(timed).sessions(&Sessions::new());
    let refresh = layer.refresh_route().unwrap();
    let app = Router::new().route("/events", get(hold)).layer(layer).route("/refresh/{session}", refresh);
    let request = Request::get("/events").header("authorization", "Bearer alice.60").body(Body::empty()).unwrap();
    assert_eq!(answer(&app, request).await.status(), StatusCode::OK);
    let session = held.lock().unwrap().take().unwrap();
    let request = || post(&format!("/refresh/{}", session.id()), &[("authorization", "Bearer alice.3600")]);
    assert_eq!(answer(&app, request()).await.status(), StatusCode::OK);
    assert_eq!(*session.claims(), "alice.3600");
    let request = request();
    drop(session);
    assert_eq!(answer(&app, request).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn streams_are_refreshed_like_sockets() {
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(timed).sessions(&sessions);
    let refresh = layer.refresh_route().unwrap();
    let events = async || {
        let silence = futures_util::stream::pending::<Result<axum::body::Bytes, std::convert::Infallible>>();
        ([("content-type", "text/event-stream")], Body::from_stream(silence))
    };
    let app = Router::new().route("/events", get(events)).layer(layer).route("/refresh/{session}", refresh);
    let request = Request::get("/events").header("authorization", "Bearer alice.60").body(Body::empty()).unwrap();
    let response = answer(&app, request).await;
    let session = sessions.iter().next().expect("it is registered");
    assert_eq!(session.kind(), SessionKind::Stream);

    let begin = tokio::time::Instant::now();
    let request = post(&format!("/refresh/{}", session.id()), &[("authorization", "Bearer alice.3600")]);
    assert_eq!(answer(&app, request).await.status(), StatusCode::OK);
    assert!(text(response).await.contains(r#"{"reason":"token_expired"}"#));
    assert!(begin.elapsed() >= Duration::from_secs(3599), "{:?}", begin.elapsed());
}
