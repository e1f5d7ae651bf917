//! A server on loopback with its layer, and a client.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part, and a test may panic")]

use std::{
    future::{Ready, ready},
    process::Stdio,
    time::Duration,
};

use axum::Router;
use axum_ws_auth::{AtLimit, CloseCodes, Drain, Limits, Sessions, Verified, VerifyError, VerifyInput, WsAuthLayer};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    process::Command,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

pub(crate) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Much longer than any step takes.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The credentials of alice, for a session that expires after a moment.
pub(crate) const BRIEF: &str = "Bearer alice.1000";

/// Accepts `NAME` and `NAME.MILLISECONDS`: a token of this user, which expires this long after it was verified.
pub(crate) fn verify(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let token = input.token.expose();
    let (name, lifetime) = token.split_once('.').map_or((token, None), |(name, lifetime)| (name, Some(lifetime)));
    let verified = Verified::new(name.to_owned()).with_subject(name);
    ready(Ok(match lifetime {
        Some(lifetime) => verified.with_expires_at(input.now + Duration::from_millis(lifetime.parse().unwrap())),
        None => verified,
    }))
}

/// Allows one connection per user. The profile of close codes is one that tells an expired token from a revoked
/// session.
pub(crate) fn layer() -> (WsAuthLayer, Sessions) {
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    (WsAuthLayer::new(verify).sessions(&sessions).close_codes(CloseCodes::GRAPHQL_WS), sessions)
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
    connect_with(address, path, &[("authorization", "Bearer alice")]).await
}

/// Connects with these headers.
///
/// # Errors
///
/// The status, if the handshake is refused.
pub(crate) async fn connect_with(address: &str, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for &(name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
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

/// For libraries whose sockets can be closed with a code: ending the session closes the socket with the profile's code.
/// When the socket is gone, closed by either side, the user's only slot is free.
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
    // The token expires.
    let mut client = connect_with(&address, "/", &[("authorization", BRIEF)]).await.expect("the slot is free");
    assert_eq!(closed(&mut client).await, (4403, "token_expired".to_owned()));
    slot_freed(&sessions).await;

    // The server shuts down.
    let mut client = connect(&address, "/").await.expect("the slot is free");
    let (drained, close) = tokio::join!(sessions.drain(Drain::service_restart()), closed(&mut client));
    assert_eq!((drained.remaining, close), (0, (1012, "shutdown".to_owned())));
}

/// Runs a script of `tests/clients` with this input, and returns its output.
pub(crate) async fn node(script: &str, input: Value) -> Value {
    let mut child = Command::new("node")
        .arg(script)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../clients"))
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is missing: run tests/run, or apt-get install nodejs npm");
    // If the script ends without reading, its error is reported below.
    let _ = child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await;
    let output = timeout(TIMEOUT, child.wait_with_output()).await.expect("the script ends").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run tests/run, or npm ci in tests/clients\n{}", errors.trim_end());
    serde_json::from_slice(&output.stdout).unwrap()
}
