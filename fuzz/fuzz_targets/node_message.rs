//! Messages of other nodes, as they come over a bus that others may write to:
//!
//! - A session ends only by a well-formed order to recheck its subject or end it, and always by one.
//! - A session is refreshed only by its own id and a token of its own subject.
//! - There is at most one answer to each request, with its number and to its sender. No answer holds a token.
//!
//! The input is a message in each line. Control characters stand for the ids of two sessions, their tokens, and a node.
#![no_main]

use std::{
    collections::VecDeque,
    future::{pending, ready},
    mem,
    sync::{Arc, Mutex},
};

use axum_ws_auth::{
    ScopedId, Session, SessionId, Sessions, Verified, VerifyError, VerifyInput, WsAuthLayer,
    store::{Delivery, NodeBus, NodeId, NodeInbox, StoreError},
};
use axum_ws_auth_fuzz::{
    handshake::{call, handshake, runtime},
    json::RawMembers,
};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::yield_now;

const SUBJECTS: [&str; 2] = ["alice", "bob"];
const TOKENS: [&str; 2] = ["token-of-alice-0123456789", "token-of-bob-0123456789"];
const NODE: &str = "00000000000000ff";
const MAX_MESSAGES: usize = 32;

#[derive(Default)]
struct Bus {
    incoming: Mutex<VecDeque<Vec<u8>>>,
    sent: Mutex<Vec<(NodeId, Vec<u8>)>>,
}

struct Inbox(VecDeque<Vec<u8>>);

impl NodeBus for Bus {
    async fn listen(&self, _: NodeId) -> Result<impl NodeInbox, StoreError> {
        Ok(Inbox(mem::take(&mut *self.incoming.lock().expect("no panic"))))
    }

    async fn send(&self, to: NodeId, message: Vec<u8>) -> Result<Delivery, StoreError> {
        self.sent.lock().expect("no panic").push((to, message));
        Ok(Delivery::Sent)
    }
}

impl NodeInbox for Inbox {
    async fn receive(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.0.pop_front() {
            Some(message) => Ok(message),
            None => pending().await,
        }
    }
}

fuzz_target!(|data: &[u8]| runtime().block_on(run(data)));

async fn run(data: &[u8]) {
    let registry = Sessions::new();
    let sessions = [begin(&registry, 0).await, begin(&registry, 1).await];
    let messages: Vec<_> =
        data.split(|byte| *byte == b'\n').take(MAX_MESSAGES).map(|line| filled(line, &sessions)).collect();
    let bus = Arc::new(Bus::default());
    *bus.incoming.lock().expect("no panic") = messages.iter().cloned().collect();
    let registry = registry.reachable_through(Arc::clone(&bus));
    for _ in 0..4 * MAX_MESSAGES {
        yield_now().await;
    }
    let requests: Vec<_> = messages.iter().filter_map(|message| Request::parse(message)).collect();
    for (session, subject) in sessions.iter().zip(SUBJECTS) {
        check_end(session, subject, &requests);
    }
    check_answers(&bus.sent.lock().expect("no panic"), &requests, &sessions);
    drop(registry);
}

async fn begin(registry: &Sessions, subject: usize) -> Session<()> {
    let verifier = |input: VerifyInput<'_>| {
        let subject = TOKENS.iter().position(|token| *token == input.token.expose());
        let verified = subject.map(|subject| Verified::new(()).with_subject(SUBJECTS[subject]).with_issuer("issuer"));
        ready(verified.ok_or_else(VerifyError::invalid))
    };
    let layer = WsAuthLayer::new(verifier).sessions(registry);
    let mut request = handshake("/").expect("a request");
    let authorization = format!("Bearer {}", TOKENS[subject]).try_into().expect("a value");
    request.headers_mut().insert("authorization", authorization);
    let (_, seen) = call(&layer, request, None).await;
    seen.expect("it is accepted").extensions.get().cloned().expect("a session")
}

fn filled(line: &[u8], sessions: &[Session<()>; 2]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(line.len());
    for byte in line {
        match byte {
            1 | 2 => filled.extend_from_slice(sessions[usize::from(*byte) - 1].id().to_string().as_bytes()),
            3 | 4 => filled.extend_from_slice(TOKENS[usize::from(*byte) - 3].as_bytes()),
            5 => filled.extend_from_slice(NODE.as_bytes()),
            byte => filled.push(*byte),
        }
    }
    filled
}

/// A request, if a message has the members of one. Each member that matters occurs once.
struct Request {
    number: u64,
    from: NodeId,
    /// It has no member but its own, and they are in order: it is surely understood.
    is_exact: bool,
    what: What,
}

enum What {
    Refresh { session: String, token: String },
    Recheck { subject: ScopedId, or_end: bool },
}

impl Request {
    fn parse(message: &[u8]) -> Option<Self> {
        let members: RawMembers = serde_json::from_slice(message).ok()?;
        fn read<T: DeserializeOwned>(members: &RawMembers, name: &str) -> Option<T> {
            serde_json::from_str(members.only(name)?.get()).ok()
        }
        let text = |name| read::<String>(&members, name);
        if read::<u32>(&members, "version")? != 1 {
            return None;
        }
        let (what, count) = match text("type")?.as_str() {
            "refresh" => (What::Refresh { session: text("session")?, token: text("token")? }, 7),
            "recheck" => (What::Recheck { subject: read(&members, "subject")?, or_end: read(&members, "or_end")? }, 6),
            _ => return None,
        };
        let is_refresh = || {
            read::<Option<ScopedId>>(&members, "sender").is_some() && read::<SessionId>(&members, "session").is_some()
        };
        let is_exact = members.0.len() == count && (count == 6 || is_refresh());
        Some(Self { number: read(&members, "number")?, from: read(&members, "from")?, is_exact, what })
    }
}

fn check_end(session: &Session<()>, subject: &str, requests: &[Request]) {
    let own = ScopedId::of("issuer", subject);
    let ends =
        |request: &&Request| matches!(&request.what, What::Recheck { subject, or_end: true } if subject.matches(&own));
    let is_ended = session.end_reason().is_some();
    assert!(!is_ended || requests.iter().any(|request| ends(&request)), "{subject} is ended");
    assert!(
        is_ended || !requests.iter().filter(|request| request.is_exact).any(|request| ends(&request)),
        "{subject} is not ended"
    );
}

fn check_answers(sent: &[(NodeId, Vec<u8>)], requests: &[Request], sessions: &[Session<()>; 2]) {
    assert!(sent.len() <= requests.len(), "{} answers to {} requests", sent.len(), requests.len());
    assert!(sent.len() >= requests.iter().filter(|request| request.is_exact).count(), "a request is not answered");
    for (to, answer) in sent {
        let text = str::from_utf8(answer).expect("text");
        assert!(TOKENS.iter().all(|token| !text.contains(token)), "the answer holds a token");
        let answer: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(answer["version"], 1);
        let is_refresh = match answer["type"].as_str() {
            Some("answer") => true,
            Some("rechecked") => false,
            other => panic!("an answer of the type {other:?}"),
        };
        let is_refreshed = !answer["reply"]["refreshed"].is_null();
        let is_answered = |request: &Request| {
            request.from == *to
                && answer["number"] == request.number
                && match &request.what {
                    What::Recheck { .. } => !is_refresh,
                    What::Refresh { session, token } => {
                        is_refresh && (!is_refreshed || may_refresh(session, token, sessions))
                    }
                }
        };
        assert!(requests.iter().any(is_answered), "nobody asked for {text}");
    }
}

fn may_refresh(session: &str, token: &str, sessions: &[Session<()>; 2]) -> bool {
    let own = sessions.iter().zip(TOKENS).find(|(own, _)| own.id().to_string().eq_ignore_ascii_case(session));
    own.is_some_and(|(_, own)| token == own)
}
