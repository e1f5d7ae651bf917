//! Whatever the connection is, its session is rechecked, and nothing is left when it ends.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::ws::{CloseFrame, Message, WebSocketUpgrade},
    response::Response,
    routing::any,
};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, FirstMessage, FirstToken, Sessions, Token, VerifyError, WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message as ClientMessage;

use crate::{Answers, PERIOD, accepted, accepted_for_good, layer, open, races::alive_tasks, support::*};

/// Closes axum's own socket when the session ends.
async fn axum_socket(Authenticated(session): Authenticated<String>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        loop {
            tokio::select! {
                message = socket.recv() => if !matches!(message, Some(Ok(_))) { return },
                reason = session.ended() => {
                    let code = session.close_code().unwrap_or(1000);
                    let frame = CloseFrame { code, reason: reason.as_str().into() };
                    let _ = socket.send(Message::Close(Some(frame))).await;
                    return;
                }
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn axums_own_socket_is_rechecked() {
    let answers = Answers::yes();
    let app = Router::new().route("/", any(axum_socket)).layer(layer(answers.clone()));
    let mut client = connected(&app, "alice").await;
    sleep(PERIOD * 3).await;
    assert!(answers.count() >= 4, "{}", answers.count());
    answers.set(|_| Err(VerifyError::invalid()));
    let Some(Ok(ClientMessage::Close(Some(frame)))) = client.next().await else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
}

#[tokio::test(start_paused = true)]
async fn session_of_a_first_message_is_rechecked() {
    let answers = Answers::yes();
    let first_message = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))));
    let app = idle_behind(layer(answers.clone()).first_message(first_message));
    let (mut client, _) = test_util::connect(app, handshake().build()).await.unwrap();
    client.send("alice".into()).await.unwrap();
    sleep(PERIOD * 3).await;
    assert!(answers.count() >= 4, "{}", answers.count());
    answers.set(|_| Err(VerifyError::invalid()));
    assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
}

pub(crate) fn idle_behind(layer: WsAuthLayer) -> Router {
    let handler = async |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    Router::new().route("/", any(handler)).layer(layer)
}

#[tokio::test(start_paused = true)]
async fn plain_request_is_not_rechecked() {
    let (answers, sessions) = (Answers::yes(), Sessions::new());
    let handler = async |Authenticated(session): Authenticated<String>| {
        sleep(PERIOD * 10).await;
        format!("{:?}", session.end_reason())
    };
    let layer = layer(answers.clone()).sessions(&sessions);
    let app = Router::new().route("/", any(handler)).layer(layer);
    let response = tokio::spawn(async move { text(answer(&app, plain_request("alice")).await).await });
    sleep(PERIOD * 2).await;
    assert_eq!(sessions.recheck_subject("alice"), 0);
    assert_eq!(response.await.unwrap(), "None");
    assert_eq!(answers.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left_when_the_session_ends() {
    let sessions = Sessions::new();
    let answers = Answers::yes();
    let new = || layer(answers.clone()).sessions(&sessions);
    let before = alive_tasks();
    let (client, session) = open(new(), "alice").await;
    sleep(PERIOD * 3).await;
    let during = alive_tasks();
    drop((client, session));
    sleep(Duration::from_secs(3)).await;
    assert_eq!((alive_tasks(), sessions.count()), (before, 0));

    // A session without a recheck has one task less.
    answers.set(|token| Ok(accepted_for_good(token)));
    let _open = open(new(), "alice").await;
    sleep(PERIOD * 3).await;
    assert_eq!(alive_tasks(), during - 1);
}

#[tokio::test(start_paused = true)]
async fn session_that_nobody_watches_leaves_no_task() {
    let sessions = Sessions::new();
    let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::MAX)));
    let layer = layer(answers.clone()).sessions(&sessions);
    let kept = crate::sessions_of(layer, ["alice".to_owned(), "bob".to_owned()]).await;
    settle().await;
    assert_eq!(alive_tasks(), 2);
    drop(kept);
    settle().await;
    assert_eq!((alive_tasks(), sessions.count()), (0, 0));
}

#[cfg(feature = "streams")]
#[tokio::test(start_paused = true)]
async fn stream_is_rechecked() {
    let (answers, sessions) = (Answers::yes(), Sessions::new());
    // The handler keeps no session.
    let events = async || {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        ([("content-type", "text/event-stream")], body)
    };
    let app = Router::new().route("/", any(events)).layer(layer(answers.clone()).sessions(&sessions));
    let response = answer(&app, plain_request("alice")).await;
    let start = Instant::now();
    let body = tokio::spawn(text(response));
    sleep(PERIOD * 3).await;
    assert!(answers.count() >= 4, "{}", answers.count());
    answers.set(|_| Err(VerifyError::invalid()));
    assert!(body.await.unwrap().contains("revoked"));
    assert!(start.elapsed() <= PERIOD * 4);
    settle().await;
    assert_eq!((alive_tasks(), sessions.count()), (0, 0));
}

/// Its handler took the request before the recheck was asked for.
#[cfg(feature = "streams")]
#[tokio::test(start_paused = true)]
async fn recheck_on_demand_before_the_response_is_that_of_a_stream() {
    let sessions = Sessions::new();
    let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::MAX)));
    let events = async || {
        sleep(Duration::from_secs(1)).await;
        let body = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        ([("content-type", "text/event-stream")], body)
    };
    let app = Router::new().route("/", any(events)).layer(layer(answers.clone()).sessions(&sessions));
    let body = tokio::spawn(async move { text(answer(&app, plain_request("alice")).await).await });
    settle().await;
    answers.set(|_| Err(VerifyError::invalid()));
    let start = Instant::now();
    assert_eq!(sessions.recheck_subject("alice"), 0, "it may stay a plain request");
    assert!(timeout(PERIOD, body).await.unwrap().unwrap().contains("revoked"));
    assert_eq!(start.elapsed().as_secs(), 1);
}

fn plain_request(token: &str) -> Request<Body> {
    Request::get("/").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}
