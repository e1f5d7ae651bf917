//! axum's own `WebSocket`, closed when its session ends.

mod support;

use axum::{
    Router,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    response::Response,
    routing::any,
};
use axum_ws_auth::{Authenticated, Session};
use futures_util::{SinkExt, StreamExt};
use support::{assert_closed_and_slot_freed, layer};

/// One task waits for messages and for the end. It owns the session, and drops it with the socket.
async fn in_one_task(Authenticated(session): Authenticated<String>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        loop {
            tokio::select! {
                reason = session.ended() => {
                    let code = session.close_code().unwrap_or(1000);
                    let close = CloseFrame { code, reason: reason.as_str().into() };
                    let _ = socket.send(Message::Close(Some(close))).await;
                    return;
                }
                message = socket.recv() => {
                    let Some(Ok(message)) = message else { return };
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
}

/// One task reads, another waits for the end. The reader owns the session, because it notices when the client leaves.
/// The other owns a watcher, which does not keep the session alive.
async fn in_two_tasks(Authenticated(session): Authenticated<String>, upgrade: WebSocketUpgrade) -> Response {
    async fn read(
        session: Session<String>,
        mut stream: impl futures_util::Stream<Item = Result<Message, axum::Error>> + Unpin,
    ) {
        while let Some(Ok(message)) = stream.next().await {
            println!("{:?} says {message:?}", session.subject());
        }
    }
    upgrade.on_upgrade(async move |socket: WebSocket| {
        let (mut sink, stream) = socket.split();
        let watcher = session.watch();
        let closer = tokio::spawn(async move {
            let reason = watcher.ended().await;
            let code = watcher.close_code().unwrap_or(1000);
            let _ = sink.send(Message::Close(Some(CloseFrame { code, reason: reason.as_str().into() }))).await;
        });
        read(session, stream).await;
        let _ = closer.await;
    })
}

#[tokio::test]
async fn ending_the_session_closes_the_socket_of_one_task() {
    let (layer, sessions) = layer();
    let app = Router::new().route("/", any(in_one_task)).layer(layer);
    assert_closed_and_slot_freed(app, sessions).await;
}

#[tokio::test]
async fn ending_the_session_closes_the_socket_of_two_tasks() {
    let (layer, sessions) = layer();
    let app = Router::new().route("/", any(in_two_tasks)).layer(layer);
    assert_closed_and_slot_freed(app, sessions).await;
}
