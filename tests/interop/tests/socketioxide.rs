//! A socket of socketioxide, disconnected when its session ends.
//!
//! A socket.io client starts with polling requests, and may upgrade to a WebSocket later.
//!
//! - The session of the first request is in the parts of that request, which the library keeps as long as the socket.
//!   It is not counted, because it has no connection, but it can be ended.
//! - A later WebSocket has a session of its own, which is counted. The library drops it with the WebSocket.
//! - A client that starts with a WebSocket has one session, which is counted.
//!
//! The protocol has a disconnect packet and no close code. A client that receives the packet closes its connection. The
//! library cannot close the connection of a client that does not.

mod support;

use axum::{Router, body::Body, http::Request, routing::post};
use axum_ws_auth::{Session, Sessions};
use futures_util::SinkExt;
use serde_json::json;
use socketioxide::{SocketIo, extract::SocketRef};
use support::{Client, connect, layer, next, node, serve, slot_freed};
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

fn app() -> (Router, Sessions) {
    let (socket_io, io) = SocketIo::new_layer();
    io.ns("/", async |io: SocketIo, socket: SocketRef| {
        let Some(session) = socket.req_parts().extensions.get::<Session<String>>() else {
            let _ = socket.disconnect();
            return;
        };
        // The socket owns the session. A task that owns either of them waits for itself after the client has left.
        let (watcher, id) = (session.watch(), socket.id);
        tokio::spawn(async move {
            let reason = watcher.ended().await;
            if let Some(socket) = io.get_socket(id) {
                // The protocol has no close code.
                let _ = socket.emit("auth.ended", reason.as_str());
                let _ = socket.disconnect();
            }
        });
    });
    let (layer, sessions) = layer();
    (Router::new().layer(socket_io).layer(layer), sessions)
}

/// The recipe of `clients/js` for `socket.io-client`.
#[tokio::test]
async fn npm_client_gets_a_new_token_and_stops_when_revoked() {
    let (app, sessions) = app();
    let ending = sessions.clone();
    let app = Router::new().route("/end", post(async move || ending.end_subject("alice").to_string())).merge(app);
    let seen = node("socket_io.mjs", json!(format!("http://{}", serve(app).await))).await;
    // The first token expires, and the session of the second is revoked.
    assert_eq!(seen, json!({ "tokens": 2, "connects": 2, "needed": ["revoked"] }));
    slot_freed(&sessions).await;
}

const PATH: &str = "/socket.io/?EIO=4";

/// Sends a polling request as alice. Returns the body of the response.
async fn poll(app: &Router, query: &str, body: Option<&'static str>) -> String {
    let request = Request::builder()
        .method(if body.is_some() { "POST" } else { "GET" })
        .uri(format!("{PATH}&transport=polling{query}"))
        .header("authorization", "Bearer alice");
    let request = request.body(body.map_or_else(Body::empty, Body::from)).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200, "{query}");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn expect(client: &mut Client, packet: &str) {
    let mut message = next(client).await;
    // The server may send a heartbeat at any time, and the reason before it disconnects.
    while message == Message::text("2") || message.to_text().unwrap().starts_with("42") {
        message = next(client).await;
    }
    assert!(message.to_text().unwrap().starts_with(packet), "{packet}: {message}");
}

/// Joins the namespace with polling requests. Returns the `sid` parameter.
async fn polling(app: &Router) -> String {
    let open = poll(app, "", None).await;
    let sid = open.split('"').nth(3).unwrap();
    let sid = format!("&sid={sid}");
    assert_eq!(poll(app, &sid, Some("40")).await, "ok");
    assert!(poll(app, &sid, None).await.starts_with("40"));
    sid
}

async fn upgraded(address: &str, sid: &str) -> Client {
    let mut client = connect(address, &format!("{PATH}&transport=websocket{sid}")).await.expect("the slot is free");
    client.send(Message::text("2probe")).await.unwrap();
    expect(&mut client, "3probe").await;
    client.send(Message::text("5")).await.unwrap();
    client
}

/// Closes the connection, as a client does when the server disconnects it.
async fn leave_when_disconnected(mut client: Client, sessions: &Sessions) {
    expect(&mut client, "41").await;
    client.close(None).await.unwrap();
    slot_freed(sessions).await;
}

#[tokio::test]
async fn ending_the_session_reaches_a_polling_client() {
    let (app, sessions) = app();
    let sid = polling(&app).await;
    assert_eq!((sessions.count(), sessions.end_subject("alice")), (0, 1));
    // A heartbeat may come first.
    while !poll(&app, &sid, None).await.ends_with("41") {}
}

#[tokio::test]
async fn ending_the_session_reaches_a_client_that_polled_and_then_upgraded() {
    let (app, sessions) = app();
    let address = serve(app.clone()).await;
    for _ in 0..3 {
        let sid = polling(&app).await;
        let client = upgraded(&address, &sid).await;
        // The session of the first request, and that of the WebSocket.
        assert_eq!((sessions.count(), sessions.end_subject("alice")), (1, 2));
        leave_when_disconnected(client, &sessions).await;

        // The client leaves by itself.
        let sid = polling(&app).await;
        drop(upgraded(&address, &sid).await);
        slot_freed(&sessions).await;
    }
}

#[tokio::test]
async fn ending_the_session_reaches_a_client_that_started_with_a_websocket() {
    let (app, sessions) = app();
    let address = serve(app).await;
    let path = format!("{PATH}&transport=websocket");
    let joined = async || {
        let mut client = connect(&address, &path).await.expect("the slot is free");
        expect(&mut client, "0").await;
        client.send(Message::text("40")).await.unwrap();
        expect(&mut client, "40").await;
        client
    };
    for _ in 0..3 {
        let client = joined().await;
        assert_eq!(connect(&address, &path).await.err(), Some(429), "the slot is taken");
        assert_eq!(sessions.end_subject("alice"), 1);
        leave_when_disconnected(client, &sessions).await;

        drop(joined().await);
        slot_freed(&sessions).await;
    }
}
