//! Where the first message of well-known protocols holds a token.
//!
//! A member that is there twice is not picked from: it makes the message one that holds no token.

use std::fmt;

use axum::extract::ws::Message;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};

use super::FirstToken;
use crate::Token;

/// The members of a `connection_init` payload that hold a token, written in lower case.
const GRAPHQL_MEMBERS: [&str; 5] = ["authorization", "token", "accesstoken", "access_token", "authtoken"];

#[derive(Deserialize)]
struct ConnectionInit {
    #[serde(rename = "type")]
    kind: String,
    payload: Members,
}

/// `{"type":"connection_init","payload":{"Authorization":"Bearer …"}}`
pub(super) fn graphql_ws(message: &Message) -> Option<FirstToken> {
    let ConnectionInit { kind, payload: Members(mut payload) } = object(text(message)?)?;
    if kind != "connection_init" {
        return None;
    }
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
    let rest = json!({ "type": kind, "payload": payload }).to_string();
    Some(FirstToken::new(Token::new(token)).replay(rest))
}

#[derive(Deserialize)]
struct Auth {
    #[serde(rename = "type")]
    kind: String,
    access_token: String,
}

/// `{"type":"auth","access_token":"…"}`
pub(super) fn home_assistant(message: &Message) -> Option<FirstToken> {
    let Auth { kind, access_token } = object(text(message)?)?;
    (kind == "auth").then(|| FirstToken::new(Token::new(access_token)))
}

#[derive(Deserialize)]
struct Command {
    id: Value,
    connect: Members,
}

/// `{"id":1,"connect":{"token":"…"}}`, and perhaps other commands on the lines below.
pub(super) fn centrifugo(message: &Message) -> Option<FirstToken> {
    let text = text(message)?;
    let (first, others) = text.find('\n').map_or((text, ""), |end| text.split_at(end));
    let Command { id, connect: Members(mut connect) } = object(first)?;
    let Value::String(token) = connect.remove("token")? else { return None };
    let rest = json!({ "id": id, "connect": connect });
    Some(FirstToken::new(Token::new(token)).replay(format!("{rest}{others}")))
}

fn text(message: &Message) -> Option<&str> {
    match message {
        Message::Text(text) => Some(text),
        _ => None,
    }
}

fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    // serde would take an array for a struct.
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn without_scheme(text: &str) -> &str {
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => text,
    }
}

/// An object each of whose members is there once.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}
