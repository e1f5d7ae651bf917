//! Two nodes that share one Redis. A logout on one node closes the sockets on the other. A ticket from one node works
//! on the other, once. A user who opens too many sockets loses the oldest one, on whichever node it is.
//!
//! ```sh
//! cargo run --example cluster --features redis                             # starts a redis-server
//! cargo run --example cluster --features redis -- redis://127.0.0.1:6379   # uses a running one
//! ```

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{any, post},
    serve::ListenerExt,
};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedUpgrade, Limits, Redis, Revocations, Sessions, TicketOptions, Tickets,
    TokenSource, WsAuthLayer,
    test_util::{self, TestToken},
};
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What runs on each machine.
async fn node(redis: &Redis) -> Result<SocketAddr> {
    let tickets = Tickets::<Value>::new(redis.clone());
    let revocations = Revocations::new(redis.clone());
    let limits = Limits::new().per_subject(1, AtLimit::EvictOldest)?.across_nodes(redis.clone());
    let by_token = WsAuthLayer::new(test_util::verifier::<Value>()).revocations(&revocations);
    let by_ticket = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()])?.revocations(&revocations);
    let by_ticket = by_ticket.sessions(&Sessions::with_limits(limits));
    let app = Router::new()
        .route("/ticket", tickets.route(TicketOptions::new().path("/chat")?))
        .route("/logout", post(log_out))
        .layer(by_token)
        .route("/chat", any(chat).layer(by_ticket))
        .with_state(revocations);

    let listener = TcpListener::bind("127.0.0.1:0").await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let address = axum::serve::Listener::local_addr(&listener)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async move |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

async fn log_out(State(revocations): State<Revocations>, Authenticated(session): Authenticated<Value>) -> StatusCode {
    let Some(subject) = session.scoped_subject() else { return StatusCode::BAD_REQUEST };
    match revocations.revoke_subject(subject).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[derive(serde::Deserialize)]
struct TicketResponse {
    ticket: String,
    expires_in: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let (url, _server) = match std::env::args().nth(1) {
        Some(url) => (url, None),
        None => start_redis().await.map(|(url, server)| (url, Some(server)))?,
    };
    // One client for each node, as on two machines.
    let (one, other) = (node(&Redis::new(&url)?).await?, node(&Redis::new(&url)?).await?);
    println!("nodes at {one} and {other}, Redis at {url}");

    let token = TestToken::new("alice").sign();
    let TicketResponse { ticket, expires_in } =
        serde_json::from_str(&post_with_token(one, "/ticket", &token).await?.1)?;
    println!("alice gets a ticket from {one}, valid for {expires_in} seconds");
    let url = format!("ws://{other}/chat?ticket={ticket}");
    let (mut old, _) = tokio_tungstenite::connect_async(&url).await?;
    println!("she opens a socket to {other} with it");
    let again = tokio_tungstenite::connect_async(&url).await;
    println!("the ticket does not work again: {}", again.err().ok_or("a refusal")?);

    // The limit is one session per user.
    let TicketResponse { ticket, .. } = serde_json::from_str(&post_with_token(one, "/ticket", &token).await?.1)?;
    let begin = Instant::now();
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{one}/chat?ticket={ticket}")).await?;
    println!("she opens another socket to {one}: {}", close_frame(&mut old, begin).await?);

    let begin = Instant::now();
    let (status, _) = post_with_token(other, "/logout", &token).await?;
    println!("she logs out at {other} ({status}): {}", close_frame(&mut socket, begin).await?);
    Ok(())
}

async fn close_frame(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, begin: Instant) -> Result<String> {
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { return Err("no close frame".into()) };
    Ok(format!(
        "the socket to the other node is closed after {:?}: {} \"{}\"",
        begin.elapsed(),
        frame.code,
        frame.reason
    ))
}

/// Sends a `POST` with a token.
async fn post_with_token(node: SocketAddr, path: &str, token: &str) -> Result<(StatusCode, String)> {
    let stream = TokioIo::new(TcpStream::connect(node).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let request = axum::http::Request::post(path)
        .header("host", node.to_string())
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::empty())?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let bytes = http_body_util::BodyExt::collect(body).await?.to_bytes();
    Ok((parts.status, String::from_utf8(bytes.to_vec())?))
}

/// Is killed when this program ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start_redis() -> Result<(String, Server)> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("redis-server does not start ({error}): apt-get install redis-server"))?;
    let server = Server(server);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((format!("redis://127.0.0.1:{port}"), server))
}
