//! Answers to polls for security events (RFC 8936). The next poll acknowledges the events that a push accepts too, and
//! reports the others with the error that a push gets. Of an answer that is not one, nothing is read.
//!
//! The input is the answer, a zero byte, and the claims of an event. In the answer, `"$"` stands for the token of this
//! event.
#![no_main]

use std::{
    collections::BTreeMap,
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::body::Bytes;
use axum_ws_auth::{
    TimeSource,
    jwks::IssuerKeys,
    signals::{Poll, SharedSignals},
};
use axum_ws_auth_fuzz::{
    documents::{
        object::Object,
        refused::{Outcome, refused},
        revocations::{Recorder, post},
        runtime::block_on,
        split,
        token::{ISSUER, SECRET_SET, now},
    },
    jwt::sign,
};
use http::{Request, Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tokio::sync::mpsc;

fuzz_target!(|data: &[u8]| {
    let Some((answer, claims)) = split(data) else { return };
    let answer = with_token(answer, &sign(br#"{"alg":"HS256","typ":"secevent+jwt"}"#, claims));
    let (polled, pushed) = block_on(async {
        let sets = sets(&answer).unwrap_or_default();
        (poll(answer.clone().into()).await, push(sets).await)
    });
    assert_eq!(polled, pushed);
});

fn with_token(mut answer: &[u8], token: &str) -> Vec<u8> {
    let mut with_token = Vec::new();
    while let Some(place) = answer.windows(3).position(|bytes| bytes == b"\"$\"") {
        with_token.extend_from_slice(&answer[..place]);
        with_token.extend_from_slice(format!("\"{token}\"").as_bytes());
        answer = &answer[place + 3..];
    }
    with_token.extend_from_slice(answer);
    with_token
}

fn receiver() -> SharedSignals {
    let keys = IssuerKeys::jwks(ISSUER, serde_json::from_str(SECRET_SET).expect("a set"));
    let signals = SharedSignals::with_keys(keys, &Recorder::default().revocations()).audience("chat");
    signals.time_source(TimeSource::new(now)).build().expect("a receiver")
}

/// Answers the first poll, and returns what the next one reports.
async fn poll(answer: Bytes) -> Value {
    let (reports, mut reported) = mpsc::unbounded_channel();
    let is_answered = AtomicBool::new(false);
    let client = move |request: Request<Bytes>| {
        let answer = (!is_answered.swap(true, Ordering::Relaxed)).then(|| answer.clone());
        if answer.is_none() {
            let _ = reports.send(request.into_body());
        }
        async {
            match answer {
                Some(answer) => Ok(Response::new(answer)),
                None => pending().await,
            }
        }
    };
    let poll = Poll::new("https://id.example.com/poll").expect("a url").client(client);
    let _polling = receiver().poll(poll).expect("a runtime");
    let report = reported.recv().await.expect("another poll");
    serde_json::from_slice(&report).expect("a poll")
}

/// Pushes the tokens, and returns what a poll has to report of them.
async fn push(sets: BTreeMap<String, String>) -> Value {
    let (mut accepted, mut refused) = (Vec::new(), BTreeMap::new());
    for (id, token) in sets {
        let (status, answer) = post(receiver().push_route(), "application/secevent+jwt", token).await;
        match status {
            StatusCode::ACCEPTED => accepted.push(id),
            _ => drop(refused.insert(id, serde_json::from_str::<Value>(&answer).expect("an error"))),
        }
    }
    let mut report = json!({ "maxEvents": 15, "returnImmediately": !accepted.is_empty() || !refused.is_empty() });
    if !accepted.is_empty() {
        report["ack"] = json!(accepted);
    }
    if !refused.is_empty() {
        report["setErrs"] = json!(refused);
    }
    report
}

/// The tokens that are read from an answer, by their ids.
fn sets(answer: &[u8]) -> Outcome<BTreeMap<String, String>> {
    let sets = match Object::read(answer)?.value("sets")? {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(sets)) => sets,
        Some(_) => return refused("the sets are not an object"),
    };
    let sets = sets.into_iter().filter(|(id, _)| id.len() <= 1024).collect::<BTreeMap<_, _>>().into_iter();
    Ok(sets.take(1000).map(|(id, token)| (id, token.as_str().unwrap_or_default().to_owned())).collect())
}
