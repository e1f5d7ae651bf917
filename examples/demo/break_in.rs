//! Handshakes that must fail. The server makes them against itself, byte by byte, because a page learns nothing of a
//! refused handshake, and cannot choose its `Origin`.

use std::time::{Duration, SystemTime};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use axum_ws_auth::{TicketOptions, Verified, test_util::base64url};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    app::Demo,
    people::{COOKIE, Claims},
};

/// The device of the person whose tokens are used here.
const DEVICE: &str = "laptop";
const PERSON: &str = "alice";
/// Of an answer, in bytes. Refusals are smaller.
const MAX_ANSWER: u64 = 8 * 1024;

/// What is wrong with the handshake. The page then tries the same with `new WebSocket`, unless it cannot.
struct Attempt {
    path: String,
    /// Headers that decide it.
    headers: Vec<String>,
    /// What `new WebSocket` gets as its second argument.
    protocols: Vec<String>,
    page_can: bool,
}

impl Attempt {
    fn with_token(token: &str) -> Self {
        Self {
            path: format!("/device/{DEVICE}/chat/subprotocol"),
            headers: vec![format!("Sec-WebSocket-Protocol: bearer, {token}")],
            protocols: vec!["bearer".to_owned(), token.to_owned()],
            page_can: true,
        }
    }
}

pub(crate) async fn attempt(State(demo): State<Demo>, Path(name): Path<String>) -> Result<Json<Value>, StatusCode> {
    let issuer = &demo.issuer;
    let valid = issuer.token(PERSON, DEVICE);
    let attempt = match &*name {
        "no-token" => Attempt { headers: Vec::new(), protocols: Vec::new(), ..Attempt::with_token("") },
        "wrong-token" => Attempt::with_token(&valid.sign_with(b"a key that somebody else made up")),
        "expired" => Attempt::with_token(&issuer.sign(valid.expires_at(SystemTime::now() - Duration::from_secs(60)))),
        "alg-none" => Attempt::with_token(&unsigned(&issuer.sign(valid))),
        // The browser of a signed-in user sends the cookie, whichever page asks it to.
        "wrong-origin" => Attempt {
            path: format!("/device/{DEVICE}/chat/cookie"),
            headers: vec![
                "Origin: https://evil.example".to_owned(),
                format!("Cookie: {COOKIE}={}", issuer.sign(valid)),
            ],
            protocols: Vec::new(),
            page_can: false,
        },
        "used-ticket" => used_ticket(&demo).await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let (request, answer) = send(&demo, &attempt).await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let page = attempt.page_can.then(|| json!({ "path": attempt.path, "protocols": attempt.protocols }));
    Ok(Json(json!({ "request": shown(&request), "answer": answer, "page": page })))
}

/// The token with `"alg": "none"` and without its signature.
fn unsigned(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap_or_default();
    format!("{}.{claims}.", base64url(json!({ "alg": "none", "typ": "JWT" }).to_string()))
}

/// Connects with a ticket once. Whoever finds it in a log afterwards has nothing.
async fn used_ticket(demo: &Demo) -> Option<Attempt> {
    let claims = Claims { sub: PERSON.to_owned(), sid: DEVICE.to_owned() };
    let verified = Verified::new(claims).with_subject(PERSON).with_expires_at(SystemTime::now() + demo.issuer.lifetime);
    let ticket = demo.tickets.issue_for(&verified, &TicketOptions::new()).await.ok()?;
    let attempt = Attempt {
        path: format!("/device/{DEVICE}/chat/ticket?ticket={}", ticket.token().expose()),
        headers: Vec::new(),
        protocols: Vec::new(),
        page_can: true,
    };
    let (_, answer) = send(demo, &attempt).await?;
    answer.starts_with("HTTP/1.1 101").then_some(attempt)
}

/// Sends the handshake over a connection of its own. Returns what was sent, and the answer.
async fn send(demo: &Demo, attempt: &Attempt) -> Option<(String, String)> {
    let Attempt { path, headers, .. } = attempt;
    let own_origin =
        headers.iter().all(|line| !line.starts_with("Origin:")).then(|| format!("Origin: http://{}", demo.address));
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", demo.address);
    for line in own_origin.iter().chain(headers) {
        request.extend([line, "\r\n"]);
    }
    request.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    request.push_str("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    let answer = timeout(Duration::from_secs(5), exchange(demo, &request)).await.ok()?.ok()?;
    Some((request, answer))
}

/// Reads until the end of a refusal, or of the head of a completed handshake.
async fn exchange(demo: &Demo, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(demo.address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(MAX_ANSWER);
    while !answer.starts_with(b"HTTP/1.1 101") && stream.read_buf(&mut answer).await? > 0 {}
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The request for the page: what is the same in every handshake is left out, and tokens are cut.
fn shown(request: &str) -> String {
    let decides = |line: &&str| {
        !["Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"]
            .iter()
            .any(|name| line.starts_with(&format!("{name}:")))
    };
    request.lines().filter(decides).map(cut).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn cut(line: &str) -> String {
    line.split_inclusive([' ', '='])
        .map(
            |word| {
                if word.chars().count() > 60 { word.chars().take(24).chain(['…']).collect() } else { word.to_owned() }
            },
        )
        .collect()
}
