//! Graceful shutdown: the server admits no new sessions and closes live sockets in batches, so that their clients do
//! not all reconnect to the other servers at once.
//!
//! axum's graceful shutdown waits for requests but not for WebSockets. It starts when its future completes, so that
//! future drains the sessions. Meanwhile handshakes are refused with 503.
//!
//! ```sh
//! cargo run --example shutdown
//! ```

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::time::{Duration, Instant};

use axum::{Router, response::Response, routing::any, serve::ListenerExt};
use axum_ws_auth::{
    AuthenticatedUpgrade, Drain, Sessions, WsAuthLayer,
    test_util::{self, TestToken},
};
use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        while let Some(Ok(_)) = socket.recv().await {}
        // The session has ended, and the close frame is being sent: clean up here.
        let _reason = socket.session().end_reason();
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(test_util::verifier::<Value>()).sessions(&sessions);
    let app = Router::new().route("/chat", any(chat)).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let url = format!("ws://{}/chat", axum::serve::Listener::local_addr(&listener)?);

    let drain = Drain::service_restart().batch(10)?.every(Duration::from_millis(200)).within(Duration::from_secs(20));
    let draining = sessions.clone();
    let serving = tokio::spawn(async move {
        axum::serve(listener, app)
            .with_graceful_shutdown(async move {
                shutdown_requested(&draining).await;
                println!("shutting down with {} sessions", draining.count());
                let drained = draining.drain(drain).await;
                println!("{} closed, {} remaining", drained.closed, drained.remaining);
            })
            .await
    });

    let mut clients = Vec::new();
    for number in 0..50 {
        let mut request = url.as_str().into_client_request()?;
        let token = TestToken::new(&format!("user {number}")).sign();
        request.headers_mut().insert("authorization", HeaderValue::from_str(&format!("Bearer {token}"))?);
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        clients.push(socket);
    }
    let start = Instant::now();
    for (number, mut socket) in clients.into_iter().enumerate() {
        tokio::spawn(async move {
            if let Some(Ok(Message::Close(Some(frame)))) = socket.next().await {
                println!("client {number}: {} \"{}\" after {:?}", frame.code, frame.reason, start.elapsed());
            }
            // Read until the server closes the connection.
            while socket.next().await.is_some() {}
        });
    }
    serving.await??;
    Ok(())
}

/// A real server waits for a signal: `tokio::signal::ctrl_c().await`. This one waits until all clients are connected.
async fn shutdown_requested(sessions: &Sessions) {
    while sessions.count() < 50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
