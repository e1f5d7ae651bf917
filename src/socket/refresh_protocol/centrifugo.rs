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

/// Every command of this kind has a member of this name, which needs no escapes.
const REFRESH: &str = "refresh";
/// The start of every escape that may spell it in another way.
const ESCAPE: &str = "\\u";

/// Centrifugo's codes.
mod code {
    pub(super) const INTERNAL: u16 = 100;
    pub(super) const UNAUTHORIZED: u16 = 101;
    pub(super) const BAD_REQUEST: u16 = 107;
    pub(super) const TOKEN_EXPIRED: u16 = 109;
    pub(super) const TOO_MANY_REQUESTS: u16 = 111;
}

/// A command to refresh.
struct Command<'a> {
    /// `None` where it is none, and no answer would reach anybody.
    id: Option<u32>,
    /// `None` where it cannot be read.
    refresh: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Refresh {
    token: String,
}

/// A message holds a command a line. The others are the handler's.
pub(super) fn read(message: &Message) -> Option<RefreshRequest> {
    let Message::Text(text) = message else { return None };
    // Other messages should not be parsed for this.
    if !text.contains(REFRESH) && !text.contains(ESCAPE) {
        return None;
    }
    let (commands, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| command(line).is_some());
    let first = command(commands.first()?)?;
    let refresh = first.refresh.and_then(|refresh| serde_json::from_str(refresh.get()).ok());
    let token = refresh.map(|Refresh { token }| Token::new(token));
    let request = match token {
        // Two at a time are none that a client sends, and only one could be answered.
        Some(token) if commands.len() == 1 => RefreshRequest::new(token),
        _ => RefreshRequest::malformed(),
    };
    let others = others.join("\n");
    Some(if others.trim().is_empty() { request } else { request.pass_on(others) })
}

pub(super) fn answer(request: &Message, outcome: Result<Option<Duration>, &RefreshError>) -> Option<Message> {
    let Message::Text(text) = request else { return None };
    let id = text.lines().find_map(command)?.id?;
    let answer = match outcome {
        Ok(None) => json!({ "id": id, "refresh": { "expires": false } }),
        Ok(Some(left)) => json!({ "id": id, "refresh": { "expires": true, "ttl": ttl(left) } }),
        Err(error) => {
            let (code, temporary) = code_of(error.kind());
            // A client tries again after a temporary error, with a new token, and gives up after any other.
            json!({ "id": id, "error": { "code": code, "message": error.reason(), "temporary": temporary } })
        }
    };
    Some(answer.to_string().into())
}

/// The command on a line, if it is to refresh, or may be and cannot be read: there may be a token in it.
fn command(line: &str) -> Option<Command<'_>> {
    if !line.trim_start().starts_with('{') {
        return None;
    }
    let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(line) else {
        let is_nearly_one = line.contains(r#""refresh""#) && line.contains(r#""token""#);
        return is_nearly_one.then_some(Command { id: None, refresh: None });
    };
    let refresh = Some(*members.get(REFRESH)?);
    Some(Command { id: members.get("id").and_then(|id| serde_json::from_str(id.get()).ok()), refresh })
}

/// A client asks for the next token when this is over, and the session must not end before it has sent that.
fn ttl(left: Duration) -> u64 {
    const AHEAD: Duration = Duration::from_secs(30);
    left.saturating_sub(AHEAD.min(left / 3)).as_secs().max(1)
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
        | RefreshErrorKind::Revoked => (code::UNAUTHORIZED, false),
    }
}
