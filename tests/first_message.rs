//! Clients that authenticate by their first message: who gets in, what becomes of the others, and that nothing is lost.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::{
        OriginalUri,
        ws::{CloseFrame, Message as ServerMessage, WebSocketUpgrade},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedUpgrade, CloseCodes, ConfigError, Drain, FirstMessage, FirstToken, Limits,
    Sessions, TimeSource, Token, Verified, Verifier, VerifyError, VerifyInput, WsAuthLayer,
    test_util::{self, HandshakeBuilder, handshake},
};
use futures_util::{SinkExt, Stream, StreamExt, future::join};
use http::{Request, StatusCode, Version};
use serde_json::{Value, json};
use support::{
    http2::{Client, socket_of},
    log::Log,
    *,
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, Join, ReadHalf, Sink},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, protocol::Role},
};

const MISSING: &str = "4403 missing_token";
const INVALID: &str = "4403 invalid_token";
const MALFORMED: &str = "4400 invalid_request";

/// [`timed`], and a token for each refusal.
fn verifier(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    match input.token.expose() {
        "expired" => ready(Err(VerifyError::expired())),
        "down" => ready(Err(VerifyError::unavailable(Duration::from_secs(1)))),
        _ => timed(input),
    }
}

/// The clock on the wall stands still, so that the paused one alone tells when a session ends.
fn layer() -> WsAuthLayer {
    let authorized = Verifier::authorize(verifier, |claims, parts| match parts.uri.path() {
        "/closed" if claims != "admin" => Err(VerifyError::insufficient_scope("admin")),
        _ => Ok(()),
    });
    let now = SystemTime::now();
    WsAuthLayer::new(authorized).time_source(TimeSource::new(move || now))
}

/// The whole first message is the token, up to a space.
fn bare() -> FirstMessage {
    FirstMessage::new(|message| {
        let token = message.to_text().ok()?.split(' ').next()?;
        Some(FirstToken::new(Token::new(token)))
    })
}

fn init(payload: Value) -> String {
    Value::from_iter([("type", "connection_init".into()), ("payload", payload)]).to_string()
}

fn token_of(subject: &str) -> String {
    init(json!({ "token": subject }))
}

/// A frame of a client's, masked with zeros, which change nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let len = payload.len();
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..126), _) => frame.push(0x80 | len),
        (_, Ok(len)) => frame.extend([&[0xfe][..], &len.to_be_bytes()].concat()),
        _ => frame.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

/// What comes next, in words. On the paused clock a day is over at once where nothing comes.
async fn next(socket: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin)) -> String {
    match timeout(Duration::from_secs(24 * 3600), socket.next()).await.expect("something within a day") {
        Some(Ok(Message::Text(text))) => text.to_string(),
        Some(Ok(Message::Close(Some(frame)))) => format!("{} {}", u16::from(frame.code), frame.reason),
        Some(Ok(other)) => format!("{other:?}"),
        Some(Err(_)) | None => "gone".to_owned(),
    }
}

/// All that comes, without pongs, until the connection is dropped.
async fn rest(socket: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin)) -> String {
    let mut heard = Vec::new();
    loop {
        match next(socket).await {
            gone if gone == "gone" => return heard.join(" | "),
            pong if pong.starts_with("Pong") => {}
            message => heard.push(message),
        }
    }
}

/// Only reads: the close frame is not answered.
type Reader = WebSocketStream<Join<ReadHalf<DuplexStream>, Sink>>;

/// Writes bytes as they are, in a task of its own that says how many were taken; and reads. Of what was read before,
/// nothing may be left in the socket.
async fn pour(socket: ClientSocket, bytes: Vec<u8>) -> (JoinHandle<usize>, Reader) {
    drip(socket, bytes, Duration::ZERO).await
}

/// As [`pour`], one byte at a time, with pauses between them.
async fn drip(socket: ClientSocket, bytes: Vec<u8>, pause: Duration) -> (JoinHandle<usize>, Reader) {
    let (read, mut write) = tokio::io::split(socket.into_inner());
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while written < bytes.len() {
            let end = if pause.is_zero() { bytes.len() } else { written + 1 };
            let Ok(taken) = write.write(&bytes[written..end]).await else { break };
            written += taken;
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        written
    });
    let stream = tokio::io::join(read, tokio::io::sink());
    (writing, WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
}

/// An application whose handler says who is there, and echoes.
struct App {
    router: Router,
    sessions: Sessions,
    /// How often the callback of `on_upgrade` ran.
    ran: Arc<AtomicUsize>,
}

impl App {
    fn new(first_message: FirstMessage) -> Self {
        Self::of(layer().first_message(first_message), Sessions::new())
    }

    fn of(layer: WsAuthLayer, sessions: Sessions) -> Self {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
            upgrade.on_upgrade(async move |mut socket| {
                count.fetch_add(1, Ordering::SeqCst);
                let mut answer = format!("hello {}", socket.claims()).into();
                while let Ok(()) = socket.send(answer).await {
                    answer = loop {
                        match socket.recv().await {
                            Some(Ok(ServerMessage::Ping(_) | ServerMessage::Pong(_))) => {}
                            Some(Ok(message @ (ServerMessage::Text(_) | ServerMessage::Binary(_)))) => break message,
                            _ => return,
                        }
                    };
                }
            })
        };
        let router = Router::new().route("/{*path}", any(handler.clone())).route("/", any(handler));
        Self { router: router.layer(layer.sessions(&sessions)), sessions, ran }
    }

    async fn connect(&self, request: HandshakeBuilder) -> ClientSocket {
        test_util::connect(self.router.clone(), request.build()).await.expect("a 101").0
    }

    async fn open(&self) -> ClientSocket {
        self.connect(handshake()).await
    }

    /// What a client hears that sends this, and right behind it something that no client who is refused may hear again.
    async fn answers_at(&self, path: &str, first: impl Into<Message>) -> String {
        let (ran, held, started) = (self.ran(), self.sessions.count(), Instant::now());
        let mut socket = self.connect(handshake().path(path)).await;
        assert_eq!((self.ran(), self.sessions.count()), (ran, held), "nobody is there yet");
        for message in [first.into(), Message::text("over"), Message::Close(None)] {
            socket.feed(message).await.unwrap();
        }
        socket.flush().await.unwrap();
        let answers = rest(&mut socket).await;
        drop(socket);
        settle().await;
        assert_eq!((self.sessions.count(), started.elapsed()), (held, Duration::ZERO), "{answers}");
        let came_in = answers.ends_with(" | over | Close(None)");
        assert_eq!(self.ran() - ran, usize::from(came_in), "the callback runs for those who came in: {answers}");
        answers.trim_end_matches(" | over | Close(None)").to_owned()
    }

    async fn answers(&self, first: impl Into<Message>) -> String {
        self.answers_at("/", first).await
    }

    fn ran(&self) -> usize {
        self.ran.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn graphql_finds_the_token_under_each_name_and_takes_it_out_under_all() {
    let app = App::new(FirstMessage::graphql_ws());
    let rest = json!({ "tokens": ["x"], "n": { "token": "y", "o": null }, "f": 0.1, "ü": "\u{1}\"", "headers": { "x-role": "user" } });
    let mut all = vec![
        // Several that agree, and places that are there and empty.
        json!({ "token": "alice", "Token": "Bearer alice", "authToken": "alice" }),
        json!({ "token": "alice", "headers": { "Authorization": "Bearer alice" } }),
        json!({ "token": null, "authToken": "alice", "headers": { "Authorization": "" } }),
        json!({ "Authorization": "Bearer ", "authToken": "alice" }),
        json!({ "headers": { "Authorization": "alice", "authorization": "Bearer alice" } }),
    ];
    for name in ["Authorization", "authentication", "token", "accessToken", "access_token", "authToken"] {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            for value in ["alice", "Bearer alice", "bearer alice", "BEARER  alice"] {
                all.push(json!({ &*name: value }));
                if name.eq_ignore_ascii_case("authorization") {
                    all.push(json!({ "headers": { &*name: value } }));
                }
            }
        }
    }
    for tokens in all {
        let mut payload = rest.clone();
        for (name, value) in tokens.as_object().unwrap() {
            match value {
                Value::Object(headers) => payload[name].as_object_mut().unwrap().extend(headers.clone()),
                value => payload[name] = value.clone(),
            }
        }
        let sent = json!({ "type": "connection_init", "payload": payload }).to_string();
        let answers = app.answers(sent).await;
        let Some(replay) = answers.strip_prefix("hello alice | ") else { panic!("{tokens}: {answers}") };
        let replay: Value = serde_json::from_str(replay).unwrap();
        assert_eq!(replay, json!({ "type": "connection_init", "payload": rest }), "{tokens}");
    }
}

#[tokio::test(start_paused = true)]
async fn graphql_refuses_what_is_not_one_good_token() {
    let token = |value: Value| init(json!({ "token": value }));
    let any = |value: Value| value.to_string();
    let long = |len: usize| token("x".repeat(len).into());
    let headers = |value: Value| init(json!({ "headers": value })).into();
    let cases: [(&str, Message, &str); 35] = [
        ("two headers", headers(json!({ "Authorization": "alice", "authorization": "bob" })), MISSING),
        (
            "a header and a member",
            init(json!({ "headers": { "Authorization": "alice" }, "token": "bob" })).into(),
            MISSING,
        ),
        ("a header that is no text", headers(json!({ "Authorization": 1 })), MISSING),
        ("headers that are none", headers(json!("alice")), MISSING),
        (
            "a header twice",
            r#"{"type":"connection_init","payload":{"headers":{"Authorization":"bob","Authorization":"alice"}}}"#
                .into(),
            MISSING,
        ),
        ("empty", token("".into()).into(), MISSING),
        ("nothing but a scheme", token("Bearer".into()).into(), MISSING),
        ("blank", token("Bearer \t".into()).into(), MISSING),
        ("a line break", token("alice\r\nX-Admin: 1".into()).into(), INVALID),
        ("a control character", token("al\0ice".into()).into(), INVALID),
        ("two tokens", init(json!({ "token": "alice", "authToken": "bob" })).into(), MISSING),
        ("two spellings", init(json!({ "token": "alice", "TOKEN": "bob" })).into(), MISSING),
        ("one twice", r#"{"type":"connection_init","payload":{"token":"alice","token":"alice"}}"#.into(), MISSING),
        ("one is no text", init(json!({ "token": "alice", "authToken": 1 })).into(), MISSING),
        ("the other is no text", init(json!({ "token": 1, "authToken": "alice" })).into(), MISSING),
        ("null", token(Value::Null).into(), MISSING),
        ("nested", init(json!({ "headers": { "token": "alice" } })).into(), MISSING),
        ("another name", init(json!({ "jwt": "alice" })).into(), MISSING),
        ("empty payload", init(json!({})).into(), MISSING),
        ("no payload", any(json!({ "type": "connection_init", "token": "alice" })).into(), MISSING),
        ("null payload", init(Value::Null).into(), MISSING),
        ("a text as payload", init(json!("alice")).into(), MISSING),
        ("an array as payload", init(json!([{ "token": "alice" }])).into(), MISSING),
        ("another type", any(json!({ "type": "subscribe", "payload": { "token": "alice" } })).into(), MISSING),
        ("no type", any(json!({ "payload": { "token": "alice" } })).into(), MISSING),
        ("an array", any(json!(["connection_init", { "token": "alice" }])).into(), MISSING),
        ("no JSON", "alice".into(), MISSING),
        ("more than JSON", format!("{} x", token_of("alice")).into(), MISSING),
        ("nothing", "".into(), MISSING),
        ("binary", Message::binary(token_of("alice")), MISSING),
        ("a bad token", token_of("bad").into(), INVALID),
        ("an expired token", token_of("expired").into(), INVALID),
        ("a verifier that is down", token_of("down").into(), "1013 unavailable"),
        ("the longest token", long(8192).into(), "hello xxx"),
        ("a longer token", long(8193).into(), MALFORMED),
    ];
    let app = App::new(FirstMessage::graphql_ws());
    for (name, message, expected) in cases {
        let answers = app.answers(message).await;
        assert!(answers == expected || expected == "hello xxx" && answers.starts_with(expected), "{name}: {answers}");
    }
    assert_eq!(app.answers_at("/closed", token_of("alice")).await, "4403 insufficient_scope");
    assert!(app.answers_at("/closed", token_of("admin")).await.starts_with("hello admin"));
    // Not UTF-8 is not "no token".
    let (_, mut reader) = pour(app.open().await, frame(TEXT, b"\xff")).await;
    assert_eq!(rest(&mut reader).await, INVALID);
    let app = App::of(layer().first_message(bare()).max_token_len(5).unwrap(), Sessions::new());
    assert_eq!(app.answers("alice").await, "hello alice");
    assert_eq!(app.answers("alice2").await, "1008 invalid_request");
}

#[tokio::test(start_paused = true)]
async fn other_protocols_have_messages_of_their_own() {
    let connect = |connect: Value| json!({ "id": 1, "connect": connect }).to_string();
    let replaying = FirstMessage::new(|message| {
        let ServerMessage::Binary(token) = message else { return None };
        let token = Token::new(std::str::from_utf8(token).ok()?);
        Some(FirstToken::new(token).replay(ServerMessage::Binary("replay".into())))
    });
    let (centrifugo, bare) = (App::new(FirstMessage::centrifugo()), App::new(bare()));
    let (replaying, telling) =
        (App::new(replaying), App::new(self::bare().greeting("?").accepted("yes").refused("no")));
    let replay = r#"hello alice | {"connect":{"name":"js"},"id":1}"#;
    // As centrifuge-js does by itself where there are subscriptions before it connects: one command a line.
    let several = "{\"id\":1,\"connect\":{\"token\":\"alice\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"token\"}}";
    let others = "hello alice | {\"connect\":{},\"id\":1}\n{\"id\":2,\"subscribe\":{\"channel\":\"token\"}}";
    let cases: [(&App, Message, &str); 18] = [
        (&centrifugo, several.into(), others),
        (&centrifugo, connect(json!({ "token": "alice", "name": "js" })).into(), replay),
        (&centrifugo, connect(json!({ "token": "bad" })).into(), "3500 invalid_token"),
        (&centrifugo, connect(json!({ "token": "down" })).into(), "3004 unavailable"),
        (&centrifugo, connect(json!({ "token": "x".repeat(8193) })).into(), "3501 invalid_request"),
        (&centrifugo, connect(json!({ "token": 1 })).into(), "3500 missing_token"),
        (&centrifugo, r#"{"id":1,"subscribe":{"token":"alice"}}"#.into(), "3500 missing_token"),
        (&centrifugo, r#"{"id":1,"connect":{"token":"bob","token":"alice"}}"#.into(), "3500 missing_token"),
        (&bare, "alice and more".into(), "hello alice"),
        (&bare, Message::binary("alice"), "hello alice"),
        (&bare, "bad".into(), "3000 invalid_token"),
        (&replaying, Message::binary("alice"), r#"hello alice | Binary(b"replay")"#),
        (&replaying, "alice".into(), "3000 missing_token"),
        (&telling, "alice".into(), "? | yes | hello alice"),
        (&telling, "bad".into(), "? | no | 3000 invalid_token"),
        // It may come back, and clients take what they are told so for final.
        (&telling, "down".into(), "? | 1013 unavailable"),
        // The one error at which a client asks for a new token.
        (
            &centrifugo,
            r#"{"connect":{"token":"expired"},"id":7}"#.into(),
            r#"{"error":{"code":109,"message":"token expired"},"id":7} | 3005 invalid_token"#,
        ),
        (&centrifugo, r#"{"connect":{"token":"expired"},"id":"7"}"#.into(), "3005 invalid_token"),
    ];
    for (app, message, expected) in cases {
        assert_eq!(app.answers(message).await, expected);
    }
}

/// Its client gives up for good on `auth_invalid`, whatever was meant by it.
#[tokio::test(start_paused = true)]
async fn home_assistants_clients_are_told_that_their_token_is_invalid_only_if_it_is() {
    let auth = |token: Value| json!({ "type": "auth", "access_token": token }).to_string();
    let asked = |version: &str| format!(r#"{{"ha_version":"{version}","type":"auth_required"}}"#);
    let ok =
        |version: &str| format!(r#"{} | {{"ha_version":"{version}","type":"auth_ok"}} | hello alice"#, asked(version));
    let own = "2024.12.0";
    let app = App::new(FirstMessage::home_assistant_as(own));
    assert_eq!(app.answers(auth("alice".into())).await, ok(own));
    let (asked, ok) = (asked("2022.8.0"), ok("2022.8.0"));
    let no = |why| format!(r#"{asked} | {{"type":"auth_invalid","message":"Invalid access token"}} | {why}"#);
    let app = App::new(FirstMessage::home_assistant());
    for (message, expected) in [
        (auth("alice".into()).into(), ok),
        (auth("bad".into()).into(), no("3000 invalid_token")),
        (auth("expired".into()).into(), no("3000 invalid_token")),
        (auth("".into()).into(), no("1008 invalid_request")),
        (auth("alice\n".into()).into(), no("3000 invalid_token")),
        (auth(1.into()).into(), no("3000 missing_token")),
        (r#"{"type":"auth"}"#.into(), no("3000 missing_token")),
        (r#"{"type":"x","access_token":"alice"}"#.into(), no("3000 missing_token")),
        (r#"{"type":"auth","access_token":"bob","access_token":"alice"}"#.into(), no("3000 missing_token")),
        (Message::binary(auth("alice".into())), no("3000 missing_token")),
        // These may come back.
        (auth("down".into()).into(), format!("{asked} | 1013 unavailable")),
    ] {
        assert_eq!(app.answers(message).await, expected);
    }
    let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap();
    let app = App::of(layer().first_message(FirstMessage::home_assistant()), Sessions::with_limits(limits));
    let mut first = app.open().await;
    first.send(auth("alice".into()).into()).await.unwrap();
    settle().await;
    assert_eq!(app.answers(auth("alice".into())).await, format!("{asked} | 1013 too_many_sessions"));
    let mut silent = app.open().await;
    assert_eq!(rest(&mut silent).await, format!("{asked} | 3008 timed_out"));
    let mut waiting = app.open().await;
    let (_, heard) = join(app.sessions.drain(Drain::going_away()), rest(&mut waiting)).await;
    assert_eq!(heard, format!("{asked} | 1013 unavailable"));
}

#[tokio::test(start_paused = true)]
async fn a_protocol_may_tell_refusals_apart() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let protocol = bare().refused_with(move |rejection, first| {
        let first = first.map(|first| first.to_text().unwrap().to_owned());
        log.lock().unwrap().push((rejection.reason(), rejection.kind().is_temporary(), first));
        Some(rejection.reason().into())
    });
    let app = App::new(protocol);
    assert_eq!(app.answers("expired 1").await, "token_expired | 3000 invalid_token");
    assert_eq!(app.answers("down").await, "verifier_unavailable | 1013 unavailable");
    assert_eq!(rest(&mut app.open().await).await, "timed_out | 3008 timed_out");
    let [expired, down, silent] = &seen.lock().unwrap()[..] else { panic!("{seen:?}") };
    assert_eq!(*expired, ("token_expired", false, Some("expired 1".to_owned())));
    assert_eq!(*down, ("verifier_unavailable", true, Some("down".to_owned())));
    assert_eq!(*silent, ("timed_out", true, None));
}

/// The checks of a handshake's token go for every other one.
#[tokio::test(start_paused = true)]
async fn no_verifier_is_shown_a_token_that_could_be_none() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&shown);
    let verifier = move |input: VerifyInput<'_>| {
        log.lock().unwrap().push(input.token.expose().to_owned());
        timed(input)
    };
    let whole = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))));
    let app = App::of(WsAuthLayer::new(verifier).first_message(whole), Sessions::new());
    for (token, expected) in [
        ("", "1008 invalid_request"),
        (" ", "3000 invalid_token"),
        ("a b", "3000 invalid_token"),
        (" a", "3000 invalid_token"),
        ("a\n", "3000 invalid_token"),
        ("a\r\nX-Admin: 1", "3000 invalid_token"),
        ("a\0b", "3000 invalid_token"),
        ("a\u{7f}", "3000 invalid_token"),
        ("a\u{85}b", "3000 invalid_token"),
        ("a\u{a0}b", "3000 invalid_token"),
        ("a\u{2028}b", "3000 invalid_token"),
        ("tök€n", "hello tök€n"),
    ] {
        assert_eq!(app.answers(token).await, expected, "{token:?}");
    }
    assert_eq!(*shown.lock().unwrap(), ["tök€n"]);
}

/// The layer's outrank the dialect's, whichever is set first, and go for the whole life of a session.
#[tokio::test(start_paused = true)]
async fn close_codes_are_those_of_the_layer_or_else_of_the_dialect() {
    let graphql = || layer().first_message(FirstMessage::graphql_ws());
    let own = CloseCodes::IANA.unauthorized(4001).unwrap().expired(4002).unwrap().timeout(4008).unwrap();
    let first = || layer().first_message(FirstMessage::centrifugo());
    for (layer, token, [refused, expired, timeout]) in [
        (graphql(), token_of as fn(&str) -> String, [4403, 4403, 4408]),
        (graphql().close_codes(own), token_of, [4001, 4002, 4008]),
        (layer().close_codes(own).first_message(FirstMessage::graphql_ws()), token_of, [4001, 4002, 4008]),
        (first().first_message(FirstMessage::graphql_ws()), token_of, [4403, 4403, 4408]),
        (first().first_message(bare()), str::to_owned, [3000, 3000, 3008]),
    ] {
        let app = App::of(layer, Sessions::new());
        assert_eq!(app.answers(token("bad")).await, format!("{refused} invalid_token"));
        let mut first = app.open().await;
        first.send(token("alice.60").into()).await.unwrap();
        for mut socket in [first, app.connect(handshake().authorization("alice.60")).await] {
            assert!(rest(&mut socket).await.ends_with(&format!(" | {expired} token_expired")));
        }
        let (mut silent, started) = (app.open().await, Instant::now());
        assert_eq!(rest(&mut silent).await, format!("{timeout} timed_out"));
        assert_eq!(started.elapsed(), Duration::from_secs(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_or_slow_is_told_when_the_time_is_up() {
    let (graphql, seconds) = (FirstMessage::graphql_ws, Duration::from_secs);
    for (protocol, time) in [(graphql(), 10), (graphql().timeout(seconds(3)), 3)] {
        for bytes in [vec![], frame(TEXT, token_of("alice").as_bytes()), frame(PING, b"x").repeat(30)] {
            let (app, started) = (App::new(protocol.clone()), Instant::now());
            let (_, mut reader) = drip(app.open().await, bytes, seconds(1)).await;
            assert_eq!(rest(&mut reader).await, "4408 timed_out");
            // Two more for a client that does not answer the close frame.
            assert_eq!((started.elapsed(), app.ran()), (seconds(time + 2), 0));
        }
    }
    // In time is in time, however long the session lasts. And no time is too long.
    for protocol in [graphql(), graphql().timeout(Duration::MAX)] {
        let app = App::new(protocol);
        let mut socket = app.open().await;
        sleep(Duration::from_millis(9_990)).await;
        socket.send(token_of("alice").into()).await.unwrap();
        assert_eq!(next(&mut socket).await, "hello alice");
        sleep(seconds(3600)).await;
        assert!(next(&mut socket).await.contains("init"));
        assert_eq!(app.sessions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_right_behind_the_first_message_is_not_lost() {
    let app = App::new(bare());
    let texts: Vec<String> =
        (0..200).map(|n| format!("{n} {}", "x".repeat(if n % 50 == 9 { 40_000 } else { n }))).collect();
    // About the size of the pieces in which it is read, and all that may be read.
    for len in [20, 1022, 1023, 1024, 1025, 2048, 16 * 1024] {
        let first = format!("{:<1$}", "alice", len - if len < 126 { 6 } else { 8 });
        let mut bytes = frame(TEXT, first.as_bytes());
        assert_eq!(bytes.len(), len);
        texts.iter().for_each(|text| bytes.extend(frame(TEXT, text.as_bytes())));
        let (_, mut reader) = pour(app.open().await, bytes).await;
        assert_eq!(next(&mut reader).await, "hello alice", "{len}");
        for (n, text) in texts.iter().enumerate() {
            assert!(next(&mut reader).await == *text, "{len}: message {n}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_message_may_come_in_pieces_and_between_pings() {
    let app = App::new(bare());
    let frames =
        [(PING, "a"), (0x8a, "b"), (0x01, "al"), (PING, "c"), (0x00, "i"), (0x00, ""), (0x80, "ce"), (PING, "d")];
    let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload.as_bytes())).collect();
    for pause in [0, 100] {
        let (_, mut socket) = drip(app.open().await, bytes.clone(), Duration::from_millis(pause)).await;
        for expected in [r#"Pong(b"a")"#, r#"Pong(b"c")"#, "hello alice", r#"Pong(b"d")"#] {
            assert_eq!(next(&mut socket).await, expected);
        }
    }
    // Also where there is no room for the pongs yet: the greeting fills the pipe.
    let mut socket = App::new(bare().greeting("x".repeat(16 * 1024 - 4))).open().await;
    let bytes = [frame(PING, &[b'a'; 100]).repeat(100), frame(TEXT, b"alice")].concat();
    socket.get_mut().write_all(&bytes).await.unwrap();
    settle().await;
    assert!(next(&mut socket).await.starts_with('x'));
    // The newest of them is answered, before anything else.
    let mut pongs = 0;
    loop {
        match next(&mut socket).await {
            pong if pong.starts_with("Pong") => pongs += 1,
            other => break assert_eq!(other, "hello alice"),
        }
    }
    assert!((1..=100).contains(&pongs), "{pongs}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_too_much_is_refused_and_what_it_sends_is_discarded() {
    const BUDGET: usize = 16 * 1024;
    let many = |first: u8, payload: &[u8]| frame(first, payload).repeat(300_000 / (payload.len() + 6));
    let announced = |len: u64| [&[TEXT, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
    for (name, bytes) in [
        ("pings", many(PING, &[0; 100])),
        ("empty pings", many(PING, &[])),
        ("pongs", many(0x8a, &[0; 100])),
        ("pieces", [frame(0x01, b""), many(0x00, b"x")].concat()),
        ("empty pieces", [frame(0x01, b""), many(0x00, b"")].concat()),
        ("one byte too many", frame(TEXT, &[b'x'; BUDGET - 7])),
        ("one frame", frame(TEXT, &[b'x'; 300_000])),
        ("one binary frame", frame(0x82, &[b'x'; 300_000])),
        // Of these nothing follows: they are refused for what they announce, before there is memory for it.
        ("a frame announced", [&[TEXT, 0xfe][..], &16_385_u16.to_be_bytes(), &[0; 4]].concat()),
        ("a large frame announced", announced(15 << 20)),
        ("the largest frame announced", announced(u64::MAX >> 1)),
        ("a piece announced", [frame(0x01, b"x"), vec![0x00, 0xfe, 0xff, 0xff, 0, 0, 0, 0]].concat()),
    ] {
        // One that closes when it is told to, which the end of its stream means as well, one that does not, and one
        // that has closed by then.
        for (answer, seconds) in [(None, 0), (Some(vec![]), 2), (Some(frame(0x88, b"\x03\xe8")), 0)] {
            let goes_on = name.ends_with("announced") && answer.as_ref().is_some_and(|answer| !answer.is_empty());
            let (leaves, answer) = (answer.is_none(), answer.unwrap_or_default());
            let bytes = [&bytes[..], &answer].concat();
            let app = App::new(FirstMessage::graphql_ws());
            let (started, len) = (Instant::now(), bytes.len());
            let (writing, mut reader) = pour(app.open().await, bytes).await;
            let heard = loop {
                match next(&mut reader).await {
                    pong if pong.starts_with("Pong") => {}
                    heard => break heard,
                }
            };
            assert_eq!(heard, MALFORMED, "{name}");
            assert_eq!(started.elapsed(), Duration::ZERO, "{name}");
            // All of it is taken, or the close frame could be lost with it.
            assert_eq!(writing.await.unwrap(), len, "{name}");
            if leaves {
                drop(reader);
                settle().await;
            } else {
                assert_eq!(next(&mut reader).await, "gone", "{name}");
            }
            // The close frame is a part of the frame that was announced. One beyond all measure is not waited for.
            let seconds = if name.contains("large") {
                0
            } else if goes_on {
                2
            } else {
                seconds
            };
            assert_eq!((started.elapsed().as_secs(), app.ran()), (seconds, 0), "{name}");
        }
    }
    // There is an end to that.
    let app = App::new(bare().max_waiting(1).unwrap());
    let (started, piece) = (Instant::now(), frame(0x82, &[b'x'; 1 << 20]));
    let (writing, mut reader) = pour(app.open().await, piece.repeat(20)).await;
    assert_eq!(rest(&mut reader).await, "1008 invalid_request");
    assert_eq!(started.elapsed(), Duration::ZERO);
    drop(reader);
    let taken = writing.await.unwrap();
    assert!((7 << 20..9 << 20).contains(&taken), "{taken} bytes were read");
    assert_eq!(app.answers("alice").await, "hello alice");
    // The limit counts every byte, can be set, and is the only one.
    assert!(matches!(bare().max_bytes(0), Err(ConfigError::ZeroLimit(_))));
    for (max, len, expected) in [
        (1000, 982, "hello alice"),
        (1000, 983, "1008 invalid_request"),
        (100_000, 99_976, "hello alice"),
        (100_000, 99_977, "1008 invalid_request"),
    ] {
        let app = App::new(bare().max_bytes(max).unwrap());
        let first = [b"alice ".to_vec(), vec![b'x'; len - 6]].concat();
        let bytes = [frame(PING, b"ping"), frame(TEXT, &first)].concat();
        let (_, mut reader) = pour(app.open().await, bytes).await;
        assert_eq!(next(&mut reader).await, r#"Pong(b"ping")"#);
        assert_eq!(next(&mut reader).await, expected, "{len}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_with_a_token_is_as_without_first_messages() {
    let app = App::new(FirstMessage::home_assistant().max_waiting(1).unwrap());
    let _waiting = app.open().await;
    // No greeting and no time limit, the session is there at once, and the first message is the handler's.
    let mut socket = app.connect(handshake().authorization("alice")).await;
    assert_eq!(next(&mut socket).await, "hello alice");
    assert_eq!(app.sessions.iter().count(), 1);
    sleep(Duration::from_secs(60)).await;
    socket.send(r#"{"type":"auth","access_token":"bob"}"#.into()).await.unwrap();
    assert!(next(&mut socket).await.contains("bob"));
    let listed = layer().first_message(bare()).allow_origin(["https://app.example"]).unwrap();
    let listed = App::of(listed, Sessions::new());
    for (app, request, status) in [
        (&app, handshake().authorization("bad"), 401),
        (&app, handshake().authorization("down"), 503),
        (&app, handshake().authorization("alice").path("/closed"), 403),
        (&app, handshake().authorization(""), 400),
        (&app, handshake().authorization("alice").bearer_subprotocol("bob"), 400),
        (&listed, handshake().origin("https://evil.example"), 403),
        (&listed, handshake().origin("https://app.example"), 101),
    ] {
        assert_eq!(answer(&app.router, request.clone().build()).await.status(), status, "{request:?}");
        let connected = test_util::connect(app.router.clone(), request.build()).await;
        assert_eq!(connected.is_ok(), status == 101);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_selects_the_subprotocol_and_knows_nobody_yet() {
    async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response {
        let debug = format!("{upgrade:?}");
        assert!(debug.contains("session: None") && upgrade.session().is_none(), "{debug}");
        upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async |mut socket| {
            let _ = socket.send(format!("{:?} {:?}", socket.protocol(), socket.session().subject()).into()).await;
        })
    }
    let app = Router::new().route("/", any(chat)).layer(layer().first_message(bare()));
    for offer in ["graphql-transport-ws", "x, graphql-transport-ws"] {
        let request = handshake().subprotocols([offer]).build();
        let (mut socket, response) = test_util::connect(app.clone(), request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "graphql-transport-ws");
        socket.send("alice".into()).await.unwrap();
        assert_eq!(next(&mut socket).await, r#"Some("graphql-transport-ws") Some("alice")"#);
    }
    assert_eq!(selected(&answer(&app, handshake().build()).await), None);
}

/// Whatever a handler does that does not wait for the first message, the answer is 401 and nothing else.
#[tokio::test(start_paused = true)]
async fn no_other_handler_lets_a_client_in() {
    async fn forgetful(_: AuthenticatedUpgrade<String>) -> &'static str {
        "secret"
    }
    async fn careless(upgrade: AuthenticatedUpgrade<String>) -> &'static str {
        let _ = upgrade.on_upgrade(async |_| {});
        "secret"
    }
    async fn of_other_claims(upgrade: AuthenticatedUpgrade<u8>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn of_a_guest(_: Option<Authenticated<String>>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn by_hand(mut request: Request<Body>) -> Response {
        let connection = timeout(Duration::ZERO, hyper::upgrade::on(&mut request)).await;
        assert!(matches!(connection, Ok(Err(_))), "it is withheld");
        (StatusCode::SWITCHING_PROTOCOLS, [("upgrade", "websocket"), ("connection", "upgrade")]).into_response()
    }
    let handlers = [
        ("axum's own", any(test_util::echo)),
        ("a plain one", any(async || "secret")),
        ("one that fails", any(async || (StatusCode::NOT_FOUND, "secret"))),
        ("one that does not upgrade", any(forgetful)),
        ("one that drops the answer", any(careless)),
        ("one for other claims", any(of_other_claims)),
        ("one for guests", any(of_a_guest)),
        ("one for sessions", any(async |Authenticated(_): Authenticated<String>| "secret")),
        ("one that upgrades by hand", any(by_hand)),
    ];
    for (name, handler) in handlers {
        for optional in [false, true] {
            let sessions = Sessions::new();
            let layer = layer().first_message(bare()).sessions(&sessions);
            let layer = if optional { layer.optional() } else { layer };
            let app = Router::new().route("/", handler.clone()).layer(layer);
            for request in [handshake(), handshake().http2()] {
                let request = request.build();
                // There the answer that was dropped looks like any other: the client is waited for.
                let dropped = name == "one that drops the answer" && request.version() == Version::HTTP_2;
                let response = answer(&app, request).await;
                let refused = is_refused_with(&response, StatusCode::UNAUTHORIZED, "missing_token");
                assert!(refused != dropped, "{name}: {response:?}");
                assert!(!text(response).await.contains("secret"), "{name}");
            }
            let refused = test_util::connect(app, handshake().build()).await.unwrap_err();
            assert_eq!(refused.to_string(), "the handshake was refused with 401 Unauthorized", "{name}");
            settle().await;
            assert_eq!(sessions.count(), 0, "{name}");
        }
    }
    // What is no well-formed handshake has no first message. It may be anonymous, but only then.
    async fn guest(guest: Option<Authenticated<String>>) -> String {
        format!("guest {}", guest.is_none())
    }
    let strict = Router::new().route("/", any(guest)).layer(layer().first_message(bare()));
    let guests = Router::new().route("/", any(guest)).layer(layer().first_message(bare()).optional());
    for header in ["upgrade", "connection", "sec-websocket-version", "sec-websocket-key", "x-none"] {
        let request = || {
            let mut request = handshake().build();
            request.headers_mut().remove(header);
            request
        };
        let response = answer(&strict, request()).await;
        assert!(is_refused_with(&response, StatusCode::UNAUTHORIZED, "missing_token"), "{header}: {response:?}");
        let response = answer(&guests, request()).await;
        let is_handshake = header == "x-none";
        assert_eq!(response.status(), if is_handshake { 401 } else { 200 }, "{header}");
        assert_eq!(text(response).await == "guest true", !is_handshake, "{header}");
    }
    let app = App::of(layer().first_message(bare()).optional(), Sessions::new());
    assert_eq!(app.answers("alice").await, "hello alice");
    assert_eq!(app.answers("bad").await, "3000 invalid_token");
}

#[tokio::test(start_paused = true)]
async fn the_verifier_sees_the_same_head_as_in_a_handshake() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let verifier = move |input: VerifyInput<'_>| {
        let parts = input.parts;
        let original = parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.clone());
        let mut headers = parts.headers.clone();
        let mechanics =
            ["connection", "upgrade", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version"];
        let mechanics = mechanics.map(|name| headers.remove(name).is_some());
        let head = format!("{} {} {original:?} {:?} {headers:?}", parts.method, parts.uri, parts.version);
        log.lock().unwrap().push(((head, input.now), mechanics));
        timed(input)
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let layer = WsAuthLayer::new(verifier).first_message(bare()).time_source(TimeSource::new(move || now));
    let inner = App::of(layer, Sessions::new());
    let app = App { router: Router::new().nest("/api", inner.router.clone()), ..inner };
    let request = || {
        let request = handshake().path("/api/room?a=b").header("x-a", "1").header("x-a", "2");
        request.header("sec-websocket-extensions", "permessage-deflate")
    };
    assert_eq!(next(&mut app.connect(request().authorization("alice")).await).await, "hello alice");
    let mut socket = app.connect(request()).await;
    assert_eq!(seen.lock().unwrap().len(), 1, "there is nothing to verify yet");
    socket.send("alice".into()).await.unwrap();
    assert_eq!(next(&mut socket).await, "hello alice");
    let seen = seen.lock().unwrap();
    let [(handshake, all), (later, none)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(
        handshake.0,
        r#"GET /room?a=b Some(/api/room?a=b) HTTP/1.1 {"host": "localhost", "x-a": "1", "x-a": "2"}"#
    );
    assert_eq!((later, later.1), (handshake, now));
    // What is about the upgrade alone is not kept for as long as a session lives.
    assert_eq!((all, none), (&[true; 5], &[false; 5]));
}

#[tokio::test(start_paused = true)]
async fn who_waits_has_a_place_among_those_who_wait_and_is_no_session() {
    assert!(matches!(bare().max_waiting(0), Err(ConfigError::ZeroLimit(_))));
    let limits = Limits::new().total(2).unwrap().per_subject(1, AtLimit::RefuseNew).unwrap();
    let first_message = FirstMessage::graphql_ws().max_waiting(2).unwrap();
    let app = App::of(layer().first_message(first_message), Sessions::with_limits(limits));
    let sessions = &app.sessions;
    let is_full = async || {
        let response = answer(&app.router, handshake().build()).await;
        settle().await;
        is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "server_full")
    };
    let come_in = async |mut socket: ClientSocket, subject: &str| {
        socket.send(token_of(subject).into()).await.unwrap();
        assert_eq!(next(&mut socket).await, format!("hello {subject}"));
        socket
    };
    let (first, second) = (app.open().await, app.open().await);
    assert_eq!((sessions.count(), sessions.iter().count(), sessions.end_all()), (0, 0, 0));
    assert!(is_full().await);
    drop(second);
    settle().await;
    // Who is gone makes room, and so does who came in.
    let second = app.open().await;
    let _first = come_in(first, "alice").await;
    assert_eq!((sessions.count(), sessions.iter().next().unwrap().subject()), (1, Some("alice")));
    assert_eq!(app.answers(token_of("alice")).await, "1013 too_many_sessions");
    let third = app.open().await;
    let second = come_in(second, "bob").await;
    assert!(is_full().await, "there is room to wait, but none for what would come of it");
    let mut third = third;
    third.send(token_of("carol").into()).await.unwrap();
    assert_eq!(rest(&mut third).await, "1013 unavailable");
    drop(second);
    settle().await;
    assert!(!is_full().await);
    assert!(app.answers(token_of("bob")).await.starts_with("hello bob"));

    let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap();
    let app = App::of(layer().first_message(FirstMessage::graphql_ws()), Sessions::with_limits(limits));
    let mut first = come_in(app.open().await, "alice").await;
    assert_eq!(app.answers(token_of("bad")).await, INVALID);
    let _second = come_in(app.open().await, "alice").await;
    assert!(rest(&mut first).await.ends_with(" | 1008 too_many_sessions"));
}

#[tokio::test(start_paused = true)]
async fn places_to_wait_are_shared_out_by_a_key() {
    assert!(matches!(bare().max_waiting_per_key(0, |_| ()), Err(ConfigError::ZeroLimit(_))));
    let peer = |parts: &http::request::Parts| parts.headers.get("x-peer").cloned();
    let protocol = bare().max_waiting_per_key(2, peer).unwrap().max_waiting(5).unwrap();
    let app = App::new(protocol);
    let from = |peer: &'static str| match peer {
        "" => handshake(),
        peer => handshake().header("x-peer", peer),
    };
    let is_full = async |peer| {
        let response = answer(&app.router, from(peer).build()).await;
        settle().await;
        is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "server_full")
    };
    let mut held = Vec::new();
    for peer in ["a", "a", "b", "", ""] {
        assert!(!is_full(peer).await, "{peer}");
        held.push(app.connect(from(peer)).await);
    }
    assert!(is_full("c").await, "and all together have no more than all places");
    let mut first = held.remove(0);
    first.send("alice".into()).await.unwrap();
    assert_eq!(next(&mut first).await, "hello alice");
    drop(held.remove(1));
    settle().await;
    // Those without a key are of one kind. Who came in makes room, and so does who is gone.
    for (peer, full) in [("", true), ("a", false), ("b", false), ("c", false)] {
        assert_eq!(is_full(peer).await, full, "{peer}");
    }
    held.push(app.connect(from("a")).await);
    assert!(is_full("a").await && !is_full("b").await);
    assert_eq!(next(&mut app.connect(from("a").authorization("alice")).await).await, "hello alice");
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_those_away_who_wait() {
    let app = App::new(FirstMessage::graphql_ws());
    let (mut waiting, mut known) = (app.open().await, app.open().await);
    known.send(token_of("alice").into()).await.unwrap();
    assert_eq!(next(&mut known).await, "hello alice");
    let started = Instant::now();
    let told = join(rest(&mut waiting), rest(&mut known));
    let (drained, (waiting, known)) = join(app.sessions.drain(Drain::service_restart()), told).await;
    assert_eq!((&*waiting, known.ends_with(" | 1012 shutdown")), ("1013 unavailable", true), "{known}");
    assert_eq!((drained.remaining, app.sessions.count(), started.elapsed()), (0, 0, Duration::ZERO));
    let response = answer(&app.router, handshake().build()).await;
    assert!(is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "draining"), "{response:?}");
}

/// Whatever it does not do: read what it is told, or wait for an answer.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_or_is_gone_holds_nothing() {
    let large = || bare().greeting("x".repeat(100_000));
    for (name, protocol, token, seconds) in [
        ("does not read the greeting", large(), "", 12),
        ("does not read that it is in", bare().accepted("x".repeat(100_000)), "alice.60", 62),
        ("does not read that it is not", bare().refused("x".repeat(100_000)), "bad", 2),
    ] {
        let app = App::new(protocol.max_waiting(1).unwrap());
        let mut socket = app.open().await;
        socket.send(token.into()).await.unwrap();
        sleep(Duration::from_millis(seconds * 1000 - 1)).await;
        let held = app.sessions.count() == 1 || answer(&app.router, handshake().build()).await.status() == 503;
        assert!(held, "{name}");
        sleep(Duration::from_millis(2)).await;
        assert_eq!((app.sessions.count(), app.ran()), (0, 0), "{name}");
        assert_eq!(answer(&app.router, handshake().build()).await.status(), 101, "{name}");
    }
    let app = App::new(bare().max_waiting(1).unwrap());
    let mut polite = app.open().await;
    polite.close(None).await.unwrap();
    assert_eq!(rest(&mut polite).await, "Close(None)", "whose close frame is answered");
    for sent in [vec![], frame(TEXT, b"alice")[..9].to_vec(), frame(PING, b""), vec![0xff; 20], frame(0x88, b"")] {
        let mut socket = app.open().await;
        socket.get_mut().write_all(&sent).await.unwrap();
        drop(socket);
        settle().await;
        assert_eq!((app.ran(), app.answers("bad").await.as_str()), (0, "3000 invalid_token"), "{sent:?}");
    }
}

/// A handler that was given another socket than axum's must not see a difference, nor must its client.
#[tokio::test(start_paused = true)]
async fn afterwards_the_socket_is_like_any_other() {
    let (leave, mut left) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        let upgrade = upgrade.max_message_size(100_000).max_frame_size(50_000).accept_unmasked_frames(true);
        upgrade.on_upgrade(async move |mut socket| {
            let close = CloseFrame { code: 4000, reason: "bye".into() };
            let messages: [ServerMessage; 5] = [
                "t€xt".into(),
                ServerMessage::Binary(vec![0, 255].into()),
                ServerMessage::Ping("ping".into()),
                ServerMessage::Pong("pong".into()),
                "x".repeat(200_000).into(),
            ];
            let _ = socket.recv().await;
            for message in messages {
                let _ = socket.send(message).await;
            }
            while let Some(Ok(message)) = socket.recv().await {
                let text = format!("{message:?}");
                if text.contains("leave") {
                    let _ = socket.send(ServerMessage::Close(Some(close.clone()))).await;
                }
                leave.send((text.len(), text.chars().take(80).collect::<String>())).unwrap();
            }
        })
    };
    let app = Router::new().route("/", any(handler)).layer(layer().first_message(bare()));
    let binary = |first: u8, len: usize| frame(first, &vec![b'x'; len]);
    let close = [&4001_u16.to_be_bytes()[..], b"ciao"].concat();
    let leave = [frame(TEXT, b"leave"), frame(0x88, &close)].concat();
    let clients: [(&str, Vec<u8>); 8] = [
        ("client closes", [frame(TEXT, "t€xt".as_bytes()), frame(0x82, &[0, 255]), frame(0x88, &close)].concat()),
        ("no reason", frame(0x88, b"")),
        ("control", [frame(PING, b"p"), frame(0x8a, b"q"), leave.clone()].concat()),
        ("large", [binary(0x02, 50_000), binary(0x80, 50_000), leave.clone()].concat()),
        ("too large a frame", binary(0x82, 50_001)),
        ("too large", [binary(0x02, 50_000), binary(0x00, 50_000), binary(0x80, 1)].concat()),
        ("without a mask", [&[TEXT, 5][..], &leave[6..]].concat()),
        ("nonsense", vec![0xff; 20]),
    ];
    for (name, bytes) in clients {
        let mut outcomes = Vec::new();
        for (request, first) in [(handshake().authorization("alice"), vec![]), (handshake(), frame(TEXT, b"alice"))] {
            let (socket, _) = test_util::connect(app.clone(), request.build()).await.unwrap();
            let (_, mut reader) = pour(socket, [first, frame(TEXT, b"go"), bytes.clone()].concat()).await;
            let mut heard = Vec::new();
            while heard.last().is_none_or(|last| last != "gone") {
                heard.push(next(&mut reader).await);
            }
            drop(reader);
            settle().await;
            let seen: Vec<_> = std::iter::from_fn(|| left.try_recv().ok()).collect();
            heard[4].truncate(80);
            // Whether its ping is answered before or after what the handler sends is a matter of chance.
            heard.sort();
            outcomes.push((heard, seen));
        }
        assert!(outcomes[0] == outcomes[1], "{name}: {outcomes:#?}");
        let seen = outcomes[1].1.iter().map(|(_, text)| &**text).collect::<Vec<_>>().join(" ");
        let expected = match name {
            "client closes" => {
                r#"Text(Utf8Bytes(Utf8Bytes(b"t\xe2\x82\xacxt"))) Binary(b"\0\xff") Close(Some(CloseFrame { code: 4001, reason: Utf8Bytes(Utf8Bytes(b"ciao")) }))"#
            }
            "no reason" => "Close(None)",
            "control" => r#"Ping(b"p") Pong(b"q") Text(Utf8Bytes(Utf8Bytes(b"leave")))"#,
            "large" => "Binary(b\"xxx",
            "without a mask" => r#"Text(Utf8Bytes(Utf8Bytes(b"leave")))"#,
            _ => "",
        };
        assert!(seen.starts_with(expected) && (expected.is_empty() == seen.is_empty()), "{name}: {seen}");
    }
}

#[tokio::test]
async fn it_works_over_http2() {
    let mut client = Client::of(opaque_layer().first_message(FirstMessage::graphql_ws())).await;
    for (token, expected) in [("x", INVALID), (TOKEN, r#"{"payload":{},"type":"connection_init"}"#)] {
        let response = client.connect("/", &[("sec-websocket-protocol", "chat")]).await;
        assert_eq!(
            (response.status(), &response.headers()["sec-websocket-protocol"]),
            (StatusCode::OK, &"chat".parse().unwrap())
        );
        let mut socket = socket_of(response).await;
        let first = init(json!({ "Authorization": format!("Bearer {token}") }));
        socket.feed(first.into()).await.unwrap();
        socket.send("over".into()).await.unwrap();
        assert_eq!(next(&mut socket).await, expected);
        if token == TOKEN {
            assert_eq!(next(&mut socket).await, "over");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_is_never_printed() {
    /// Prints all that it has.
    async fn talkative(upgrade: AuthenticatedUpgrade<String>) -> Response {
        tracing::info!(?upgrade);
        upgrade.on_upgrade(async |mut socket| {
            tracing::info!(?socket);
            while let Some(message) = socket.recv().await {
                tracing::info!(?message);
            }
        })
    }
    let (log, secret) = (Log::default(), "the-other-secret");
    // On this thread, which also runs the tasks of the connections.
    let capture = log.everything();
    for protocol in [FirstMessage::graphql_ws(), FirstMessage::centrifugo(), FirstMessage::home_assistant()] {
        let layer = opaque_layer().first_message(protocol.clone());
        tracing::info!(?layer, ?protocol);
        let app = Router::new().route("/", any(talkative)).layer(layer.max_token_len(70).unwrap());
        for token in [TOKEN, secret, &*secret.repeat(5)] {
            for message in [
                token_of(token),
                json!({ "type": "auth", "access_token": token }).to_string(),
                json!({ "id": 1, "connect": { "token": token } }).to_string(),
                init(json!({ "token": token, "authToken": secret })),
            ] {
                let (mut socket, _) = test_util::connect(app.clone(), handshake().build()).await.unwrap();
                socket.send(message.into()).await.unwrap();
                let _ = socket.close(None).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
        }
    }
    drop(capture);
    let log = log.text();
    for part in TOKEN.split('.').chain([secret]) {
        assert!(!log.contains(part), "{log}");
    }
    assert!(log.contains("connection_init") && log.contains("alice"), "the handler printed: {log}");
    if cfg!(feature = "tracing") {
        for event in ["handshake admitted", "token_invalid", "missing_token", "token_too_large"] {
            assert!(log.contains(event), "{event}: {log}");
        }
    }
    let found = FirstToken::new(Token::new(secret)).replay(secret);
    assert_eq!(format!("{found:?}"), "FirstToken { token: Token(..), .. }");
    assert_eq!(format!("{:?}", FirstMessage::home_assistant()), "FirstMessage { timeout: 10s, max_bytes: 16384, .. }");
}

/// It cannot be seen whether the client waits for it.
#[tokio::test(start_paused = true)]
async fn a_verifier_that_hangs_is_not_waited_for_without_end() {
    let hang = |_: VerifyInput<'_>| std::future::pending::<Result<Verified<String>, VerifyError>>();
    let handler = async |upgrade: AuthenticatedUpgrade<String>| upgrade.on_upgrade(async |_| {});
    let layer = WsAuthLayer::new(hang).first_message(FirstMessage::graphql_ws());
    let router = Router::new().route("/", any(handler)).layer(layer);
    let (mut socket, _) = test_util::connect(router, handshake().build()).await.unwrap();
    let start = Instant::now();
    socket.send(r#"{"type":"connection_init","payload":{"token":"alice"}}"#.into()).await.unwrap();
    assert_eq!(closed(&mut socket).await, (1013, "unavailable".to_owned()));
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// A page is told that there is no room, where pages are told at all.
#[tokio::test(start_paused = true)]
async fn who_finds_no_place_is_told_so_by_a_close_frame_too() {
    let sessions = Sessions::new();
    sessions.drain(Drain::going_away()).await;
    let handler = async |upgrade: AuthenticatedUpgrade<String>| upgrade.on_upgrade(async |_| {});
    let layer = WsAuthLayer::new(verifier).sessions(&sessions).first_message(FirstMessage::home_assistant());
    let router = Router::new().route("/", any(handler)).layer(layer.accept_then_close());
    let (mut socket, _) = test_util::connect(router, handshake().build()).await.unwrap();
    assert_eq!(closed(&mut socket).await, (1013, "unavailable".to_owned()));
}
