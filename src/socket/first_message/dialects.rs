//! Where the first message of well-known protocols holds a token.

use axum::extract::ws::Message;
use serde_json::{Map, Value};

use super::FirstToken;
use crate::Token;

/// The members of a `connection_init` payload that hold a token, written in lower case.
const GRAPHQL_MEMBERS: [&str; 5] = ["authorization", "token", "accesstoken", "access_token", "authtoken"];

/// `{"type":"connection_init","payload":{"Authorization":"Bearer …"}}`
pub(super) fn graphql_ws(message: &Message) -> Option<FirstToken> {
    let mut message = object(message)?;
    if message.get("type")? != "connection_init" {
        return None;
    }
    let payload = message.get_mut("payload")?.as_object_mut()?;
    let names: Vec<String> =
        payload.keys().filter(|name| GRAPHQL_MEMBERS.contains(&name.to_ascii_lowercase().as_str())).cloned().collect();
    let mut tokens = names.iter().filter_map(|name| payload.remove(name)).map(|value| match value {
        Value::String(text) => Some(without_scheme(&text).to_owned()),
        _ => None,
    });
    // Several may say the same. Two different ones are not picked from.
    let token = tokens.next()??;
    if tokens.any(|other| other.as_ref() != Some(&token)) {
        return None;
    }
    Some(FirstToken::new(Token::new(token)).replay(text(message)))
}

/// `{"type":"auth","access_token":"…"}`
pub(super) fn home_assistant(message: &Message) -> Option<FirstToken> {
    let message = object(message)?;
    if message.get("type")? != "auth" {
        return None;
    }
    message.get("access_token")?.as_str().map(|token| FirstToken::new(Token::new(token)))
}

/// `{"id":1,"connect":{"token":"…"}}`
pub(super) fn centrifugo(message: &Message) -> Option<FirstToken> {
    let mut message = object(message)?;
    let connect = message.get_mut("connect")?.as_object_mut()?;
    let Value::String(token) = connect.remove("token")? else { return None };
    Some(FirstToken::new(Token::new(token)).replay(text(message)))
}

fn object(message: &Message) -> Option<Map<String, Value>> {
    let Message::Text(text) = message else { return None };
    serde_json::from_str(text).ok()
}

fn text(object: Map<String, Value>) -> Message {
    Message::Text(Value::Object(object).to_string().into())
}

fn without_scheme(text: &str) -> &str {
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => text,
    }
}
