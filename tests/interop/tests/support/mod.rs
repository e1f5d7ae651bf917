//! A server on loopback, its layer, and a client.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part, and a test may panic")]

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

/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection for each user. The token is the name of the user.
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

/// Connects alice. Fails with the status of the refusal.
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
    timeout(PATIENCE, client.next()).await.unwrap().unwrap().unwrap()
}

/// Waits for the server to close the socket, and returns its close code and reason.
pub(crate) async fn closed(client: &mut Client) -> (u16, String) {
    let Message::Close(Some(frame)) = next(client).await else { unreachable!("a close frame") };
    // The answer to it is sent by the next read. The server drops the connection then.
    assert!(!matches!(timeout(PATIENCE, client.next()).await, Err(_) | Ok(Some(Ok(_)))));
    (frame.code.into(), frame.reason.to_string())
}

/// Waits until no connection is counted.
pub(crate) async fn vacated(sessions: &Sessions) {
    let all_are_gone = async {
        while sessions.count() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, all_are_gone).await.expect("nothing holds a place once its socket is gone");
}

/// What holds for every library whose socket can be closed with a code: an order closes it, and when the socket is gone,
/// by whichever side, the user's only place is free.
pub(crate) async fn an_order_closes_the_socket_and_its_place_is_free(app: Router, sessions: Sessions) {
    let address = serve(app).await;
    for _ in 0..3 {
        // The server closes it …
        let mut client = connect(&address, "/").await.expect("the place is free");
        assert_eq!(connect(&address, "/").await.err(), Some(429), "the place is taken");
        assert_eq!(sessions.end_subject("alice"), 1);
        assert_eq!(closed(&mut client).await, (4401, "revoked".to_owned()));
        vacated(&sessions).await;

        // … and so does the client, first in order and then by dropping it.
        let mut client = connect(&address, "/").await.expect("the place is free");
        client.close(None).await.unwrap();
        vacated(&sessions).await;
        drop(connect(&address, "/").await.expect("the place is free"));
        vacated(&sessions).await;
    }
}
