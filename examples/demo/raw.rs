//! A handshake of the server with itself, byte by byte: the request may be anything, and the answer is what is on the
//! wire.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use axum_ws_auth::Rejection;
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::app::Demo;

/// Of an answer, in bytes. Refusals are smaller.
const MAX_ANSWER: u64 = 8 * 1024;

pub(crate) struct Exchange {
    /// The lines of the request that differ from other handshakes, with tokens cut.
    pub(crate) sent: String,
    pub(crate) answer: String,
    /// Why it was refused, if it was.
    pub(crate) reason: Option<&'static str>,
}

/// Sends a handshake over a connection of its own. A `None` means that the server did not answer.
pub(crate) async fn handshake(demo: &Demo, path: &str, headers: &[String]) -> Option<Exchange> {
    let mut lines = vec![format!("GET {path} HTTP/1.1")];
    lines.extend_from_slice(headers);
    let mut key = [0; 16];
    getrandom::fill(&mut key).ok()?;
    let key = STANDARD.encode(key);
    let request = format!(
        "{}\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n\r\n",
        lines.join("\r\n"),
        demo.address
    );
    demo.reasons.expect(&key);
    let answer = timeout(Duration::from_secs(5), exchange(demo, &request)).await;
    let reason = demo.reasons.take(&key);
    let sent = lines.iter().map(|line| cut(line)).collect::<Vec<_>>().join("\n");
    Some(Exchange { sent, answer: answer.ok()?.ok()?, reason })
}

/// Reads until the end of a refusal, or the head of a completed handshake.
async fn exchange(demo: &Demo, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(demo.address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(MAX_ANSWER);
    while !answer.starts_with(b"HTTP/1.1 101") && stream.read_buf(&mut answer).await? > 0 {}
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Cuts words that are as long as a token.
fn cut(line: &str) -> String {
    let cut_word = |word: &str| match word.char_indices().nth(24) {
        Some((end, _)) if word.len() > 60 => format!("{}…", word.get(..end).unwrap_or_default()),
        _ => word.to_owned(),
    };
    line.split_inclusive([' ', '=']).map(cut_word).collect()
}

/// Why the handshakes under way were refused, by their `Sec-WebSocket-Key`. Clients are told less: logs and metrics
/// have it.
#[derive(Clone, Default)]
pub(crate) struct Reasons(Arc<Mutex<HashMap<String, Option<&'static str>>>>);

impl Reasons {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<&'static str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, key: &str) {
        self.lock().insert(key.to_owned(), None);
    }

    fn take(&self, key: &str) -> Option<&'static str> {
        self.lock().remove(key).flatten()
    }
}

/// Notes the reasons of the handshakes above, and of no others. The response of a refusal has its [`Rejection`] with
/// it.
pub(crate) async fn note_reason(State(demo): State<Demo>, request: Request, next: Next) -> Response {
    let key = request.headers().get("sec-websocket-key").cloned();
    let response = next.run(request).await;
    let key = key.as_ref().and_then(|key| key.to_str().ok());
    if let (Some(key), Some(rejection)) = (key, response.extensions().get::<Rejection>())
        && let Some(reason) = demo.reasons.lock().get_mut(key)
    {
        *reason = Some(rejection.reason());
    }
    response
}
