//! The attack table: handshakes as data, each with the answer that the RFCs demand. `attacks/README.md` explains the
//! form.
//!
//! Each runs by a call of the service, over HTTP/1.1 on a socket, and over HTTP/2, where it can be expressed there.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic"
)]
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]

mod support;

#[path = "attacks/http1.rs"]
mod http1;
#[path = "attacks/keys.rs"]
mod keys;
#[path = "attacks/request.rs"]
mod request;
#[path = "attacks/service.rs"]
mod service;
#[path = "attacks/table.rs"]
mod table;
#[path = "attacks/template.rs"]
mod template;
#[path = "attacks/token.rs"]
mod token;
#[path = "attacks/trace.rs"]
mod trace;
#[path = "attacks/transport.rs"]
mod transport;
#[path = "attacks/vectors.rs"]
mod vectors;

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use serde_json::Value;
use tokio::time::timeout;

use self::{
    request::Attack,
    service::Observation,
    table::{Case, Expected, Topic, Transport},
    transport::{Reply, Services},
};

macro_rules! topics {
    ($($topic:ident),+ $(,)?) => {
        const TOPICS: &[(&str, &str)] =
            &[$((stringify!($topic), include_str!(concat!("attacks/", stringify!($topic), ".json")))),+];

        $(
            #[tokio::test]
            async fn $topic() {
                run(include_str!(concat!("attacks/", stringify!($topic), ".json"))).await;
            }
        )+
    };
}

topics! {
    algorithms, claims, cookie, duplicates, encoding, header, http2, keys_in_headers, origin, pipelining, query, signatures,
    sizes, subprotocol, target, upgrade,
}

/// Runs every case of a file, and reports all that fail.
async fn run(file: &str) {
    let mut services = Services::default();
    let mut failures = Vec::new();
    for case in Topic::parse(file).cases {
        let attack = Attack::of(&case);
        for transport in [Transport::Oneshot, Transport::Http1, Transport::Http2] {
            if !case.runs_over(transport) {
                continue;
            }
            let service = services.get(&case.service).await;
            let _ = service.observed.take();
            let reply = timeout(Duration::from_secs(20), service.send(&attack, transport)).await;
            let outcome = reply
                .unwrap_or_else(|_| Err("no response in 20 s".to_owned()))
                .and_then(|reply| check(&case, transport, &attack, &reply, &service.observed.take()));
            if let Err(problem) = outcome {
                failures.push(format!("{} ({transport:?}): {problem}\n    why: {}", case.name, case.why));
            }
        }
    }
    assert!(failures.is_empty(), "{} failed:\n\n{}\n", failures.len(), failures.join("\n\n"));
}

fn check(
    case: &Case,
    transport: Transport,
    attack: &Attack,
    reply: &Reply,
    observed: &Observation,
) -> Result<(), String> {
    let is_socket = reply.status == 101 || (transport == Transport::Http2 && reply.status == 200);
    let status = if is_socket { 101 } else { reply.status };
    let got = match &observed.refusal {
        Some((kind, reason)) => Expected::Refused(status, kind.clone(), reason.clone()),
        None => Expected::Status(status),
    };
    let expected = case.expected(transport);
    if got != *expected {
        return Err(format!("expected {expected:?}, got {got:?}"));
    }
    let is_traced = |text: &[u8]| attack.tokens.iter().any(|token| trace::is_in(token, text));
    if reply.headers.values().any(|value| is_traced(value.as_bytes())) || is_traced(&reply.body) {
        return Err("the response holds the token".to_owned());
    }
    if observed.seen.as_ref().is_some_and(|seen| is_traced(seen)) {
        return Err("the inner service sees the token".to_owned());
    }
    if status == 101 && observed.seen.is_none() {
        return Err("the inner service was not called".to_owned());
    }
    if let Expected::Refused(status, kind, _) = &got {
        check_refusal((*status, kind), attack, reply, observed, transport)?;
    }
    let selected = reply.headers.get("sec-websocket-protocol").map(|name| name.to_str().expect("ASCII"));
    if case.selects.is_some() && selected != case.selects.as_deref() {
        return Err(format!("selected {selected:?}"));
    }
    Ok(())
}

/// What holds for every refusal by the layer.
fn check_refusal(
    (status, kind): (u16, &str),
    attack: &Attack,
    reply: &Reply,
    observed: &Observation,
    transport: Transport,
) -> Result<(), String> {
    if observed.seen.is_some() {
        return Err("the inner service saw a refused request".to_owned());
    }
    let challenge = reply.headers.get("www-authenticate").map(|value| value.to_str().expect("ASCII"));
    if status == 401 && !challenge.is_some_and(|challenge| challenge.starts_with("Bearer ")) {
        return Err(format!("the challenge is {challenge:?}"));
    }
    if ["upgrade", "sec-websocket-accept", "sec-websocket-protocol"]
        .iter()
        .any(|name| reply.headers.contains_key(*name))
    {
        return Err("a refusal has a header of a handshake".to_owned());
    }
    let closes = reply.headers.get("connection").is_some_and(|value| value == "close");
    if closes != (transport != Transport::Http2) {
        return Err(format!("Connection: close is {closes}"));
    }
    if !attack.has_body() {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&reply.body).map_err(|error| format!("the body: {error}"))?;
    if body["error"] != kind || body["status"] != status {
        return Err(format!("the body is {body}"));
    }
    Ok(())
}

#[test]
fn table_is_large_and_names_are_unique() {
    let cases: Vec<Case> = TOPICS.iter().flat_map(|(_, file)| Topic::parse(file).cases).collect();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name occurs twice");
    let controls = cases.iter().filter(|case| case.is_control()).count();
    println!("{} cases, of which {controls} must pass", cases.len());
    assert!(cases.len() >= 300, "{} cases", cases.len());
    assert!(controls >= 30, "{controls} cases must pass");
}

#[test]
fn every_file_is_a_topic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    assert_eq!(files, TOPICS.iter().map(|(name, _)| (*name).to_owned()).collect());
}
