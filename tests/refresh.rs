//! A refresh replaces the token of a session, or leaves the session unchanged.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    error::Error as _,
    future::{Future, pending},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::{OriginalUri, ws::Message},
    routing::any,
};
use axum_ws_auth::{
    AuthenticatedUpgrade, EndReason, RefreshError, RefreshErrorKind as Kind, RefreshProtocol, RefreshRequest, Session,
    Sessions, TimeSource, Token, TokenSource, Verified, Verifier, VerifyError, VerifyErrorKind, VerifyInput,
    WsAuthLayer,
    test_util::{self, TestToken, handshake},
};
use futures_util::{FutureExt, SinkExt, StreamExt, future::join};
use serde_json::{Value, json};
use support::*;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message as ClientMessage;

/// A client of an echo handler, and its session.
async fn session_with<C: Send + Sync + 'static>(layer: WsAuthLayer, token: &str) -> (ClientSocket, Session<C>) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<C>| {
        upgrade.on_upgrade(async move |mut socket| {
            let _ = sender.send(socket.session().clone());
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
                    break;
                }
            }
        })
    };
    let app = Router::new().route("/", any(handler)).layer(layer);
    let client = connected(&app, token).await;
    (client, receiver.recv().await.unwrap())
}

fn refused(result: Result<(), axum_ws_auth::RefreshError>) -> Kind {
    result.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn new_token_replaces_claims_and_deadline() {
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(timed).sessions(&sessions);
    let (mut client, session) = session_with::<String>(layer, "alice.60.one").await;
    let start = Instant::now();
    let old = session.claims();
    sleep(Duration::from_secs(50)).await;
    session.refresh(Token::new("alice.60.two")).await.unwrap();
    assert_eq!((old.as_str(), session.claims().as_str()), ("alice.60.one", "alice.60.two"), "old claims stay valid");
    assert_eq!(sessions.iter().next().unwrap().expires_at(), session.expires_at());
    // Only the new token's id finds it now.
    assert_eq!(sessions.end_token("one"), 0);
    sleep(Duration::from_secs(50)).await;
    assert_eq!(session.end_reason(), None);
    // A token may also expire earlier.
    session.refresh(Token::new("alice.5.three")).await.unwrap();
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
    assert_eq!(start.elapsed().as_secs(), 105);
}

#[tokio::test(start_paused = true)]
async fn socket_refreshes_its_session() {
    let handler = async |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(Message::Text(token))) = socket.recv().await {
                let outcome = socket.refresh(Token::new(token.as_str())).await;
                let answer = outcome.map_or_else(|error| error.reason().to_owned(), |()| socket.claims().to_string());
                socket.send(answer.into()).await.unwrap();
            }
        })
    };
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed));
    let mut client = connected(&app, "alice.60").await;
    for (token, answer) in [("alice.90", "alice.90"), ("bob.90", "other_subject")] {
        client.send(token.into()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), answer);
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_delays_expiring_in() {
    let (_client, session) = session_with::<String>(WsAuthLayer::new(timed), "alice.60").await;
    let start = Instant::now();
    let refresh = async {
        sleep(Duration::from_secs(20)).await;
        session.refresh(Token::new("alice.600")).await.unwrap();
    };
    let (left, ()) = join(session.expiring_in(Duration::from_secs(30)), refresh).await;
    assert_eq!((left.as_secs(), start.elapsed().as_secs()), (30, 590));
}

#[tokio::test(start_paused = true)]
async fn refused_token_changes_nothing() {
    let day = Duration::from_secs(24 * 3600);
    let layer = || WsAuthLayer::new(timed).refresh_limit(100, day);
    let (mut client, session) = session_with::<String>(layer().max_token_len(30).unwrap(), "alice.60").await;
    let start = Instant::now();
    for (token, kind, reason) in [
        ("bad", Kind::NotVerified(VerifyErrorKind::Invalid), "token_invalid"),
        ("bob.600", Kind::OtherSubject, "other_subject"),
        ("nobody.600", Kind::NoSubject, "no_subject"),
        ("Alice.600", Kind::OtherSubject, "other_subject"),
        ("alice.600.0123456789012345678901234567890", Kind::TokenTooLarge, "token_too_large"),
    ] {
        let before = session.expires_at();
        let error = session.refresh(Token::new(token)).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (kind, reason), "{token}");
        assert_eq!(error.source().is_some(), matches!(kind, Kind::NotVerified(_)), "{token}");
        assert_eq!((session.claims().as_str(), session.expires_at()), ("alice.60", before), "{token}");
        assert!(!format!("{error:?} {error}").contains(token), "{token}");
    }
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
    assert_eq!(start.elapsed().as_secs(), 60);

    // Without a subject, sessions cannot be told apart.
    let (_client, session) = session_with::<String>(layer(), "nobody.60").await;
    assert_eq!(refused(session.refresh(Token::new("nobody.60")).await), Kind::NoSubject);
    assert_eq!(refused(session.refresh(Token::new("alice.60")).await), Kind::NoSubject);
}

#[tokio::test(start_paused = true)]
async fn jwts_are_verified_again_with_issuer_and_id() {
    let verifier = test_util::verifier::<Value>()
        .authorize(|claims, _| if claims["admin"] == true { Err(VerifyError::forbidden()) } else { Ok(()) });
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(verifier).sessions(&sessions).refresh_limit(100, Duration::from_secs(1));
    let token = || TestToken::new("alice").claim("iss", "a").claim("jti", "one");
    let (_client, session) = session_with::<Value>(layer, &token().sign()).await;
    for (name, token, kind) in [
        ("another issuer", token().claim("iss", "b"), Kind::OtherIssuer),
        ("no issuer", token().without("iss"), Kind::OtherIssuer),
        ("expired", token().claim("exp", 1), Kind::NotVerified(VerifyErrorKind::Expired)),
        ("not allowed", token().claim("admin", true), Kind::NotVerified(VerifyErrorKind::Forbidden)),
        ("a malformed id", token().claim("jti", 7), Kind::NotVerified(VerifyErrorKind::MalformedClaim)),
    ] {
        assert_eq!(refused(session.refresh(Token::new(token.sign())).await), kind, "{name}");
    }
    let other = token().sign_with(b"another secret that is long enough");
    let bad = Kind::NotVerified(VerifyErrorKind::BadSignature);
    assert_eq!(refused(session.refresh(Token::new(other)).await), bad);
    assert_eq!(session.claims()["jti"], "one");

    session.refresh(Token::new(token().claim("jti", "two").claim("more", 1).sign())).await.unwrap();
    assert_eq!(session.claims()["more"], 1);
    assert_eq!((sessions.end_token("one"), sessions.end_token("two")), (0, 1));
    assert_eq!(session.end_reason(), Some(EndReason::Revoked));
}

/// The verifier sees the original handshake, except the headers that only concern the upgrade.
#[tokio::test(start_paused = true)]
async fn the_verifier_sees_the_handshake_again() {
    fn describe(input: &VerifyInput<'_>) -> String {
        let parts = input.parts;
        let original = parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.to_string());
        let upgrade_headers =
            ["connection", "upgrade", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version"];
        let mut headers: Vec<String> = parts
            .headers
            .iter()
            .filter(|(name, _)| !upgrade_headers.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={:?}/{}", value.as_bytes(), value.is_sensitive()))
            .collect();
        headers.sort();
        format!("{} {} {:?} {original:?} {headers:?}", parts.method, parts.uri, parts.version)
    }
    let (sender, mut descriptions) = mpsc::unbounded_channel();
    let verifier = move |input: VerifyInput<'_>| {
        sender.send(describe(&input)).unwrap();
        async { Ok(Verified::new(()).with_subject("alice")) }
    };
    let (sender, mut sessions) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<()>| {
        sender.send(upgrade.session().unwrap().clone()).unwrap();
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    let layer = WsAuthLayer::new(verifier).sources([TokenSource::header("x-token"), TokenSource::query("t")]);
    let inner = Router::new().route("/rooms/{id}", any(handler)).layer(layer.unwrap());
    let app = Router::new().nest("/api", inner);
    for request in [
        handshake().path("/api/rooms/1?a=%20b&t=secret&a=c"),
        handshake()
            .path("/api/rooms/%C3%A4?")
            .header("x-token", "secret")
            .header("x-twice", "1")
            .header("x-twice", "2"),
        handshake().path("/api/rooms/1").header("x-token", "secret").header("x-bytes", &b"\xff\x80"[..]),
        handshake().path("/api/rooms/1").header("x-token", "secret").header("x-empty", "").http2(),
    ] {
        let response = answer(&app, request.build()).await;
        assert!(matches!(response.status().as_u16(), 101 | 200));
        let session = sessions.recv().await.unwrap();
        session.refresh(Token::new("new")).await.unwrap();
        let (first, second) = (descriptions.recv().await.unwrap(), descriptions.recv().await.unwrap());
        assert_eq!(first, second);
        assert!(!first.contains("secret") && first.contains("/api/rooms"), "{first}");
    }
}

/// A verifier that waits at the gate for tokens that end in `slow`.
fn slow(gate: Arc<Notify>) -> impl Verifier<Claims = String> {
    move |input: VerifyInput<'_>| {
        let (token, now, gate) = (input.token.clone(), input.now, Arc::clone(&gate));
        async move {
            if token.expose().ends_with("slow") {
                gate.notified().await;
            }
            let (parts, ()) = http::Request::new(()).into_parts();
            timed(VerifyInput::new(&token, &parts, now)).await
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_refresh_at_a_time_until_it_is_dropped() {
    let gate = Arc::new(Notify::new());
    let (_client, session) = session_with::<String>(WsAuthLayer::new(slow(Arc::clone(&gate))), "alice.60").await;
    {
        let mut first = std::pin::pin!(session.refresh(Token::new("alice.600.slow")));
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(refused(session.refresh(Token::new("alice.601")).await), Kind::InProgress);
    }
    // The first refresh was dropped halfway.
    assert_eq!(session.claims().as_str(), "alice.60");
    session.refresh(Token::new("alice.601")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn refresh_that_races_the_end_fails() {
    for (name, revoke) in [("its deadline", false), ("a revocation", true)] {
        let gate = Arc::new(Notify::new());
        let sessions = Sessions::new();
        let layer = WsAuthLayer::new(slow(Arc::clone(&gate))).sessions(&sessions).refresh_timeout(TOMORROW).unwrap();
        let (mut client, session) = session_with::<String>(layer, "alice.60.one").await;
        let refreshing = tokio::spawn({
            let session = session.clone();
            async move { session.refresh(Token::new("alice.600.slow")).await }
        });
        settle().await;
        if revoke {
            assert_eq!(sessions.end_subject("alice"), 1);
        } else {
            sleep(Duration::from_secs(60)).await;
        }
        gate.notify_one();
        assert_eq!(refused(refreshing.await.unwrap()), Kind::SessionEnded, "{name}");
        assert_eq!(session.claims().as_str(), "alice.60.one", "{name}");
        let reason = if revoke { "revoked" } else { "token_expired" };
        assert_eq!(closed(&mut client).await, (3000, reason.to_owned()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn successful_and_failed_attempts_count() {
    let per = Duration::from_secs(60);
    let layer = WsAuthLayer::new(timed).refresh_limit(3, per);
    let (_client, session) = session_with::<String>(layer, "alice.6000").await;
    for round in 0..2 {
        for token in ["bad", "alice.6000", "bob.1"] {
            let kind = session.refresh(Token::new(token)).await.err().map(|error| error.kind());
            assert_ne!(kind, Some(Kind::TooManyAttempts), "{round} {token}");
        }
        sleep(Duration::from_secs(20)).await;
        let error = session.refresh(Token::new("alice.6000")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (Kind::TooManyAttempts, Some(Duration::from_secs(40))));
        sleep(Duration::from_secs(40)).await;
    }
    let (_client, session) = session_with::<String>(WsAuthLayer::new(timed).refresh_limit(0, per), "alice.60").await;
    let error = session.refresh(Token::new("alice.60")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (Kind::TooManyAttempts, None), "no refresh is ever allowed");
}

fn ask(token: impl Into<Value>) -> ClientMessage {
    json!({ "type": "auth.refresh", "token": token.into() }).to_string().into()
}

async fn next_json(client: &mut ClientSocket) -> Value {
    serde_json::from_str(client.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn handler_never_sees_refresh_messages() {
    let layer = WsAuthLayer::new(timed)
        .time_source(TimeSource::new(|| SystemTime::UNIX_EPOCH))
        .refresh_protocol(RefreshProtocol::json())
        .refresh_limit(6, Duration::from_secs(60));
    let (mut client, session) = session_with::<String>(layer, "alice.60").await;
    for (token, answer) in [
        (json!("alice.3600"), json!({ "type": "auth.refreshed", "expires_in": 3600 })),
        (json!("alice"), json!({ "type": "auth.refreshed", "expires_in": null })),
        (json!("bad"), json!({ "type": "auth.refused", "reason": "token_invalid" })),
        (json!("bob.60"), json!({ "type": "auth.refused", "reason": "other_subject" })),
        (json!(7), json!({ "type": "auth.refused", "reason": "malformed_message" })),
        (json!("alice.60"), json!({ "type": "auth.refreshed", "expires_in": 60 })),
        (json!("alice.60"), json!({ "type": "auth.refused", "reason": "too_many_attempts", "retry_after": 60 })),
    ] {
        client.send(ask(token.clone())).await.unwrap();
        assert_eq!(next_json(&mut client).await, answer, "{token}");
    }
    assert_eq!(session.claims().as_str(), "alice.60");
    // Other messages reach the handler, in order.
    for message in [
        ClientMessage::text("auth.refresh"),
        ClientMessage::text(r#"{"type":"chat","text":"auth.refresh"}"#),
        ClientMessage::text(r#"["auth.refresh"]"#),
        ClientMessage::binary(br#"{"type":"auth.refresh","token":"x"}"#.to_vec()),
    ] {
        client.send(message.clone()).await.unwrap();
        client.send(ask("bad")).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), message);
        assert_eq!(next_json(&mut client).await["type"], "auth.refused");
    }
    // A malformed request may contain a token, so it does not reach the handler.
    for text in [
        r#"{"type":"auth.refresh","token":"alice.60","token":"alice.61"}"#,
        r#"{"type":"auth.refresh","token":"alice.60"} "#.repeat(2).as_str(),
        r#"  {"type":"auth.refresh""#,
        r#"{"type":"auth.refresh"}"#,
    ] {
        client.send(text.into()).await.unwrap();
        assert_eq!(next_json(&mut client).await["type"], "auth.refused", "{text}");
    }
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
}

/// A client that sends requests and never reads the answers must not fill the memory.
#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_answers_is_not_read() {
    let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
    let (mut client, _session) = session_with::<String>(layer, "alice").await;
    let flood = async {
        for _ in 0..100_000 {
            client.feed(r#"{"type":"auth.refresh"}"#.into()).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(600), flood).await.is_err(), "backpressure stops it");
}

/// A sender in another task drops its send; the answer is still sent.
#[tokio::test(start_paused = true)]
async fn answer_is_sent_although_another_sender_gives_up() {
    let handler = async |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async |socket| {
            let (mut sink, mut stream) = socket.split();
            tokio::spawn(async move {
                let _ = timeout(Duration::from_secs(10), sink.send(Message::Binary(vec![0; 100_000].into()))).await;
                std::future::pending::<()>().await;
            });
            while let Some(Ok(_)) = stream.next().await {}
        })
    };
    let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
    let app = Router::new().route("/", any(handler)).layer(layer);
    // Without a deadline, only the client's reads wake the supervisor.
    let mut client = connected(&app, "alice").await;
    sleep(Duration::from_secs(1)).await;
    client.send(ask("alice")).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let start = Instant::now();
    let both = timeout(Duration::from_secs(60), async {
        assert!(client.next().await.unwrap().unwrap().is_binary());
        assert_eq!(next_json(&mut client).await["type"], "auth.refreshed");
    });
    both.await.expect("an answer");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

/// The deadline passes during verification, on the wall clock only.
#[tokio::test(start_paused = true)]
async fn refresh_does_not_revive_an_expired_session() {
    let wall = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
    let time = TimeSource::new({
        let wall = Arc::clone(&wall);
        move || *wall.lock().unwrap()
    });
    let gate = Arc::new(Notify::new());
    let layer = WsAuthLayer::new(slow(Arc::clone(&gate))).time_source(time);
    let (mut client, session) = session_with::<String>(layer, "alice.60").await;
    let refreshing = tokio::spawn({
        let session = session.clone();
        async move { session.refresh(Token::new("alice.600.slow")).await }
    });
    settle().await;
    *wall.lock().unwrap() += Duration::from_secs(61);
    gate.notify_one();
    assert_eq!(refused(refreshing.await.unwrap()), Kind::SessionEnded);
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
}

/// If the clocks diverge, the max lifetime ends on the clock that is ahead, refreshed or not.
#[tokio::test(start_paused = true)]
async fn refresh_does_not_extend_max_lifetime() {
    let hour = Duration::from_secs(3600);
    let skipped = Arc::new(Mutex::new(Duration::ZERO));
    let start = Instant::now();
    let time = TimeSource::new({
        let skipped = Arc::clone(&skipped);
        move || SystemTime::UNIX_EPOCH + start.elapsed() + *skipped.lock().unwrap()
    });
    let layer = WsAuthLayer::new(timed).time_source(time).max_lifetime(hour * 10).unwrap();
    let (mut client, session) = session_with::<String>(layer, "alice").await;
    *skipped.lock().unwrap() = hour * 9;
    session.refresh(Token::new("alice.7200")).await.unwrap();
    assert_eq!(session.expires_at(), Some(session.connected_at() + hour * 10));
    assert_eq!(closed(&mut client).await, (3000, "max_lifetime".to_owned()));
    assert!(start.elapsed() <= hour + Duration::from_secs(60));
}

/// The old claims are dropped without a lock.
#[tokio::test(start_paused = true)]
async fn claims_may_use_the_registry_in_drop() {
    struct Curious(Sessions);
    impl Drop for Curious {
        fn drop(&mut self) {
            assert!(self.0.iter().count() < 2);
        }
    }
    let sessions = Sessions::new();
    let verifier = {
        let sessions = sessions.clone();
        move |_: VerifyInput<'_>| {
            let claims = Curious(sessions.clone());
            async { Ok(Verified::new(claims).with_subject("alice")) }
        }
    };
    let (_client, session) = session_with::<Curious>(WsAuthLayer::new(verifier).sessions(&sessions), "any").await;
    session.refresh(Token::new("any")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_protocol_nothing_is_intercepted() {
    let (mut client, _session) = session_with::<String>(WsAuthLayer::new(timed), "alice.60").await;
    client.send(ask("alice.60")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), ask("alice.60"));
}

#[tokio::test(start_paused = true)]
async fn custom_protocol() {
    let protocol = RefreshProtocol::new(
        |message| match message {
            Message::Binary(bytes) => {
                bytes.strip_prefix(b"T").map(|token| Token::new(String::from_utf8_lossy(token).into_owned()))
            }
            _ => None,
        },
        // Answers failures only. The request is there for the answer.
        |request, outcome| {
            let error = outcome.err()?;
            Some(Message::Text(format!("{} of {}", error.reason(), request.clone().into_data().len()).into()))
        },
    );
    let layer = WsAuthLayer::new(timed).refresh_protocol(protocol);
    let (mut client, session) = session_with::<String>(layer, "alice.60").await;
    client.send(ClientMessage::binary(b"Talice.3600".to_vec())).await.unwrap();
    client.send("hello".into()).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "hello");
    assert_eq!(session.claims().as_str(), "alice.3600");
    client.send(ClientMessage::binary(b"Tbad".to_vec())).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "token_invalid of 4");
}

/// The rest of the message is received after the answer, and before the next message.
#[tokio::test(start_paused = true)]
async fn protocol_passes_on_the_rest_of_a_message_or_calls_it_malformed() {
    let protocol = RefreshProtocol::new(
        |message| match message.to_text().ok()?.strip_prefix("refresh ")? {
            "" => Some(RefreshRequest::malformed()),
            text => {
                let (token, rest) = text.split_once(' ').unwrap_or((text, ""));
                let request = RefreshRequest::new(Token::new(token));
                Some(if rest.is_empty() { request } else { request.pass_on(rest) })
            }
        },
        |_, outcome| Some(outcome.map_or_else(RefreshError::reason, |_| "yes").into()),
    );
    let layer = WsAuthLayer::new(timed).refresh_protocol(protocol);
    let (mut client, _session) = session_with::<String>(layer, "alice.60").await;
    for message in ["refresh alice.90 rest", "behind", "refresh bob more", "refresh ", "refresh alice", "end"] {
        client.feed(message.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    for expected in ["yes", "rest", "behind", "other_subject", "more", "malformed_message", "yes", "end"] {
        assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), expected);
    }
    let printed = format!("{:?}", RefreshRequest::new(Token::new("secret")).pass_on("secret"));
    assert_eq!(printed, "RefreshRequest { token: Some(Token(..)), .. }");
}

/// A message is intercepted if it is a request, and not if it only resembles one.
#[tokio::test(start_paused = true)]
async fn json_recognizes_requests_in_every_spelling_and_nothing_else() {
    let layer = WsAuthLayer::new(timed)
        .refresh_protocol(RefreshProtocol::json())
        .refresh_limit(1, Duration::from_secs(24 * 3600));
    for (name, text) in [
        ("SignalR, about a refresh", r#"{"type":1,"target":"send","arguments":["how does auth.refresh work?"]}"#),
        ("SignalR, with its separator", "{\"type\":1,\"text\":\"auth.refresh\"}\u{1e}"),
        ("another type", r#"{"type":"say","text":"auth.refresh"}"#),
        ("another type, with a token", r#"{"type":"say","text":"auth.refresh","token":"a"}"#),
        ("no type", r#"{"text":"auth.refresh"}"#),
        ("null", r#"{"type":null,"text":"auth.refresh"}"#),
        ("a list", r#"{"type":["auth.refresh"],"token":"a"}"#),
        ("an object", r#"{"type":{"type":"auth.refresh","token":"a"}}"#),
        ("within another member", r#"{"data":{"type":"auth.refresh","token":"a"}}"#),
        ("within an array", r#"[{"type":"auth.refresh","token":"a"}]"#),
        ("as a name", r#"{"auth.refresh":"type","token":"a"}"#),
        ("more than the type", r#"{"type":"auth.refreshed","token":"a"}"#),
        ("another case", r#"{"type":"Auth.Refresh","token":"a"}"#),
        ("two other types", r#"{"type":"say","type":"x","text":"auth.refresh"}"#),
        ("escapes in another", r#"{"type":"s\u0061y","text":"\ud83d\ude00 \ud800"}"#),
        ("no JSON", "{ how does auth.refresh work?"),
        ("not quite JSON", r#"{type:"say",text:"auth.refresh"}"#),
        ("cut off", r#"{"type":"say","text":"auth.refresh"#),
        ("deep", &format!(r#"{{"type":"say","text":"auth.refresh","a":{}1{}}}"#, "[".repeat(500), "]".repeat(500))),
    ] {
        let (mut client, _session) = session_with::<String>(layer.clone(), "alice").await;
        client.send(text.into()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), text.into(), "{name}");
        client.send(ask("alice")).await.unwrap();
        assert_eq!(next_json(&mut client).await["type"], "auth.refreshed", "{name}: not an attempt");
    }
    for (name, text, reason) in [
        ("an escape", r#"{"type":"auth\u002erefresh","token":"alice"}"#, ""),
        ("escapes only", r#"{"\u0074ype":"\u0061uth.refresh","t\u006fken":"\u0061lice"}"#, ""),
        ("white space", " \t\r\n{ \"type\" : \"auth.refresh\" ,\n\"token\":\"alice\"}\n", ""),
        ("a byte order mark", "\u{feff}{\"type\":\"auth.refresh\",\"token\":\"alice\"}", ""),
        ("a separator", "{\"type\":\"auth.refresh\",\"token\":\"alice\"}\u{1e}", ""),
        ("another order", r#"{"token":"alice","n":[1,{"type":"x"}],"type":"auth.refresh"}"#, ""),
        ("an emoji", r#"{"type":"auth.refresh","token":"alice","x":"\ud83d\ude00"}"#, ""),
        // These may contain a token, so they are refused and do not reach the handler.
        ("two types", r#"{"type":"auth.refresh","type":"say","token":"alice"}"#, "malformed_message"),
        ("two types, the other way", r#"{"type":"say","type":"auth.refresh","token":"alice"}"#, "malformed_message"),
        ("two tokens", r#"{"type":"auth.refresh","token":"alice","token":"alice"}"#, "malformed_message"),
        ("no token", r#"{"type":"auth.refresh"}"#, "malformed_message"),
        ("null", r#"{"type":"auth.refresh","token":null}"#, "malformed_message"),
        ("a number", r#"{"type":"auth.refresh","token":1}"#, "malformed_message"),
        ("half a character", r#"{"type":"auth.refresh","token":"\ud800"}"#, "malformed_message"),
        ("cut off", r#"{"type":"auth.refresh","token":"alice""#, "malformed_message"),
        ("a comma too many", r#"{"token":"alice","type":"auth.refresh",}"#, "malformed_message"),
        ("two at once", r#"{"type":"auth.refresh","token":"alice"}{"type":"x"}"#, "malformed_message"),
        ("broken before its type", r#"{"token":"alice" "type":"auth.refresh"}"#, "malformed_message"),
        // As in a handshake, the verifier is not asked.
        ("empty", r#"{"type":"auth.refresh","token":""}"#, "malformed_message"),
        ("blank", r#"{"type":"auth.refresh","token":" "}"#, "malformed_message"),
        ("a line break", r#"{"type":"auth.refresh","token":"alice\r\nX-Admin: 1"}"#, "malformed_message"),
    ] {
        let (mut client, _session) = session_with::<String>(layer.clone(), "alice").await;
        client.send(text.into()).await.unwrap();
        let answer = next_json(&mut client).await;
        let expected = match reason {
            "" => json!({ "type": "auth.refreshed", "expires_in": null }),
            reason => json!({ "type": "auth.refused", "reason": reason }),
        };
        assert_eq!(answer, expected, "{name}");
        client.send(ask("alice")).await.unwrap();
        assert_eq!(next_json(&mut client).await["reason"], "too_many_attempts", "{name}: an attempt");
    }
}

/// A new token passes the same checks as the token of a handshake.
#[tokio::test(start_paused = true)]
async fn verifier_never_sees_a_malformed_new_token() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&shown);
    let verifier = move |input: VerifyInput<'_>| {
        log.lock().unwrap().push(input.token.expose().to_owned());
        std::future::ready(Ok(Verified::new("alice".to_owned()).with_subject("alice")))
    };
    let own = RefreshProtocol::new(
        |message| message.to_text().ok()?.strip_prefix("refresh:").map(Token::new),
        |_, outcome| Some(outcome.map_or_else(RefreshError::reason, |_| "yes").into()),
    );
    let layer = WsAuthLayer::new(verifier).refresh_limit(100, Duration::from_secs(60)).refresh_protocol(own);
    let (mut client, session) = session_with::<String>(layer.max_token_len(30).unwrap(), "first").await;
    let long = "x".repeat(31);
    for (token, kind, reason) in [
        ("", Kind::Malformed, "malformed_message"),
        (" ", Kind::Malformed, "malformed_message"),
        ("\t", Kind::Malformed, "malformed_message"),
        ("a b", Kind::Malformed, "malformed_message"),
        (" a", Kind::Malformed, "malformed_message"),
        ("a\r\nX-Admin: 1", Kind::Malformed, "malformed_message"),
        ("a\n", Kind::Malformed, "malformed_message"),
        ("a\0b", Kind::Malformed, "malformed_message"),
        ("a\u{7f}", Kind::Malformed, "malformed_message"),
        ("a\u{85}b", Kind::Malformed, "malformed_message"),
        ("a\u{a0}b", Kind::Malformed, "malformed_message"),
        ("a\u{2028}b", Kind::Malformed, "malformed_message"),
        (&long, Kind::TokenTooLarge, "token_too_large"),
    ] {
        assert_eq!(refused(session.refresh(Token::new(token)).await), kind, "{token:?}");
        client.send(format!("refresh:{token}").into()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), reason, "{token:?}");
    }
    session.refresh(Token::new("tök€n")).await.unwrap();
    assert_eq!(*shown.lock().unwrap(), ["first", "tök€n"]);
}

#[tokio::test(start_paused = true)]
async fn centrifugo_commands_are_answered_with_their_ids() {
    let verifier = |input: VerifyInput<'_>| match input.token.expose() {
        "expired" => std::future::ready(Err(VerifyError::expired())),
        "down" => std::future::ready(Err(VerifyError::unavailable(Duration::from_secs(1)))),
        _ => timed(input),
    };
    let layer = WsAuthLayer::new(verifier)
        .time_source(TimeSource::new(|| SystemTime::UNIX_EPOCH))
        .refresh_protocol(RefreshProtocol::centrifugo())
        .refresh_limit(11, Duration::from_secs(60));
    let (mut client, session) = session_with::<String>(layer, "alice.60").await;
    let error = |id: u32, code: u16, reason: &str, temporary: bool| json!({ "id": id, "error": { "code": code, "message": reason, "temporary": temporary } });
    let command = |id: u32, token: &str| json!({ "id": id, "refresh": { "token": token } }).to_string();
    for (sent, expected) in [
        (command(2, "alice.3600"), vec![json!({ "id": 2, "refresh": { "expires": true, "ttl": 3570 } })]),
        // The ttl is shorter than the session, so that the client has time to refresh.
        (command(3, "alice.3"), vec![json!({ "id": 3, "refresh": { "expires": true, "ttl": 2 } })]),
        (command(4, "alice"), vec![json!({ "id": 4, "refresh": { "expires": false } })]),
        (command(5, "expired"), vec![error(5, 109, "token_expired", true)]),
        (command(6, "down"), vec![error(6, 100, "verifier_unavailable", true)]),
        (command(7, "bad"), vec![error(7, 101, "token_invalid", false)]),
        (command(8, "bob"), vec![error(8, 101, "other_subject", false)]),
        (command(9, ""), vec![error(9, 107, "malformed_message", false)]),
        // Escapes, and other commands before and after it.
        (
            "{\"id\":10,\"rpc\":{}}\n{\"id\":11,\"r\\u0065fresh\":{\"token\":\"alice\"}}\n{\"id\":12}".to_owned(),
            vec![json!({ "id": 11, "refresh": { "expires": false } }), json!([{ "id": 10, "rpc": {} }, { "id": 12 }])],
        ),
        ([command(13, "alice"), command(14, "alice")].join("\n"), vec![error(13, 107, "malformed_message", false)]),
        // serde would read an array as a struct.
        (json!({ "id": 16, "refresh": ["alice"] }).to_string(), vec![error(16, 107, "malformed_message", false)]),
        (command(15, "alice"), vec![error(15, 111, "too_many_attempts", true)]),
    ] {
        client.send(sent.clone().into()).await.unwrap();
        for expected in expected {
            let message = client.next().await.unwrap().unwrap();
            let lines: Vec<Value> =
                message.to_text().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let received = if expected.is_array() { Value::Array(lines) } else { lines[0].clone() };
            assert_eq!(received, expected, "{sent}");
        }
    }
    assert_eq!(session.claims().as_str(), "alice");
    // Other messages reach the handler.
    for text in [
        r#"{"id":1,"connect":{"token":"alice"}}"#,
        r#"{"id":1,"sub_refresh":{"channel":"refresh","token":"a"}}"#,
        r#"{"id":1,"publish":{"data":"\u0072efresh","refresh":1}}"#,
        r#"[{"id":1,"refresh":{"token":"a"}}]"#,
        "refresh",
        "{}",
    ] {
        client.send(text.into()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), text.into());
    }
    // Messages that may contain a token do not. Without an id there is nothing to answer.
    for text in [r#"{"id":1,"refresh":{"token":"SECRET""#, r#"{"refresh":{"token":"SECRET"}}"#, "next"] {
        client.send(text.into()).await.unwrap();
    }
    assert_eq!(client.next().await.unwrap().unwrap(), "next".into());
}

/// The handler drops its `recv` again and again, or reads in another task.
#[tokio::test(start_paused = true)]
async fn refresh_proceeds_whatever_the_handler_does() {
    let gate = Arc::new(Notify::new());
    let layer = |gate: &Arc<Notify>| WsAuthLayer::new(slow(Arc::clone(gate))).refresh_protocol(RefreshProtocol::json());
    let impatient = async |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async |mut socket| {
            loop {
                match timeout(Duration::from_millis(5), socket.recv()).await {
                    Ok(Some(Ok(Message::Text(text)))) => socket.send(Message::Text(text)).await.unwrap(),
                    Ok(_) => break,
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        })
    };
    let divided = async |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async |socket| {
            let (sink, stream) = socket.split();
            tokio::spawn(stream.filter(|m| std::future::ready(matches!(m, Ok(Message::Text(_))))).forward(sink));
        })
    };
    let app = Router::new().route("/impatient", any(impatient)).route("/divided", any(divided)).layer(layer(&gate));
    for path in ["/impatient", "/divided"] {
        let request = handshake().path(path).bearer_subprotocol("alice.60").build();
        let (mut client, _) = test_util::connect(app.clone(), request).await.unwrap();
        client.send(ask("alice.600.slow")).await.unwrap();
        client.send("next".into()).await.unwrap();
        assert!(timeout(Duration::from_secs(10), client.next()).await.is_err(), "{path}: the verifier is pending");
        gate.notify_one();
        let answer = next_json(&mut client).await;
        assert_eq!(answer["type"], "auth.refreshed", "{path}");
        assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "next", "{path}");
    }
}

/// The client sends its token and does not read, while the handler sends. Both proceed once the client reads.
#[tokio::test(start_paused = true)]
async fn answer_is_sent_after_a_blocked_send() {
    let received = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&received);
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |socket| {
            let (mut sink, mut stream) = socket.split();
            tokio::spawn(async move {
                for _ in 0..20 {
                    sink.send(Message::Binary(vec![0; 20_000].into())).await.unwrap();
                }
                std::future::pending::<()>().await;
            });
            while let Some(Ok(_)) = stream.next().await {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
    let app = Router::new().route("/", any(handler)).layer(layer);
    let mut client = connected(&app, "alice.600").await;
    sleep(Duration::from_secs(1)).await;
    client.send(ask("alice.3600")).await.unwrap();
    client.send("after it".into()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(received.load(Ordering::SeqCst), 0, "a client that does not read its answer is not read");
    let (mut binary, mut answers) = (0, 0);
    while binary < 20 || answers < 1 {
        match timeout(Duration::from_secs(5), client.next()).await.expect("a message").unwrap().unwrap() {
            ClientMessage::Binary(bytes) => {
                assert_eq!(bytes.len(), 20_000);
                binary += 1;
            }
            message => {
                assert!(message.to_text().unwrap().contains("auth.refreshed"));
                answers += 1;
            }
        }
    }
}

/// Accepts every token except `hang`, which never completes.
fn hanging(input: VerifyInput<'_>) -> impl Future<Output = Result<Verified<String>, VerifyError>> + Send + use<> {
    let token = input.token.expose().to_owned();
    async move {
        if token == "hang" {
            pending::<()>().await;
        }
        Ok(Verified::new(token).with_subject("alice"))
    }
}

const TOMORROW: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn hanging_verifier_times_out() {
    let layer = || WsAuthLayer::new(hanging).refresh_protocol(RefreshProtocol::json());
    for (layer, seconds) in [(layer(), 10), (layer().refresh_timeout(Duration::from_millis(2500)).unwrap(), 3)] {
        let (mut client, session) = session_with::<String>(layer, "alice").await;
        let start = Instant::now();
        client.send(ask("hang")).await.unwrap();
        // More messages than are read ahead.
        for number in 0..100 {
            client.send(ClientMessage::text(number.to_string())).await.unwrap();
        }
        let answer = next_json(&mut client).await;
        let expected = json!({ "type": "auth.refused", "reason": "verifier_unavailable", "retry_after": seconds });
        assert_eq!(answer, expected);
        assert_eq!(start.elapsed().as_secs_f64().ceil(), f64::from(seconds));
        for number in 0..100 {
            assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), number.to_string());
        }
        // The handler's own call times out too.
        let kind = refused(session.refresh(Token::new("hang")).await);
        assert_eq!(kind, Kind::NotVerified(VerifyErrorKind::Unavailable));
        session.refresh(Token::new("alice")).await.unwrap();
    }
    assert!(layer().refresh_timeout(Duration::ZERO).is_err());
}

#[tokio::test(start_paused = true)]
async fn client_that_disconnects_during_verification_is_noticed() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Disconnect {
        WithCloseFrame,
        Abruptly,
        Never,
    }
    for (disconnect, messages) in [
        (Disconnect::WithCloseFrame, 0),
        (Disconnect::WithCloseFrame, 10),
        (Disconnect::Abruptly, 0),
        (Disconnect::Abruptly, 10),
        (Disconnect::Never, 10),
    ] {
        let sessions = Sessions::new();
        let (sender, mut received) = mpsc::unbounded_channel();
        let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
            upgrade.on_upgrade(async move |mut socket| {
                while let Some(Ok(message)) = socket.recv().await {
                    sender.send(message).unwrap();
                }
            })
        };
        let layer = WsAuthLayer::new(hanging)
            .sessions(&sessions)
            .refresh_protocol(RefreshProtocol::json())
            .refresh_timeout(TOMORROW)
            .unwrap();
        let app = Router::new().route("/", any(handler)).layer(layer);
        let mut client = connected(&app, "alice").await;
        client.send(ask("hang")).await.unwrap();
        for number in 0..messages {
            client.send(ClientMessage::text(number.to_string())).await.unwrap();
        }
        settle().await;
        assert_eq!((sessions.count(), received.len()), (1, 0), "{disconnect:?}");
        match disconnect {
            Disconnect::WithCloseFrame => {
                client.close(None).await.unwrap();
                assert!(matches!(client.next().await, Some(Ok(ClientMessage::Close(_)))), "it is answered");
            }
            Disconnect::Abruptly => drop(client),
            Disconnect::Never => {
                sleep(TOMORROW / 2).await;
                assert_eq!((sessions.count(), received.len()), (1, 0));
                continue;
            }
        }
        settle().await;
        assert_eq!(sessions.count(), 0, "{disconnect:?} after {messages}");
        for number in 0..messages {
            assert_eq!(received.try_recv().unwrap(), Message::Text(number.to_string().into()), "{disconnect:?}");
        }
        let rest = received.try_recv();
        assert_eq!(matches!(rest, Ok(Message::Close(_))), disconnect == Disconnect::WithCloseFrame, "{rest:?}");
    }
}

/// Requests that were read ahead are handled in turn.
#[tokio::test(start_paused = true)]
async fn requests_behind_one_that_hangs_are_answered_in_order() {
    let layer = WsAuthLayer::new(hanging).refresh_protocol(RefreshProtocol::json());
    let (mut client, session) = session_with::<String>(layer, "alice").await;
    for message in [ask("hang"), "one".into(), ask("new"), "two".into()] {
        client.send(message).await.unwrap();
    }
    assert_eq!(next_json(&mut client).await["reason"], "verifier_unavailable");
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "one");
    assert_eq!(next_json(&mut client).await["type"], "auth.refreshed");
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "two");
    assert_eq!(*session.claims(), "new");
}
