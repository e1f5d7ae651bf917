//! What the clients do, and the expected outcomes.

use std::{collections::BTreeMap, time::SystemTime};

use axum_ws_auth::test_util::TestToken;
use serde::{Deserialize, Serialize};

use crate::server::Server;

/// A WebSocket to open, and a message to send.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attempt {
    pub(crate) url: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) text: String,
}

/// What the client saw.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The message came back, and the client closed with 1000.
    Echoed { protocol: String, text: String, code: u16 },
    /// The server closed before the message came back.
    Closed { protocol: String, code: u16, reason: String },
    /// The handshake was refused with a status.
    Refused { status: u16 },
    /// The handshake failed, as the web's `WebSocket` tells it.
    Failed { error: bool, code: u16, reason: String },
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) attempt: Attempt,
    /// What the server answered.
    pub(crate) status: u16,
    /// What a client sees that can see everything.
    pub(crate) outcome: Outcome,
}

pub(crate) fn good_tokens(server: &Server) -> Vec<Case> {
    let token = server.token.as_str();
    let to = |path| Attempt::new(server, path);
    vec![
        Case::accepted("pair", to("/bearer").protocols(["bearer", token]), "bearer"),
        Case::accepted("marker in another case", to("/bearer").protocols(["Bearer", token]), "Bearer"),
        Case::accepted("pair after another name", to("/bearer").protocols(["chat.v1", "bearer", token]), "bearer"),
        Case::accepted("handler selects", to("/v1").protocols(["bearer", token, "chat.v1"]), "chat.v1"),
        Case::accepted("handler finds nothing to select", to("/v1").protocols(["bearer", token]), "bearer"),
        Case::accepted("nearly 8 KiB", to("/bearer").protocols(["bearer", &long(5900)]), "bearer"),
        // Larger than the client's buffers.
        Case::accepted(
            "long message",
            to("/bearer").protocols(["bearer", token]).text(&"long ".repeat(20_000)),
            "bearer",
        ),
        Case::accepted("64 KiB", to("/bearer").protocols(["bearer", token]).text(&"x".repeat(64 << 10)), "bearer"),
        Case::accepted("1 MiB", to("/bearer").protocols(["bearer", token]).text(&"x".repeat(1 << 20)), "bearer"),
        Case::accepted("idle, but for pings", to("/kept").protocols(["bearer", token]), "bearer"),
        Case::accepted("header", to("/bearer").header("authorization", format!("Bearer {token}")), ""),
        Case::accepted(
            "header beside a name",
            to("/v1").protocols(["chat.v1"]).header("authorization", format!("Bearer {token}")),
            "chat.v1",
        ),
    ]
}

pub(crate) fn bad_tokens(server: &Server) -> Vec<Case> {
    let to = |path| Attempt::new(server, path);
    vec![
        Case::refused("no token", to("/bearer"), 401),
        Case::refused("another name only", to("/bearer").protocols(["chat.v1"]), 401),
        Case::refused("no JWT", to("/bearer").protocols(["bearer", "bad"]), 401),
        Case::refused("another key", to("/bearer").protocols(["bearer", &forged()]), 401),
        Case::refused("expired", to("/bearer").protocols(["bearer", &expired()]), 401),
        Case::refused("bad header", to("/bearer").header("authorization", "Bearer bad"), 401),
        Case::refused("more than 8 KiB", to("/bearer").protocols(["bearer", &long(6200)]), 400),
        Case::refused("marker alone", to("/bearer").protocols(["bearer"]), 400),
        // A refusal has no effect on later handshakes.
        Case::accepted("good again", to("/bearer").protocols(["bearer", &server.token]), "bearer"),
    ]
}

pub(crate) fn cookies(server: &Server) -> Vec<Case> {
    let own = server.origin();
    let with = |path, token: &str| Attempt::new(server, path).header("cookie", format!("theme=dark; session={token}"));
    let good = |path| with(path, &server.token);
    vec![
        Case::accepted("right origin", good("/cookie").header("origin", &own), ""),
        Case::refused("wrong origin", good("/cookie").header("origin", "http://127.0.0.1"), 403),
        Case::refused("no origin", good("/cookie"), 403),
        Case::refused("no cookie", Attempt::new(server, "/cookie").header("origin", &own), 401),
        Case::refused("bad cookie", with("/cookie", &forged()).header("origin", &own), 401),
        // A page of another origin, or of an unknown one, does not get the reason.
        Case::refused("wrong origin, no reason", good("/cookie/close").header("origin", "http://127.0.0.1"), 403),
        Case::refused("no origin, no reason", good("/cookie/close"), 403),
        Case::closed(
            "bad cookie, reason",
            with("/cookie/close", &forged()).header("origin", &own),
            "",
            3000,
            "invalid_token",
        ),
    ]
}

pub(crate) fn accept_then_close(server: &Server) -> Vec<Case> {
    let to = |path| Attempt::new(server, path);
    vec![
        Case::accepted("good", to("/close").protocols(["bearer", &server.token]), "bearer"),
        Case::closed("no token", to("/close"), "", 3000, "missing_token"),
        Case::closed("another name only", to("/close").protocols(["chat.v1"]), "chat.v1", 3000, "missing_token"),
        Case::closed("no JWT", to("/close").protocols(["bearer", "bad"]), "bearer", 3000, "invalid_token"),
        Case::closed("another key", to("/close").protocols(["bearer", &forged()]), "bearer", 3000, "invalid_token"),
        Case::closed("expired", to("/close").protocols(["bearer", &expired()]), "bearer", 3000, "invalid_token"),
        // The client sends before it reads. The close frame must not be lost.
        Case::closed(
            "sends without reading",
            to("/close").protocols(["bearer", "bad"]).text(&"long ".repeat(60_000)),
            "bearer",
            3000,
            "invalid_token",
        ),
        Case::closed("marker alone", to("/close").protocols(["bearer"]), "bearer", 1008, "invalid_request"),
    ]
}

pub(crate) fn endings(server: &Server) -> Vec<Case> {
    let to = |path| Attempt::new(server, path).protocols(["bearer", &server.token]);
    vec![
        // The handler does not read.
        Case::closed("at the deadline", to("/brief"), "bearer", 3000, "max_lifetime"),
        Case::closed("by the application", to("/ended"), "bearer", 4403, "policy"),
        // The client does not read either, because it is sending.
        Case::closed("while it sends", to("/brief").text(&"long ".repeat(60_000)), "bearer", 3000, "max_lifetime"),
    ]
}

/// Refusals before the client has authenticated. The server does not read the rest of what it sends.
pub(crate) fn first_messages(server: &Server) -> Vec<Case> {
    let to = |text: &str| Attempt::new(server, "/first").text(text);
    let closed = |name, attempt, code, reason| Case::closed(name, attempt, "", code, reason);
    let token = server.token.as_str();
    vec![
        closed("no token", to("hello"), 3000, "missing_token"),
        closed("no JWT", to("token:bad"), 3000, "invalid_token"),
        closed("another key", to(&format!("token:{}", forged())), 3000, "invalid_token"),
        closed("expired", to(&format!("token:{}", expired())), 3000, "invalid_token"),
        closed("an empty token", to("token:"), 1008, "invalid_request"),
        closed("a line break", to(&format!("token:{token}\r\n")), 3000, "invalid_token"),
        closed("a long token", to(&format!("token:{}", long(6200))), 1008, "invalid_request"),
        // The limit is 16 KiB. The sockets' buffers hold more.
        closed("too large", to(&"x".repeat(17_000)), 1008, "invalid_request"),
        closed("much too large", to(&"x".repeat(300_000)), 1008, "invalid_request"),
        closed("huge", to(&"x".repeat(2_000_000)), 1008, "invalid_request"),
        closed(
            "a refused handshake",
            Attempt::new(server, "/close").text(&"x".repeat(2_000_000)),
            3000,
            "missing_token",
        ),
        Case::accepted("good again", to(&format!("token:{token}")), ""),
    ]
}

fn forged() -> String {
    TestToken::new("alice").sign_with(b"TEST KEY, but not the one of the server")
}

fn expired() -> String {
    TestToken::new("alice").expires_at(SystemTime::UNIX_EPOCH).sign()
}

/// A token of about 4/3 as many bytes.
fn long(bytes: usize) -> String {
    TestToken::new("alice").claim("padding", "x".repeat(bytes)).sign()
}

impl Attempt {
    pub(crate) fn new(server: &Server, path: &str) -> Self {
        Self { url: server.websocket(path), protocols: Vec::new(), headers: BTreeMap::new(), text: "hello".to_owned() }
    }

    pub(crate) fn protocols<const N: usize>(mut self, names: [&str; N]) -> Self {
        self.protocols = names.map(str::to_owned).to_vec();
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }
}

impl Outcome {
    /// All that a page sees of a refusal.
    pub(crate) const FAILED: Self = Self::Failed { error: true, code: 1006, reason: String::new() };
}

impl Case {
    pub(crate) fn accepted(name: &'static str, attempt: Attempt, protocol: &str) -> Self {
        let outcome = Outcome::Echoed { protocol: protocol.to_owned(), text: attempt.text.clone(), code: 1000 };
        Self { name, attempt, status: 101, outcome }
    }

    fn refused(name: &'static str, attempt: Attempt, status: u16) -> Self {
        Self { name, attempt, status, outcome: Outcome::Refused { status } }
    }

    fn closed(name: &'static str, attempt: Attempt, protocol: &str, code: u16, reason: &str) -> Self {
        let outcome = Outcome::Closed { protocol: protocol.to_owned(), code, reason: reason.to_owned() };
        Self { name, attempt, status: 101, outcome }
    }
}
