//! A session stands on a new token, or on the one it had.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    error::Error as _,
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
    AuthenticatedUpgrade, EndReason, RefreshErrorKind as Kind, RefreshProtocol, Session, Sessions, TimeSource, Token,
    TokenSource, Verified, Verifier, VerifyError, VerifyErrorKind, VerifyInput, WsAuthLayer,
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
        let layer = WsAuthLayer::new(slow(Arc::clone(&gate))).sessions(&sessions);
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
        // Says nothing where all is well.
        |outcome| outcome.err().map(|error| Message::Text(error.reason().into())),
    );
    let layer = WsAuthLayer::new(timed).refresh_protocol(protocol);
    let (mut client, session) = session_with::<String>(layer, "alice.60").await;
    client.send(ClientMessage::binary(b"Talice.3600".to_vec())).await.unwrap();
    client.send("hello".into()).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "hello");
    assert_eq!(session.claims().as_str(), "alice.3600");
    client.send(ClientMessage::binary(b"Tbad".to_vec())).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "token_invalid");
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
