//! A server on loopback with its layer, and a client.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part, and a test may panic")]

use std::{future::ready, time::Duration};

use axum::Router;
use axum_ws_auth::{AtLimit, CloseCodes, Limits, Sessions, Verified, VerifyInput, WsAuthLayer};
use futures_util::StreamExt;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

pub(crate) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Much longer than any step takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Allows one connection per user. The token is the user's name.
pub(crate) fn layer() -> (WsAuthLayer, Sessions) {
    let verifier = |input: VerifyInput<'_>| {
        let name = input.token.expose().to_owned();
        ready(Ok(Verified::new(name.clone()).with_subject(name)))
    };
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    (WsAuthLayer::new(verifier).sessions(&sessions).close_codes(CloseCodes::HTTP_LIKE), sessions)
}

/// Serves the app, and returns `host:port`.
pub(crate) async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Connects as alice.
///
/// # Errors
///
/// The status, if the handshake is refused.
pub(crate) async fn connect(address: &str, path: &str) -> Result<Client, u16> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", "Bearer alice".parse().unwrap());
    match connect_async(request).await {
        Ok((client, _)) => Ok(client),
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => unreachable!("{error}"),
    }
}

pub(crate) async fn next(client: &mut Client) -> Message {
    timeout(TIMEOUT, client.next()).await.unwrap().unwrap().unwrap()
}

/// Waits for the server to close the socket, and returns its close code and reason.
pub(crate) async fn closed(client: &mut Client) -> (u16, String) {
    let Message::Close(Some(frame)) = next(client).await else { unreachable!("a close frame") };
    // The next read sends the answer. Then the server drops the connection.
    assert!(!matches!(timeout(TIMEOUT, client.next()).await, Err(_) | Ok(Some(Ok(_)))));
    (frame.code.into(), frame.reason.to_string())
}

/// Waits until no connection is counted.
pub(crate) async fn slot_freed(sessions: &Sessions) {
    let none_counted = async {
        while sessions.count() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(TIMEOUT, none_counted).await.expect("the slot is freed with the socket");
}

/// For libraries whose sockets can be closed with a code: ending the session closes the socket. When the socket is gone,
/// closed by either side, the user's only slot is free.
pub(crate) async fn assert_closed_and_slot_freed(app: Router, sessions: Sessions) {
    let address = serve(app).await;
    for _ in 0..3 {
        // The server closes it.
        let mut client = connect(&address, "/").await.expect("the slot is free");
        assert_eq!(connect(&address, "/").await.err(), Some(429), "the slot is taken");
        assert_eq!(sessions.end_subject("alice"), 1);
        assert_eq!(closed(&mut client).await, (4401, "revoked".to_owned()));
        slot_freed(&sessions).await;

        // The client closes it, and then drops another one.
        let mut client = connect(&address, "/").await.expect("the slot is free");
        client.close(None).await.unwrap();
        slot_freed(&sessions).await;
        drop(connect(&address, "/").await.expect("the slot is free"));
        slot_freed(&sessions).await;
    }
}
