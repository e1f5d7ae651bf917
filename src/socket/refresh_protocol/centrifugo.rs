//! Centrifugo's command `{"id":2,"refresh":{"token":"…"}}` and its replies.

use std::{collections::HashMap, time::Duration};

use axum::extract::ws::Message;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::RefreshRequest;
use crate::{
    session::{RefreshError, RefreshErrorKind},
    token::Token,
    verify::VerifyErrorKind,
};

/// The member of a refresh command.
const REFRESH: &str = "refresh";
/// The start of an escape. The name above may be written with escapes.
const ESCAPE: &str = "\\u";

/// Centrifugo's codes.
mod code {
    pub(super) const INTERNAL: u16 = 100;
    pub(super) const UNAUTHORIZED: u16 = 101;
    pub(super) const BAD_REQUEST: u16 = 107;
    pub(super) const TOKEN_EXPIRED: u16 = 109;
    pub(super) const TOO_MANY_REQUESTS: u16 = 111;
}

/// A refresh command.
struct Command<'a> {
    /// `None` if there is no valid id, so the client could not match a response.
    id: Option<u32>,
    /// `None` if it cannot be parsed.
    refresh: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Refresh {
    token: String,
}

/// A message has one command per line. The others are passed on to the handler.
pub(super) fn read(message: &Message) -> Option<RefreshRequest> {
    let Message::Text(text) = message else { return None };
    // Avoids parsing other messages.
    if !text.contains(REFRESH) && !text.contains(ESCAPE) {
        return None;
    }
    let (commands, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| command(line).is_some());
    let first = command(commands.first()?)?;
    // serde would accept an array for a struct.
    let object = first.refresh.filter(|refresh| refresh.get().starts_with('{'));
    let refresh = object.and_then(|refresh| serde_json::from_str(refresh.get()).ok());
    let token = refresh.map(|Refresh { token }| Token::new(token));
    let request = match token {
        // No client sends two at once, and only one could get a response.
        Some(token) if commands.len() == 1 => RefreshRequest::new(token),
        _ => RefreshRequest::malformed(),
    };
    let others = others.join("\n");
    Some(if others.trim().is_empty() { request } else { request.pass_on(others) })
}

pub(super) fn response(request: &Message, outcome: Result<Option<Duration>, &RefreshError>) -> Option<Message> {
    let Message::Text(text) = request else { return None };
    let id = text.lines().find_map(command)?.id?;
    let response = match outcome {
        Ok(None) => json!({ "id": id, "refresh": { "expires": false } }),
        Ok(Some(left)) => json!({ "id": id, "refresh": { "expires": true, "ttl": ttl(left) } }),
        Err(error) => {
            let (code, temporary) = code_of(error.kind());
            // A client retries with a new token after a temporary error, and gives up after any other.
            json!({ "id": id, "error": { "code": code, "message": error.reason(), "temporary": temporary } })
        }
    };
    Some(response.to_string().into())
}

/// The refresh command on a line. A malformed one counts, because it may contain a token.
fn command(line: &str) -> Option<Command<'_>> {
    if !line.trim_start().starts_with('{') {
        return None;
    }
    let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(line) else {
        let may_be_refresh = line.contains(r#""refresh""#) && line.contains(r#""token""#);
        return may_be_refresh.then_some(Command { id: None, refresh: None });
    };
    let refresh = Some(*members.get(REFRESH)?);
    Some(Command { id: members.get("id").and_then(|id| serde_json::from_str(id.get()).ok()), refresh })
}

/// A client gets its next token when this has passed, and must send it before the session ends.
fn ttl(left: Duration) -> u64 {
    const MARGIN: Duration = Duration::from_secs(30);
    left.saturating_sub(MARGIN.min(left / 3)).as_secs().max(1)
}

const fn code_of(kind: RefreshErrorKind) -> (u16, bool) {
    match kind {
        RefreshErrorKind::NotVerified(VerifyErrorKind::Expired) => (code::TOKEN_EXPIRED, true),
        RefreshErrorKind::TooManyAttempts | RefreshErrorKind::InProgress => (code::TOO_MANY_REQUESTS, true),
        RefreshErrorKind::NotVerified(VerifyErrorKind::Unavailable)
        | RefreshErrorKind::Unavailable
        | RefreshErrorKind::SessionEnded => (code::INTERNAL, true),
        RefreshErrorKind::Malformed | RefreshErrorKind::TokenTooLarge => (code::BAD_REQUEST, false),
        RefreshErrorKind::NotVerified(_)
        | RefreshErrorKind::NoSubject
        | RefreshErrorKind::OtherSubject
        | RefreshErrorKind::OtherIssuer
        | RefreshErrorKind::OtherKey
        | RefreshErrorKind::Revoked => (code::UNAUTHORIZED, false),
    }
}
