//! First messages: each protocol finds the token that `serde_json` finds in the members of the message, and no other.
//! What the handler receives in place of the message is the rest of it, and holds no token.
//!
//! The input is the protocol, and the text of the message.
#![no_main]

use std::sync::LazyLock;

use axum::extract::ws::Message;
use axum_ws_auth::{FirstMessage, fuzzing::find_first_token};
use axum_ws_auth_fuzz::json::{Members, RawMembers, string};
use libfuzzer_sys::fuzz_target;

const GRAPHQL_MEMBERS: [&str; 6] =
    ["authorization", "authentication", "token", "accesstoken", "access_token", "authtoken"];

struct Protocol {
    protocol: FirstMessage,
    /// The token in a text.
    token: fn(&str) -> Option<String>,
    /// Checks what the handler receives in place of a text.
    check: fn(&str, Option<&str>),
}

static PROTOCOLS: LazyLock<[Protocol; 4]> = LazyLock::new(|| {
    let nothing = |_: &str, rest: Option<&str>| assert_eq!(rest, None, "the handler receives the message");
    [
        Protocol { protocol: FirstMessage::json(), token: json_token, check: nothing },
        Protocol { protocol: FirstMessage::home_assistant(), token: home_assistant_token, check: nothing },
        Protocol { protocol: FirstMessage::graphql_ws(), token: graphql_token, check: check_graphql },
        Protocol { protocol: FirstMessage::centrifugo(), token: centrifugo_token, check: check_centrifugo },
    ]
});

fuzz_target!(|data: &[u8]| {
    let Some((&selector, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let Protocol { protocol, token, check } = &PROTOCOLS[usize::from(selector) % PROTOCOLS.len()];
    assert!(find_first_token(protocol, &Message::Binary(text.to_owned().into())).is_none(), "in a binary message");
    let found = find_first_token(protocol, &Message::Text(text.into()));
    assert_eq!(found.as_ref().map(|(token, _)| token.expose()), token(text).as_deref());
    if let Some((token, rest)) = found {
        assert_eq!(format!("{token:?}"), "Token(..)");
        check(text, rest.as_ref().map(|rest| rest.to_text().expect("text")));
        assert!(rest.is_none_or(|rest| find_first_token(protocol, &rest).is_none()), "a second token");
    }
});

fn object(text: &str) -> Option<RawMembers> {
    serde_json::from_str(text).ok()
}

fn only_string(members: &RawMembers, name: &str) -> Option<String> {
    string(members.only(name)?)
}

fn json_token(text: &str) -> Option<String> {
    let members = object(text).filter(Members::are_unique)?;
    // The proof of a bound token.
    let proof_is_text = members.only("dpop").is_none_or(|proof| string(proof).is_some());
    (proof_is_text && only_string(&members, "type")? == "auth.token").then(|| only_string(&members, "token"))?
}

fn home_assistant_token(text: &str) -> Option<String> {
    let members = object(text)?;
    (only_string(&members, "type")? == "auth").then(|| only_string(&members, "access_token"))?
}

/// The payload of `connection_init`, and the headers in it.
fn connection_init(text: &str) -> Option<(RawMembers, Vec<RawMembers>)> {
    let message = object(text)?;
    let payload = object(message.only("payload")?.get()).filter(Members::are_unique)?;
    let headers = payload.0.iter().filter(|(name, value)| is_headers(name) && value.get().starts_with('{'));
    let headers = headers.map(|(_, headers)| object(headers.get()).filter(Members::are_unique));
    let headers = headers.collect::<Option<_>>()?;
    (only_string(&message, "type")? == "connection_init").then_some((payload, headers))
}

fn is_headers(name: &str) -> bool {
    name.eq_ignore_ascii_case("headers")
}

fn is_graphql_member(name: &str) -> bool {
    GRAPHQL_MEMBERS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn is_authorization(name: &str) -> bool {
    name.eq_ignore_ascii_case("authorization")
}

fn graphql_token(text: &str) -> Option<String> {
    let (payload, headers) = connection_init(text)?;
    if payload.only("dpop").is_some_and(|proof| string(proof).is_none()) {
        return None;
    }
    let in_payload = payload.0.iter().filter(|(name, _)| is_graphql_member(name));
    let in_headers = headers.iter().flat_map(|headers| &headers.0).filter(|(name, _)| is_authorization(name));
    let mut tokens = Vec::new();
    for (_, value) in in_payload.chain(in_headers) {
        if value.get() == "null" {
            continue;
        }
        let text = string(value)?;
        let token = match text.split_once(' ') {
            Some((scheme, token)) if is_scheme(scheme) => token.trim_start(),
            None if is_scheme(&text) => "",
            _ => &text,
        };
        if !token.is_empty() {
            tokens.push(token.to_owned());
        }
    }
    tokens.dedup();
    if tokens.len() == 1 { tokens.pop() } else { None }
}

fn is_scheme(text: &str) -> bool {
    text.eq_ignore_ascii_case("bearer") || text.eq_ignore_ascii_case("dpop")
}

fn check_graphql(text: &str, rest: Option<&str>) {
    let (payload, headers) = connection_init(text).expect("it has a token");
    let (rest_payload, rest_headers) = connection_init(rest.expect("a message")).expect("it is the same message");
    let keep = |name: &str| !is_graphql_member(name) && !(is_headers(name));
    assert_eq!(payload.sorted(keep), rest_payload.sorted(|name| !is_headers(name)));
    let headers = sorted(&headers, |name| !is_authorization(name));
    assert_eq!(headers, sorted(&rest_headers, |_| true));
}

/// The order of several `headers`, which differ in case, may change.
fn sorted(headers: &[RawMembers], keep: fn(&str) -> bool) -> Vec<Vec<(&str, &str)>> {
    let mut sorted: Vec<_> = headers.iter().map(|headers| headers.sorted(keep)).collect();
    sorted.sort_unstable();
    sorted
}

/// The first command and the other lines.
fn centrifugo(text: &str) -> Option<(RawMembers, RawMembers, &str)> {
    let end = text.find('\n').unwrap_or(text.len());
    let command = object(&text[..end])?;
    let connect = object(command.only("connect")?.get()).filter(Members::are_unique)?;
    command.only("id")?;
    Some((command, connect, &text[end..]))
}

fn centrifugo_token(text: &str) -> Option<String> {
    let (_, connect, _) = centrifugo(text)?;
    only_string(&connect, "token")
}

fn check_centrifugo(text: &str, rest: Option<&str>) {
    let (command, connect, others) = centrifugo(text).expect("it has a token");
    let (rest_command, rest_connect, rest_others) = centrifugo(rest.expect("a message")).expect("a command");
    assert_eq!(command.only("id").map(|id| id.get()), rest_command.only("id").map(|id| id.get()));
    assert_eq!(connect.sorted(|name| name != "token"), rest_connect.sorted(|_| true));
    assert_eq!(others, rest_others);
}
