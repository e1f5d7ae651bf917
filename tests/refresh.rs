//! A session stands on a new token, or on the one it had.

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

/// A client, and the session at the other end, whose handler echoes.
async fn session_with<C: Send + Sync + 'static>(layer: WsAuthLayer, token: &str) -> (ClientSocket, Session<C>) {
    let (leave, mut left) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<C>| {
        upgrade.on_upgrade(async move |mut socket| {
            let _ = leave.send(socket.session().clone());
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
                    break;
                }
            }
        })
    };
    let app = Router::new().route("/", any(handler)).layer(layer);
    let client = connected(&app, token).await;
    (client, left.recv().await.unwrap())
}

fn refused(result: Result<(), axum_ws_auth::RefreshError>) -> Kind {
    result.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn a_new_token_replaces_claims_and_deadline_at_once() {
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(timed).sessions(&sessions);
    let (mut client, session) = session_with::<String>(layer, "alice.60.one").await;
    let start = Instant::now();
    let old = session.claims();
    sleep(Duration::from_secs(50)).await;
    session.refresh(Token::new("alice.60.two")).await.unwrap();
    assert_eq!(
        (old.as_str(), session.claims().as_str()),
        ("alice.60.one", "alice.60.two"),
        "handles stay what they are"
    );
    assert_eq!(sessions.iter().next().unwrap().expires_at(), session.expires_at());
    // It now stands on the new token alone.
    assert_eq!(sessions.end_token("one"), 0);
    sleep(Duration::from_secs(50)).await;
    assert_eq!(session.end_reason(), None);
    // A token may also bring the end nearer.
    session.refresh(Token::new("alice.5.three")).await.unwrap();
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
    assert_eq!(start.elapsed().as_secs(), 105);
}

#[tokio::test(start_paused = true)]
async fn a_socket_refreshes_its_session() {
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
async fn who_waits_for_the_end_is_put_off_by_a_refresh() {
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
async fn a_refused_token_changes_nothing() {
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

    // A session of nobody cannot be told from anybody else's.
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
        ("an id that is none", token().claim("jti", 7), Kind::NotVerified(VerifyErrorKind::MalformedClaim)),
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

/// The verifier is shown the handshake as it was then, but for what is about the upgrade alone.
#[tokio::test(start_paused = true)]
async fn the_verifier_sees_the_handshake_again() {
    fn describe(input: &VerifyInput<'_>) -> String {
        let parts = input.parts;
        let original = parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.to_string());
        let mechanics =
            ["connection", "upgrade", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version"];
        let mut headers: Vec<String> = parts
            .headers
            .iter()
            .filter(|(name, _)| !mechanics.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={:?}/{}", value.as_bytes(), value.is_sensitive()))
            .collect();
        headers.sort();
        format!("{} {} {:?} {original:?} {headers:?}", parts.method, parts.uri, parts.version)
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let verifier = move |input: VerifyInput<'_>| {
        tell.send(describe(&input)).unwrap();
        async { Ok(Verified::new(()).with_subject("alice")) }
    };
    let (leave, mut left) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<()>| {
        leave.send(upgrade.session().unwrap().clone()).unwrap();
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
        let session = left.recv().await.unwrap();
        session.refresh(Token::new("new")).await.unwrap();
        let (first, second) = (told.recv().await.unwrap(), told.recv().await.unwrap());
        assert_eq!(first, second);
        assert!(!first.contains("secret") && first.contains("/api/rooms"), "{first}");
    }
}

/// A verifier that waits until it is told to go on.
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
async fn one_refresh_at_a_time_and_a_dropped_one_makes_room() {
    let gate = Arc::new(Notify::new());
    let (_client, session) = session_with::<String>(WsAuthLayer::new(slow(Arc::clone(&gate))), "alice.60").await;
    {
        let mut first = std::pin::pin!(session.refresh(Token::new("alice.600.slow")));
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(refused(session.refresh(Token::new("alice.601")).await), Kind::InProgress);
    }
    // The first one was dropped where it stood.
    assert_eq!(session.claims().as_str(), "alice.60");
    session.refresh(Token::new("alice.601")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_races_the_end_loses() {
    for (name, revoke) in [("its deadline", false), ("an order to end", true)] {
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
async fn attempts_are_counted_whether_they_succeed_or_not() {
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
    assert_eq!((error.kind(), error.retry_after()), (Kind::TooManyAttempts, None), "it never will");
}

fn ask(token: impl Into<Value>) -> ClientMessage {
    json!({ "type": "auth.refresh", "token": token.into() }).to_string().into()
}

async fn next_json(client: &mut ClientSocket) -> Value {
    serde_json::from_str(client.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn clients_refresh_by_messages_that_the_handler_never_sees() {
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
    // All else is the handler's, and comes in its order.
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
    // What is nearly a request may hold a token: it is not the handler's either.
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

/// A client that asks and never reads the answers costs no more than one that is silent.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_is_not_read_from() {
    let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
    let (mut client, _session) = session_with::<String>(layer, "alice").await;
    let flood = async {
        for _ in 0..100_000 {
            client.feed(r#"{"type":"auth.refresh"}"#.into()).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(600), flood).await.is_err(), "it is held up before long");
}

/// Of two tasks that write, one gives up. The other one goes on nevertheless.
#[tokio::test(start_paused = true)]
async fn an_answer_is_not_forgotten_when_a_sender_gives_up() {
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
    // No deadline, so that nothing but the client's reading moves it on.
    let mut client = connected(&app, "alice").await;
    sleep(Duration::from_secs(1)).await;
    client.send(ask("alice")).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let start = Instant::now();
    let both = timeout(Duration::from_secs(60), async {
        assert!(client.next().await.unwrap().unwrap().is_binary());
        assert_eq!(next_json(&mut client).await["type"], "auth.refreshed");
    });
    both.await.expect("nothing comes any more");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

/// The deadline comes while the new token is verified, and only the wall clock has seen it.
#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_revive_what_has_expired() {
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

/// The two clocks may go apart. The greatest age is reached by the one that is ahead, refreshed or not.
#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_lift_the_greatest_age() {
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

/// What claims do when they are dropped is their own affair.
#[tokio::test(start_paused = true)]
async fn claims_may_look_at_the_registry_when_they_go() {
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

/// Without a protocol every message is the handler's.
#[tokio::test(start_paused = true)]
async fn without_a_protocol_nothing_is_intercepted() {
    let (mut client, _session) = session_with::<String>(WsAuthLayer::new(timed), "alice.60").await;
    client.send(ask("alice.60")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), ask("alice.60"));
}

#[tokio::test(start_paused = true)]
async fn a_protocol_of_ones_own() {
    let protocol = RefreshProtocol::new(
        |message| match message {
            Message::Binary(bytes) => {
                bytes.strip_prefix(b"T").map(|token| Token::new(String::from_utf8_lossy(token).into_owned()))
            }
            _ => None,
        },
        // Says nothing where all is well. The request is there to be answered.
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

/// What else is in the message is received when the request is answered, and before what comes behind it.
#[tokio::test(start_paused = true)]
async fn a_protocol_may_pass_on_a_part_of_the_message_or_say_that_it_is_malformed() {
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

/// A message is taken from the handler because it is a request, and not because it looks like one.
#[tokio::test(start_paused = true)]
async fn json_takes_requests_however_they_are_spelled_and_nothing_else() {
    let layer = WsAuthLayer::new(timed)
        .refresh_protocol(RefreshProtocol::json())
        .refresh_limit(1, Duration::from_secs(24 * 3600));
    for (name, text) in [
        ("SignalR, speaking of it", r#"{"type":1,"target":"send","arguments":["how does auth.refresh work?"]}"#),
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
        assert_eq!(next_json(&mut client).await["type"], "auth.refreshed", "{name}: it cost no attempt");
    }
    for (name, text, reason) in [
        ("an escape", r#"{"type":"auth\u002erefresh","token":"alice"}"#, ""),
        ("escapes only", r#"{"\u0074ype":"\u0061uth.refresh","t\u006fken":"\u0061lice"}"#, ""),
        ("white space", " \t\r\n{ \"type\" : \"auth.refresh\" ,\n\"token\":\"alice\"}\n", ""),
        ("a byte order mark", "\u{feff}{\"type\":\"auth.refresh\",\"token\":\"alice\"}", ""),
        ("a separator", "{\"type\":\"auth.refresh\",\"token\":\"alice\"}\u{1e}", ""),
        ("another order", r#"{"token":"alice","n":[1,{"type":"x"}],"type":"auth.refresh"}"#, ""),
        ("an emoji", r#"{"type":"auth.refresh","token":"alice","x":"\ud83d\ude00"}"#, ""),
        // What may hold a token is refused, and is not the handler's either.
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
        // As in a handshake, no verifier is asked about these.
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
        assert_eq!(next_json(&mut client).await["reason"], "too_many_attempts", "{name}: it was one");
    }
}

/// The checks of a handshake's token go for every other one.
#[tokio::test(start_paused = true)]
async fn no_verifier_is_shown_a_new_token_that_could_be_none() {
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
async fn centrifugos_commands_are_answered_with_their_ids() {
    let verifier = |input: VerifyInput<'_>| match input.token.expose() {
        "expired" => std::future::ready(Err(VerifyError::expired())),
        "down" => std::future::ready(Err(VerifyError::unavailable(Duration::from_secs(1)))),
        _ => timed(input),
    };
    let layer = WsAuthLayer::new(verifier)
        .time_source(TimeSource::new(|| SystemTime::UNIX_EPOCH))
        .refresh_protocol(RefreshProtocol::centrifugo())
        .refresh_limit(10, Duration::from_secs(60));
    let (mut client, session) = session_with::<String>(layer, "alice.60").await;
    let error = |id: u32, code: u16, reason: &str, temporary: bool| json!({ "id": id, "error": { "code": code, "message": reason, "temporary": temporary } });
    let command = |id: u32, token: &str| json!({ "id": id, "refresh": { "token": token } }).to_string();
    for (sent, expected) in [
        (command(2, "alice.3600"), vec![json!({ "id": 2, "refresh": { "expires": true, "ttl": 3570 } })]),
        // A session must not end just as its client asks for the next token.
        (command(3, "alice.3"), vec![json!({ "id": 3, "refresh": { "expires": true, "ttl": 2 } })]),
        (command(4, "alice"), vec![json!({ "id": 4, "refresh": { "expires": false } })]),
        (command(5, "expired"), vec![error(5, 109, "token_expired", true)]),
        (command(6, "down"), vec![error(6, 100, "verifier_unavailable", true)]),
        (command(7, "bad"), vec![error(7, 101, "token_invalid", false)]),
        (command(8, "bob"), vec![error(8, 101, "other_subject", false)]),
        (command(9, ""), vec![error(9, 107, "malformed_message", false)]),
        // Escapes, and other commands before and behind it.
        (
            "{\"id\":10,\"rpc\":{}}\n{\"id\":11,\"r\\u0065fresh\":{\"token\":\"alice\"}}\n{\"id\":12}".to_owned(),
            vec![json!({ "id": 11, "refresh": { "expires": false } }), json!([{ "id": 10, "rpc": {} }, { "id": 12 }])],
        ),
        ([command(13, "alice"), command(14, "alice")].join("\n"), vec![error(13, 107, "malformed_message", false)]),
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
    // All else is the handler's.
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
    // What may hold a token is not. Without an id there is nothing to answer.
    for text in [r#"{"id":1,"refresh":{"token":"SECRET""#, r#"{"refresh":{"token":"SECRET"}}"#, "next"] {
        client.send(text.into()).await.unwrap();
    }
    assert_eq!(client.next().await.unwrap().unwrap(), "next".into());
}

/// A handler that drops its `recv` all the time, or reads in another task, or sends meanwhile.
#[tokio::test(start_paused = true)]
async fn a_refresh_goes_on_whatever_the_handler_does() {
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
        client.send("behind it".into()).await.unwrap();
        assert!(timeout(Duration::from_secs(10), client.next()).await.is_err(), "{path}: it waits for the verifier");
        gate.notify_one();
        let answer = next_json(&mut client).await;
        assert_eq!(answer["type"], "auth.refreshed", "{path}");
        assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "behind it", "{path}");
    }
}

/// The client sends its token and reads nothing; somebody else sends. Both get on once it reads.
#[tokio::test(start_paused = true)]
async fn an_answer_gets_past_a_send_that_is_blocked() {
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
    assert_eq!(received.load(Ordering::SeqCst), 0, "a client that does not read the answer is not asked for more");
    let (mut binary, mut answers) = (0, 0);
    while binary < 20 || answers < 1 {
        match timeout(Duration::from_secs(5), client.next()).await.expect("it goes on").unwrap().unwrap() {
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

/// Accepts every token but `hang`, which takes for ever.
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
async fn a_verifier_that_hangs_is_given_up_in_time() {
    let layer = || WsAuthLayer::new(hanging).refresh_protocol(RefreshProtocol::json());
    for (layer, seconds) in [(layer(), 10), (layer().refresh_timeout(Duration::from_millis(2500)).unwrap(), 3)] {
        let (mut client, session) = session_with::<String>(layer, "alice").await;
        let start = Instant::now();
        client.send(ask("hang")).await.unwrap();
        // More than is read ahead.
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
        // By the handler's own call too.
        let kind = refused(session.refresh(Token::new("hang")).await);
        assert_eq!(kind, Kind::NotVerified(VerifyErrorKind::Unavailable));
        session.refresh(Token::new("alice")).await.unwrap();
    }
    assert!(layer().refresh_timeout(Duration::ZERO).is_err());
}

/// How a client leaves, or does not.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_token_is_verified_is_noticed() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Leaves {
        ByCloseFrame,
        WithoutAWord,
        Not,
    }
    for (leaves, words) in [
        (Leaves::ByCloseFrame, 0),
        (Leaves::ByCloseFrame, 10),
        (Leaves::WithoutAWord, 0),
        (Leaves::WithoutAWord, 10),
        (Leaves::Not, 10),
    ] {
        let sessions = Sessions::new();
        let (heard, mut hears) = mpsc::unbounded_channel();
        let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
            upgrade.on_upgrade(async move |mut socket| {
                while let Some(Ok(message)) = socket.recv().await {
                    heard.send(message).unwrap();
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
        for number in 0..words {
            client.send(ClientMessage::text(number.to_string())).await.unwrap();
        }
        settle().await;
        assert_eq!((sessions.count(), hears.len()), (1, 0), "{leaves:?}");
        match leaves {
            Leaves::ByCloseFrame => {
                client.close(None).await.unwrap();
                assert!(matches!(client.next().await, Some(Ok(ClientMessage::Close(_)))), "it is answered");
            }
            Leaves::WithoutAWord => drop(client),
            Leaves::Not => {
                sleep(TOMORROW / 2).await;
                assert_eq!((sessions.count(), hears.len()), (1, 0));
                continue;
            }
        }
        settle().await;
        assert_eq!(sessions.count(), 0, "{leaves:?} after {words}");
        for number in 0..words {
            assert_eq!(hears.try_recv().unwrap(), Message::Text(number.to_string().into()), "{leaves:?}");
        }
        let rest = hears.try_recv();
        assert_eq!(matches!(rest, Ok(Message::Close(_))), leaves == Leaves::ByCloseFrame, "{rest:?}");
    }
}

/// A request that was read ahead is one all the same, and its turn comes.
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
