//! WebSockets over HTTP/2 (RFC 8441), through `axum::serve` and a real connection.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use axum_ws_auth::TokenSource;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use support::{
    http2::{Client, socket_of},
    *,
};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn valid_token_opens_a_socket_on_a_shared_connection() {
    let mut client = Client::of(opaque_layer()).await;
    let pair = format!("bearer, {TOKEN}");
    let with_chat = format!("chat, bearer, {TOKEN}");
    for (headers, selected) in [
        ([("sec-websocket-protocol", pair.as_str())], Some("bearer")),
        ([("sec-websocket-protocol", with_chat.as_str())], Some("chat")),
        ([("authorization", &*format!("Bearer {TOKEN}"))], None),
    ] {
        let response = client.connect("/", &headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        let name = response.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap().to_owned());
        assert_eq!(name.as_deref(), selected);
        let mut socket = socket_of(response).await;
        socket.send(Message::text("hi")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), "hi");
    }
}

#[tokio::test]
async fn refusal_is_a_status_and_keeps_the_connection_open() {
    let mut client = Client::of(opaque_layer()).await;
    for round in 0..3 {
        let response = client.connect("/", &[("authorization", "Bearer other")]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{round}");
        assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="websocket", error="invalid_token""#);
        assert!(!response.headers().contains_key("connection"));
    }
    let response = client.connect("/", &[("authorization", &format!("Bearer {TOKEN}"))]).await;
    assert_eq!(response.status(), StatusCode::OK, "the connection is still open");
}

/// axum empties the body of a successful response to `CONNECT` only.
#[tokio::test]
async fn body_of_a_refusal_arrives() {
    let mut client = Client::of(opaque_layer()).await;
    let response = client.connect("/", &[]).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"], "missing_token");
}

#[tokio::test]
async fn cookies_may_come_in_several_header_lines() {
    let layer = opaque_layer().sources([TokenSource::cookie("session")]).unwrap();
    let mut client = Client::of(layer).await;
    let origin = format!("http://{}", client.authority);
    let token = format!("session={TOKEN}");
    for (headers, status) in [
        (vec![("cookie", "a=b"), ("cookie", &*token), ("origin", &*origin)], StatusCode::OK),
        (vec![("cookie", "session=x"), ("cookie", &*token), ("origin", &*origin)], StatusCode::BAD_REQUEST),
        (vec![("cookie", &*token)], StatusCode::FORBIDDEN),
        (vec![("cookie", &*token), ("origin", "https://evil.example")], StatusCode::FORBIDDEN),
    ] {
        assert_eq!(client.connect("/", &headers).await.status(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn token_in_the_query_is_accepted() {
    let layer = opaque_layer().sources([TokenSource::query("ticket")]).unwrap();
    let mut client = Client::of(layer).await;
    assert_eq!(client.connect(&format!("/?ticket={TOKEN}"), &[]).await.status(), StatusCode::OK);
    assert_eq!(client.connect("/?ticket=other", &[]).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn accept_then_close_sends_a_close_frame() {
    let mut client = Client::of(opaque_layer().accept_then_close()).await;
    let response = client.connect("/", &[("sec-websocket-protocol", "bearer, other")]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut socket = socket_of(response).await;
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "invalid_token"));
}

#[tokio::test]
async fn plain_connect_is_authenticated() {
    for (layer, status) in
        [(opaque_layer(), StatusCode::UNAUTHORIZED), (opaque_layer().handshakes_only(), StatusCode::NOT_FOUND)]
    {
        let mut client = Client::of(layer).await;
        let request = Request::builder().method(Method::CONNECT).uri(client.authority.clone());
        client.sender.ready().await.unwrap();
        let response = client.sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
    }
}
