//! Clients that authenticate by their first message.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

#[path = "first_message/handshake.rs"]
mod handshake;
#[path = "first_message/limits.rs"]
mod limits;
#[path = "first_message/messages.rs"]
mod messages;
#[path = "first_message/protocols.rs"]
mod protocols;
mod support;
#[path = "first_message/verification.rs"]
mod verification;

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::{
        OriginalUri,
        ws::{CloseFrame, Message as ServerMessage, WebSocketUpgrade},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedUpgrade, CloseCodes, ConfigError, Drain, FirstMessage, FirstToken, Limits,
    Sessions, TimeSource, Token, Verified, Verifier, VerifyError, VerifyInput, WsAuthLayer,
    test_util::{self, HandshakeBuilder, handshake},
};
use futures_util::{SinkExt, Stream, StreamExt, future::join};
use http::{Request, StatusCode, Version};
use serde_json::{Value, json};
use support::{
    http2::{Client, socket_of},
    log::Log,
    *,
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, Join, ReadHalf, Sink},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, protocol::Role},
};

const MISSING: &str = "4403 missing_token";
const INVALID: &str = "4403 invalid_token";
const MALFORMED: &str = "4400 invalid_request";

/// [`timed`], and a token for each refusal.
fn verifier(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    match input.token.expose() {
        "expired" => ready(Err(VerifyError::expired())),
        "down" => ready(Err(VerifyError::unavailable(Duration::from_secs(1)))),
        _ => timed(input),
    }
}

/// The wall clock stands still, so only the paused clock ends sessions.
fn layer() -> WsAuthLayer {
    let authorized = Verifier::authorize(verifier, |claims, parts| match parts.uri.path() {
        "/closed" if claims != "admin" => Err(VerifyError::insufficient_scope("admin")),
        _ => Ok(()),
    });
    let now = SystemTime::now();
    WsAuthLayer::new(authorized).time_source(TimeSource::new(move || now))
}

/// A protocol whose first message is the token, up to a space.
fn bare() -> FirstMessage {
    FirstMessage::new(|message| {
        let token = message.to_text().ok()?.split(' ').next()?;
        Some(FirstToken::new(Token::new(token)))
    })
}

fn init(payload: Value) -> String {
    Value::from_iter([("type", "connection_init".into()), ("payload", payload)]).to_string()
}

fn token_of(subject: &str) -> String {
    init(json!({ "token": subject }))
}

/// A frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let len = payload.len();
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..126), _) => frame.push(0x80 | len),
        (_, Ok(len)) => frame.extend([&[0xfe][..], &len.to_be_bytes()].concat()),
        _ => frame.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

/// Describes the next message. With the paused clock, the timeout of a day passes at once.
async fn next(socket: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin)) -> String {
    match timeout(Duration::from_secs(24 * 3600), socket.next()).await.expect("a message within a day") {
        Some(Ok(Message::Text(text))) => text.to_string(),
        Some(Ok(Message::Close(Some(frame)))) => format!("{} {}", u16::from(frame.code), frame.reason),
        Some(Ok(other)) => format!("{other:?}"),
        Some(Err(_)) | None => "gone".to_owned(),
    }
}

/// Describes all messages except pongs, until the connection is dropped.
async fn rest(socket: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin)) -> String {
    let mut messages = Vec::new();
    loop {
        match next(socket).await {
            gone if gone == "gone" => return messages.join(" | "),
            pong if pong.starts_with("Pong") => {}
            message => messages.push(message),
        }
    }
}

/// Only reads, so it does not answer the close frame.
type Reader = WebSocketStream<Join<ReadHalf<DuplexStream>, Sink>>;

/// Writes raw bytes in another task, which returns how many were accepted, and returns a reader. The socket must have
/// no buffered messages.
async fn write_raw(socket: ClientSocket, bytes: Vec<u8>) -> (JoinHandle<usize>, Reader) {
    write_slowly(socket, bytes, Duration::ZERO).await
}

/// As [`write_raw`], one byte at a time, with pauses in between.
async fn write_slowly(socket: ClientSocket, bytes: Vec<u8>, pause: Duration) -> (JoinHandle<usize>, Reader) {
    let (read, mut write) = tokio::io::split(socket.into_inner());
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while written < bytes.len() {
            let end = if pause.is_zero() { bytes.len() } else { written + 1 };
            let Ok(accepted) = write.write(&bytes[written..end]).await else { break };
            written += accepted;
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        written
    });
    let stream = tokio::io::join(read, tokio::io::sink());
    (writing, WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
}

/// An application whose handler greets the client with its claims, and echoes.
struct App {
    router: Router,
    sessions: Sessions,
    /// How often the callback of `on_upgrade` was called.
    calls: Arc<AtomicUsize>,
}

impl App {
    fn new(first_message: FirstMessage) -> Self {
        Self::with(layer().first_message(first_message), Sessions::new())
    }

    fn with(layer: WsAuthLayer, sessions: Sessions) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
            upgrade.on_upgrade(async move |mut socket| {
                count.fetch_add(1, Ordering::SeqCst);
                let mut response = format!("hello {}", socket.claims()).into();
                while let Ok(()) = socket.send(response).await {
                    response = loop {
                        match socket.recv().await {
                            Some(Ok(ServerMessage::Ping(_) | ServerMessage::Pong(_))) => {}
                            Some(Ok(message @ (ServerMessage::Text(_) | ServerMessage::Binary(_)))) => break message,
                            _ => return,
                        }
                    };
                }
            })
        };
        let router = Router::new().route("/{*path}", any(handler.clone())).route("/", any(handler));
        Self { router: router.layer(layer.sessions(&sessions)), sessions, calls }
    }

    async fn connect(&self, request: HandshakeBuilder) -> ClientSocket {
        test_util::connect(self.router.clone(), request.build()).await.expect("a 101").0
    }

    async fn open(&self) -> ClientSocket {
        self.connect(handshake()).await
    }

    /// Sends a first message, and behind it a message that must be echoed to accepted clients only. Returns what the
    /// client receives.
    async fn respond_at(&self, path: &str, first: impl Into<Message>) -> String {
        let (calls, count, start) = (self.calls(), self.sessions.count(), Instant::now());
        let mut socket = self.connect(handshake().path(path)).await;
        assert_eq!((self.calls(), self.sessions.count()), (calls, count), "there is no session yet");
        for message in [first.into(), Message::text("over"), Message::Close(None)] {
            socket.feed(message).await.unwrap();
        }
        socket.flush().await.unwrap();
        let received = rest(&mut socket).await;
        drop(socket);
        settle().await;
        assert_eq!((self.sessions.count(), start.elapsed()), (count, Duration::ZERO), "{received}");
        let is_accepted = received.ends_with(" | over | Close(None)");
        assert_eq!(
            self.calls() - calls,
            usize::from(is_accepted),
            "the callback runs for accepted clients: {received}"
        );
        received.trim_end_matches(" | over | Close(None)").to_owned()
    }

    async fn respond(&self, first: impl Into<Message>) -> String {
        self.respond_at("/", first).await
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}
