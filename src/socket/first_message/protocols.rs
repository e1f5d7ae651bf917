//! Finds the token in the first message of protocols in use.
//!
//! A message with a duplicate member has no token.

use std::{collections::BTreeMap, fmt, mem};

use axum::extract::ws::Message;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::FirstToken;
use crate::{rejection::Rejection, token::Token};

/// The members of a `connection_init` payload that may contain a token, in lower case.
const GRAPHQL_MEMBERS: [&str; 6] =
    ["authorization", "authentication", "token", "accesstoken", "access_token", "authtoken"];
/// The members of `headers` that may contain a token.
const GRAPHQL_HEADERS: [&str; 1] = ["authorization"];
/// The member of a payload that is an object of headers, in lower case.
const HEADERS: &str = "headers";
/// The member of a payload that is the proof of a bound token (RFC 9449). It stays there: it is no secret, and may be
/// meant for the application.
#[cfg(feature = "dpop")]
const PROOF: &str = "dpop";

#[derive(Deserialize, Serialize)]
struct ConnectionInit {
    payload: Members,
    #[serde(rename = "type")]
    kind: String,
}

/// `{"type":"connection_init","payload":{"Authorization":"Bearer …"}}`, or the same inside `headers`.
pub(super) fn graphql_ws(message: &Message) -> Option<FirstToken> {
    let mut init: ConnectionInit = object(text(message)?)?;
    if init.kind != "connection_init" {
        return None;
    }
    let mut found = take(&mut init.payload, &GRAPHQL_MEMBERS);
    for (_, value) in init.payload.0.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case(HEADERS)) {
        if value.get().starts_with('{') {
            let mut headers: Members = serde_json::from_str(value.get()).ok()?;
            found.extend(take(&mut headers, &GRAPHQL_HEADERS));
            *value = to_raw_value(&headers).ok()?;
        }
    }
    #[cfg(feature = "dpop")]
    let proof = init.payload.0.get(PROOF).map(|proof| serde_json::from_str::<String>(proof.get()));
    #[cfg(feature = "dpop")]
    let proof = proof.transpose().ok()?;
    let found: Vec<Option<String>> =
        found.iter().map(|value| serde_json::from_str(value.get())).collect::<Result<_, _>>().ok()?;
    let mut tokens = found.iter().flatten().map(|text| without_scheme(text)).filter(|token| !token.is_empty());
    // Several members may contain the same token, but not different ones.
    let token = tokens.next()?;
    if tokens.any(|other| other != token) {
        return None;
    }
    let token = Token::new(token);
    #[cfg(feature = "dpop")]
    let token = match proof {
        Some(proof) => token.with_dpop_proof(proof),
        None => token,
    };
    Some(FirstToken::new(token).replay(serde_json::to_string(&init).ok()?))
}

/// Removes the members with these names.
fn take(object: &mut Members, names: &[&str]) -> Vec<Box<RawValue>> {
    let (found, rest) =
        mem::take(&mut object.0).into_iter().partition(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()));
    object.0 = rest;
    BTreeMap::into_values(found).collect()
}

/// `{"type":"auth.token","token":"…"}`
pub(super) fn json(message: &Message) -> Option<FirstToken> {
    let Members(members) = object(text(message)?)?;
    let string = |name| serde_json::from_str::<String>(members.get(name)?.get()).ok();
    if string("type")? != "auth.token" {
        return None;
    }
    let token = Token::new(string("token")?);
    #[cfg(feature = "dpop")]
    let token = match members.get(PROOF) {
        Some(_) => token.with_dpop_proof(string(PROOF)?),
        None => token,
    };
    Some(FirstToken::new(token))
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

#[derive(Deserialize, Serialize)]
struct Command {
    connect: Members,
    id: Box<RawValue>,
}

/// `{"id":1,"connect":{"token":"…"}}`, possibly with other commands on the next lines.
pub(super) fn centrifugo(message: &Message) -> Option<FirstToken> {
    let text = text(message)?;
    let (first, others) = text.find('\n').map_or((text, ""), |end| text.split_at(end));
    let mut command: Command = object(first)?;
    let token: String = serde_json::from_str(command.connect.0.remove("token")?.get()).ok()?;
    let rest = serde_json::to_string(&command).ok()?;
    Some(FirstToken::new(Token::new(token)).replay(format!("{rest}{others}")))
}

/// Centrifugo's code for an expired token.
const TOKEN_EXPIRED: u16 = 109;

/// `{"id":1,"error":{"code":109,…}}` for an expired token. It is the only error after which a client gets a new token.
pub(super) fn centrifugo_error(rejection: &Rejection, first: Option<&Message>) -> Option<Message> {
    if !rejection.is_of_expired_token() {
        return None;
    }
    let Command { id, .. } = object(text(first?)?.lines().next()?)?;
    let id: u32 = serde_json::from_str(id.get()).ok()?;
    let error = json!({ "code": TOKEN_EXPIRED, "message": "token expired" });
    Some(json!({ "id": id, "error": error }).to_string().into())
}

fn text(message: &Message) -> Option<&str> {
    match message {
        Message::Text(text) => Some(text),
        _ => None,
    }
}

fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    // serde would accept an array for a struct.
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn without_scheme(text: &str) -> &str {
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let is_scheme =
        scheme.eq_ignore_ascii_case("bearer") || (cfg!(feature = "dpop") && scheme.eq_ignore_ascii_case("dpop"));
    if is_scheme { token.trim_start() } else { text }
}

/// An object without duplicate members. The values are kept as written.
#[derive(Serialize)]
struct Members(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a duplicate member"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}
