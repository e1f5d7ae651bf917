//! Messages that may be refreshes: the JSON protocol and Centrifugo's find the token that `serde_json` finds in the
//! members of the message, and no other. A malformed message that may hold a token reaches no handler. What does reach
//! one holds none.
//!
//! The input is the protocol, and the text of the message.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use axum::extract::ws::Message;
use axum_ws_auth::{
    RefreshProtocol,
    fuzzing::{read_refresh, respond_to_refresh},
};
use axum_ws_auth_fuzz::json::{Members, RawMembers, string};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// A refresh: the token, unless it is malformed, and what the handler receives.
type Refresh = (Option<String>, Option<String>);

const MALFORMED: Option<Refresh> = Some((None, None));

static PROTOCOLS: LazyLock<[RefreshProtocol; 2]> =
    LazyLock::new(|| [RefreshProtocol::json(), RefreshProtocol::centrifugo()]);

fuzz_target!(|data: &[u8]| {
    let Some((&selector, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let is_json = selector % 2 == 0;
    let protocol = &PROTOCOLS[usize::from(selector % 2)];
    assert!(read_refresh(protocol, &Message::Binary(text.to_owned().into())).is_none(), "in a binary message");
    let message = Message::Text(text.into());
    let found = read_refresh(protocol, &message);
    let plain = found.as_ref().map(|(token, rest)| {
        let rest = rest.as_ref().map(|rest| rest.to_text().expect("text").to_owned());
        (token.as_ref().map(|token| token.expose().to_owned()), rest)
    });
    if is_json {
        check_json(text, &plain)
    } else {
        check_centrifugo(text, &plain)
    }
    let Some((_, rest)) = found else { return };
    assert!(rest.is_none_or(|rest| read_refresh(protocol, &rest).is_none()), "a second refresh");
    for left in [None, Some(Duration::from_secs(3600)), Some(Duration::MAX)] {
        let response = respond_to_refresh(protocol, &message, left);
        let response = response.map(|response| response.to_text().expect("text").to_owned());
        let response = response.map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
        assert!(response.is_some() || !is_json, "no response");
        if !is_json {
            assert_eq!(response.map(|response| response["id"].clone()), id(text).map(Value::from));
        }
    }
});

fn check_json(text: &str, found: &Option<Refresh>) {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let text = text.trim_end_matches(|c: char| c == '\u{1e}' || c.is_whitespace());
    let Ok(members) = serde_json::from_str::<RawMembers>(text) else {
        let may_be_refresh = text.starts_with('{') && text.contains(r#""auth.refresh""#) && text.contains(r#""token""#);
        // The type may also stand before the fault in another spelling.
        assert!(*found == MALFORMED || (found.is_none() && !may_be_refresh), "{found:?}");
        return;
    };
    let is_refresh = members.all("type").any(|value| string(value).as_deref() == Some("auth.refresh"));
    let is_unique = ["type", "token", "dpop"].iter().all(|name| members.all(name).count() <= 1);
    let token = members.only("token").and_then(|token| string(token));
    let expected = match (is_refresh, token) {
        (true, Some(token)) if is_unique => Some((Some(token), None)),
        (true, _) => MALFORMED,
        (false, _) => None,
    };
    assert_eq!(*found, expected);
}

/// The members of a line that is a refresh command.
fn command(line: &str) -> Option<RawMembers> {
    let Ok(members) = serde_json::from_str::<RawMembers>(line) else {
        let may_be_refresh =
            line.trim_start().starts_with('{') && line.contains(r#""refresh""#) && line.contains(r#""token""#);
        return may_be_refresh.then_some(Members(Vec::new()));
    };
    members.has("refresh").then_some(members)
}

fn check_centrifugo(text: &str, found: &Option<Refresh>) {
    let (commands, others): (Vec<_>, Vec<_>) = text.lines().partition(|line| command(line).is_some());
    let Some(&first) = commands.first() else {
        assert_eq!(*found, None);
        return;
    };
    let refresh =
        command(first).and_then(|members| members.all("refresh").last().map(|refresh| refresh.get().to_owned()));
    let refresh = refresh.and_then(|refresh| serde_json::from_str::<RawMembers>(&refresh).ok());
    let token = refresh.and_then(|members| string(members.only("token")?)).filter(|_| commands.len() == 1);
    let others = others.join("\n");
    assert_eq!(*found, Some((token, Some(others).filter(|others| !others.trim().is_empty()))));
}

/// The id of the first refresh command, if it can be answered.
fn id(text: &str) -> Option<u32> {
    let command = text.lines().find_map(command)?;
    serde_json::from_str(command.all("id").last()?.get()).ok()
}
