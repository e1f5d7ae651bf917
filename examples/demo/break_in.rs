//! Handshakes that must fail. The server makes them, because a page learns nothing of a refused handshake, and cannot
//! choose its `Origin`.

use std::time::{Duration, SystemTime};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use axum_ws_auth::{TicketOptions, Verified, test_util::base64url};
use serde_json::{Value, json};

use super::{
    app::Demo,
    people::{COOKIE, Claims},
    raw,
};

/// Whose tokens are used here, and the device that they are for.
const PERSON: &str = "alice";
const DEVICE: &str = "laptop";

/// What is wrong with a handshake.
struct Attempt {
    path: String,
    /// Headers that decide it.
    headers: Vec<String>,
    /// The second argument of `new WebSocket`, with which the page tries the same. `None` if it cannot.
    protocols: Option<Vec<String>>,
}

pub(crate) async fn attempt(State(demo): State<Demo>, Path(name): Path<String>) -> Result<Json<Value>, StatusCode> {
    let issuer = &demo.issuer;
    let valid = issuer.token(PERSON, DEVICE);
    let attempt = match &*name {
        "no-token" => without_token("subprotocol"),
        "wrong-token" => with_token(&valid.sign_with(b"a key that somebody else made up")),
        "expired" => with_token(&issuer.sign(valid.expires_at(SystemTime::now() - Duration::from_secs(60)))),
        "alg-none" => with_token(&unsigned(&issuer.sign(valid))),
        // The browser of a signed-in user sends the cookie, whichever page asks it to.
        "wrong-origin" => Attempt {
            headers: vec![
                "Origin: https://evil.example".to_owned(),
                format!("Cookie: {COOKIE}={}", issuer.sign(valid)),
            ],
            protocols: None,
            ..without_token("cookie")
        },
        "used-ticket" => used_ticket(&demo).await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let Attempt { path, headers, protocols } = attempt;
    let exchange = raw::handshake(&demo, &path, &headers).await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(json!({
        "sent": exchange.sent,
        "answer": exchange.answer,
        "reason": exchange.reason,
        "page": protocols.map(|protocols| json!({ "path": path, "protocols": protocols })),
    })))
}

fn without_token(way: &str) -> Attempt {
    Attempt { path: format!("/device/{DEVICE}/chat/{way}"), headers: Vec::new(), protocols: Some(Vec::new()) }
}

fn with_token(token: &str) -> Attempt {
    Attempt {
        headers: vec![format!("Sec-WebSocket-Protocol: bearer, {token}")],
        protocols: Some(vec!["bearer".to_owned(), token.to_owned()]),
        ..without_token("subprotocol")
    }
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
    let attempt = without_token(&format!("ticket?ticket={}", ticket.token().expose()));
    let first = raw::handshake(demo, &attempt.path, &attempt.headers).await?;
    first.answer.starts_with("HTTP/1.1 101").then_some(attempt)
}
