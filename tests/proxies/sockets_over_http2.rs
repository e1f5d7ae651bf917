//! WebSockets over HTTP/2 (RFC 8441) from the client to the proxy, and HTTP/1.1 from there.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, StatusCode, Version};
use http_body_util::Empty;
use hyper::{client::conn::http2, ext::Protocol};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    TIMEOUT,
    app::{App, token},
    client::{assert_echoes, connect, open_with_token},
    kind::Kind,
    proxy::{Edit, Proxy},
};

/// Whether the proxy accepts an extended `CONNECT`, and passes on the session and its end.
async fn passes(kind: Kind, edits: &[Edit<'_>]) -> bool {
    let app = App::start().await;
    let proxy = Proxy::start_edited(kind, &app.authority, edits).await;
    let stream = TokioIo::new(connect(&proxy, Version::HTTP_2).await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.expect("a connection");
    tokio::spawn(connection);
    // The server's settings, which say whether it may be sent, are there once it has answered.
    let authority = &proxy.authority;
    let health = Request::get(format!("https://{authority}/health")).body(Empty::<Bytes>::new()).expect("a request");
    assert_eq!(sender.send_request(health).await.expect("an answer").status(), StatusCode::OK);
    let handshake = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://{authority}/chat"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("origin", format!("https://{authority}"))
        .header("cookie", format!("__Host-session={}", token()))
        .body(Empty::new())
        .expect("a request");
    let Ok(answer) = timeout(TIMEOUT, sender.send_request(handshake)).await.expect("an answer") else { return false };
    if answer.status() != StatusCode::OK {
        return false;
    }
    let upgraded = TokioIo::new(hyper::upgrade::on(answer).await.expect("a socket"));
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    socket.send(Message::text("hello")).await.expect("an open socket");
    assert_eq!(socket.next().await.expect("an echo").expect("an echo"), Message::text("hello"));
    assert_eq!(app.sessions.end_subject("alice"), 1);
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
    true
}

#[tokio::test]
async fn haproxy_passes_them_on() {
    assert!(passes(Kind::Haproxy, &[]).await);
}

/// The handler is routed by `any`: the application gets a `CONNECT`, from clients of both versions.
#[tokio::test]
async fn haproxy_opens_them_to_the_application() {
    let edits = [("127.0.0.1:3000", "127.0.0.1:3000 proto h2")];
    assert!(passes(Kind::Haproxy, &edits).await);
    let app = App::start().await;
    let proxy = Proxy::start_edited(Kind::Haproxy, &app.authority, &edits).await;
    assert_echoes(&mut open_with_token(&proxy, "/chat", &token()).await).await;
    assert_eq!(app.statuses(), [StatusCode::OK]);
}

#[tokio::test]
async fn apache_passes_them_on_if_told() {
    assert!(passes(Kind::Apache, &[("Protocols h2 http/1.1", "Protocols h2 http/1.1\nH2WebSockets on")]).await);
}

/// Browsers then open another connection, which speaks HTTP/1.1.
#[tokio::test]
async fn others_do_not_offer_them() {
    for kind in [Kind::Nginx, Kind::Caddy, Kind::Apache] {
        assert!(!passes(kind, &[]).await, "{kind:?}");
    }
}
