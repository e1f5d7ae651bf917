//! Shared Signals: events that are polled, and the management of streams.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::{
    events::*,
    push::FlakyStore,
    support::{closed, log::Log},
    transmitter::{TOKEN, TestTransmitter},
};
use axum_ws_auth::{
    ConfigError, Token, WsAuthLayer,
    signals::{
        BearerToken, Poll, SharedSignals, Stream, StreamRequest, StreamState, Transmitter, TransmitterErrorKind,
        transmitter_configuration_url,
    },
};
use bytes::Bytes;
use http::{HeaderValue, Request};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tracing::Level;

/// A node that receives events of this transmitter.
fn node_of(transmitter: &TestTransmitter, store: FlakyStore) -> Node {
    let issuer = transmitter.issuer.clone();
    Node::with_layer(store, WsAuthLayer::new(access_token), move |revocations| {
        SharedSignals::discover(&issuer, revocations).audience(AUDIENCE).token_issuer(ISSUER)
    })
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn started() -> (TestTransmitter, Node, Transmitter, Stream) {
    let transmitter = TestTransmitter::start("").await;
    let node = node_of(&transmitter, FlakyStore::default());
    let client = transmitter.discover().await.unwrap();
    let stream = client.create_stream(&StreamRequest::poll()).await.unwrap();
    (transmitter, node, client, stream)
}

#[tokio::test]
async fn polled_events_end_sessions_and_are_acknowledged() {
    let (transmitter, node, client, stream) = started().await;
    let (mut laptop, mut phone) = (node.open("alice.laptop.t1").await, node.open("alice.phone.t2").await);
    let polling = node.signals.poll(client.poll(&stream).unwrap()).unwrap();
    eventually("a long poll", || !transmitter.polls().is_empty()).await;
    assert_eq!(transmitter.polls()[0], json!({"maxEvents": 15, "returnImmediately": false}));

    let begin = Instant::now();
    transmitter.emit("e1", &revoked(&session_of("alice", "laptop")));
    assert_eq!(closed(&mut laptop).await, (3000, "revoked".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    eventually("an acknowledgement", || transmitter.queue_len() == 0).await;
    assert_eq!(transmitter.polls()[1], json!({"maxEvents": 15, "returnImmediately": true, "ack": ["e1"]}));
    assert!(is_open(&mut phone).await);
    assert!(node.signals.status().last_poll.is_some() && node.signals.status().last_signal.is_some());

    // No poll begins after the handle is dropped.
    assert!(!polling.is_finished());
    drop(polling);
    sleep(Duration::from_millis(50)).await;
    let polls = transmitter.polls().len();
    transmitter.emit("e2", &revoked(&session_of("alice", "phone")));
    sleep(Duration::from_millis(100)).await;
    assert!(is_open(&mut phone).await && transmitter.polls().len() == polls);
}

#[tokio::test]
async fn bad_events_are_reported_and_do_not_hold_up_the_others() {
    let (transmitter, node, client, stream) = started().await;
    let mut laptop = node.open("alice.laptop.t1").await;
    let mut with_exp = revoked(&user("alice"));
    with_exp["exp"] = (now() + 60).into();
    transmitter.emit("a-exp", &with_exp);
    let mut for_mail = revoked(&user("alice"));
    for_mail["aud"] = "https://mail.example.com".into();
    transmitter.emit("b-aud", &for_mail);
    transmitter.queue("c-text", "nonsense".to_owned());
    transmitter.queue("d-iss", signed(&revoked(&user("alice"))));
    transmitter.emit("e-good", &revoked(&session_of("alice", "laptop")));
    let _polling = node.signals.poll(client.poll(&stream).unwrap()).unwrap();
    assert_eq!(closed(&mut laptop).await.1, "revoked");
    eventually("all are answered", || transmitter.queue_len() == 0).await;
    let refused = transmitter.refused();
    let errors: Vec<_> = refused.iter().map(|(id, error)| (&**id, error["err"].as_str().unwrap())).collect();
    let invalid = "invalid_request";
    assert_eq!(
        errors,
        [("a-exp", invalid), ("b-aud", "invalid_audience"), ("c-text", invalid), ("d-iss", "invalid_issuer")]
    );
    assert!(refused.values().all(|error| error["description"].is_string()), "{refused:?}");
}

#[tokio::test]
async fn more_events_than_a_poll_takes_are_fetched_at_once() {
    let (transmitter, node, client, stream) = started().await;
    for number in 0..100 {
        transmitter.emit(&format!("e{number:03}"), &revoked(&session_of("alice", &format!("s{number}"))));
    }
    let begin = Instant::now();
    let _polling = node.signals.poll(client.poll(&stream).unwrap()).unwrap();
    eventually("all are acknowledged", || transmitter.queue_len() == 0).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!((node.revocations.status().entries, transmitter.polls().len()), (100, 8));
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_store_has_it() {
    let transmitter = TestTransmitter::start("").await;
    let store = FlakyStore::default();
    store.fail(true);
    let node = node_of(&transmitter, store.clone());
    let client = transmitter.discover().await.unwrap();
    let stream = client.create_stream(&StreamRequest::poll()).await.unwrap();
    transmitter.emit("e1", &revoked(&user("alice")));
    transmitter.queue("e2", "nonsense".to_owned());
    let _polling = node.signals.poll(client.poll(&stream).unwrap()).unwrap();
    eventually("a second poll", || transmitter.polls().len() >= 2).await;
    assert_eq!((transmitter.queue_len(), transmitter.polls()[1].get("ack")), (1, None), "the bad one is reported");
    store.fail(false);
    eventually("an acknowledgement", || transmitter.queue_len() == 0).await;
    assert_eq!(node.status("alice.laptop.t1").await, 401);
}

#[tokio::test(start_paused = true)]
async fn polls_go_on_after_failures() {
    let event = signed(&revoked(&user("alice")));
    let sets = json!({"sets": {"e1": event}}).to_string();
    let answers =
        [(500, "{}"), (200, "[1]"), (200, "<html>"), (401, ""), (200, &*sets), (503, "{}"), (200, r#"{"sets":{}}"#)];
    let answers = answers.map(|(status, body)| (status, body.to_owned()));
    let polls: Arc<Mutex<Vec<(Instant, Bytes)>>> = Arc::default();
    let seen = Arc::clone(&polls);
    let client = move |request: Request<Bytes>| {
        let mut polls = seen.lock().unwrap();
        let (status, body) = answers.get(polls.len()).cloned().unwrap_or((200, "{}".to_owned()));
        polls.push((Instant::now(), request.into_body()));
        async move { Ok(http::Response::builder().status(status).body(Bytes::from(body))?) }
    };
    let node = Node::new();
    let log = Log::default();
    let _capture = log.capture(Level::WARN);
    let _polling = node.signals.poll(Poll::new("https://id.example.com/poll/1").unwrap().client(client)).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(node.status("alice.laptop.t1").await, 401);
    let polls = polls.lock().unwrap();
    let pauses: Vec<_> = polls.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect();
    for (number, longest) in [(0, 1000), (1, 2000), (2, 4000), (3, 8000), (5, 1000)] {
        let expected = longest / 2..=longest + 1;
        assert!(expected.contains(&pauses[number]), "{number}: {pauses:?}");
    }
    assert_eq!(pauses[4], 0, "the acknowledgement is sent at once");
    assert_eq!(polls[5].1, polls[6].1, "and again, because it may be lost");
    assert!(std::str::from_utf8(&polls[6].1).unwrap().contains(r#""ack":["e1"]"#));
    if cfg!(feature = "tracing") {
        // One for each time that it begins to fail.
        assert_eq!(log.text().matches("signal poll failed").count(), 2, "{}", log.text());
    }
}

#[tokio::test(start_paused = true)]
async fn transmitter_that_ignores_acknowledgements_is_not_asked_without_pause() {
    let event = signed(&revoked(&user("alice")));
    for sets in [json!({"sets": {"e1": event}}), json!({"sets": {"e1": 7}}), json!({"sets": {}, "moreAvailable": true})]
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (Arc::clone(&asked), Bytes::from(sets.to_string()));
        let client = move |_: Request<Bytes>| {
            count.fetch_add(1, SeqCst);
            let answer = answer.clone();
            async { Ok(http::Response::new(answer)) }
        };
        let node = Node::new();
        let _polling = node.signals.poll(Poll::new("https://id.example.com/poll/1").unwrap().client(client)).unwrap();
        sleep(Duration::from_millis(10_500)).await;
        assert!((11..=12).contains(&asked.load(SeqCst)), "{sets}: {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn transmitter_that_answers_at_once_is_not_asked_without_pause() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let client = move |request: Request<Bytes>| {
        count.fetch_add(1, SeqCst);
        assert_eq!(request.headers()["authorization"], format!("Bearer {TOKEN}"));
        assert!(request.headers()["authorization"].is_sensitive());
        async { Ok(http::Response::new(Bytes::from_static(br#"{"sets":{}}"#))) }
    };
    let poll = || Poll::new("https://id.example.com/poll/1").unwrap().client(client.clone()).token(TOKEN);
    let node = Node::new();
    let default = node.signals.poll(poll()).unwrap();
    sleep(Duration::from_millis(10_500)).await;
    assert_eq!(asked.swap(0, SeqCst), 11);
    drop(default);
    let _slow = node.signals.poll(poll().interval(Duration::from_secs(5)).unwrap()).unwrap();
    sleep(Duration::from_millis(10_500)).await;
    assert_eq!(asked.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn access_token_is_asked_for_before_each_poll() {
    let has_token = Arc::new(AtomicBool::new(false));
    let (polled, has) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&has_token));
    let count = Arc::clone(&polled);
    let client = move |_: Request<Bytes>| {
        count.fetch_add(1, SeqCst);
        async { Ok(http::Response::builder().status(204).body(Bytes::new())?) }
    };
    let token = BearerToken::from_fn(move || {
        let has_token = has.load(SeqCst);
        async move { if has_token { Ok(Token::new(TOKEN)) } else { Err("the token endpoint is down".into()) } }
    });
    assert!(!format!("{token:?}").contains(TOKEN));
    let poll = Poll::new("https://id.example.com/poll/1").unwrap().client(client).token(token);
    assert!(!format!("{poll:?}").contains(TOKEN));
    let node = Node::new();
    let _polling = node.signals.poll(poll).unwrap();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(polled.load(SeqCst), 0);
    has_token.store(true, SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert!(polled.load(SeqCst) > 10);
}

#[tokio::test]
async fn transmitter_is_discovered_and_its_streams_are_managed() {
    let transmitter = TestTransmitter::start("/tenant/7").await;
    let client = transmitter.discover().await.unwrap();
    assert_eq!(client.critical_subject_members(), ["tenant", "user"]);
    assert_eq!(client.delivery_methods(), ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"]);
    assert!(!format!("{client:?}").contains(TOKEN));

    let secret = HeaderValue::from_static("Bearer 7b1c-secret");
    let request = StreamRequest::push("https://chat.example.com/signals", Some(secret)).description("chat");
    assert!(!format!("{request:?}").contains("7b1c"));
    let stream = client.create_stream(&request).await.unwrap();
    assert_eq!((stream.id(), stream.audiences()), ("stream-1", &[AUDIENCE.to_owned()][..]));
    assert!(stream.events_delivered().contains(&format!("{CAEP}session-revoked")), "{stream:?}");
    assert!(!format!("{stream:?}").contains("7b1c"));
    let sent = &transmitter.streams()[0];
    let expected = json!({
        "method": "urn:ietf:rfc:8935", "endpoint_url": "https://chat.example.com/signals",
        "authorization_header": "Bearer 7b1c-secret",
    });
    assert_eq!(sent["delivery"], expected);
    assert_eq!(client.stream_state(&stream).await.unwrap(), StreamState::Paused);
    assert_eq!(client.poll(&stream).unwrap_err().kind(), TransmitterErrorKind::Unsupported, "it is pushed");
}

#[tokio::test]
async fn present_stream_is_used_if_it_has_the_same_delivery() {
    let transmitter = TestTransmitter::start("").await;
    let client = transmitter.discover().await.unwrap();
    let url = "https://chat.example.com/signals";
    let stream =
        |id: &str, iss: &str, delivery| json!({"stream_id": id, "iss": iss, "aud": AUDIENCE, "delivery": delivery});
    transmitter.has_stream(json!({"stream_id": "odd"}));
    let push = |url: &str| json!({"method": "urn:ietf:rfc:8935", "endpoint_url": url});
    // A delivery was once read from an array of its members, and a stream too.
    transmitter.has_stream(stream("array", &transmitter.issuer, json!(["urn:ietf:rfc:8935", url])));
    transmitter.has_stream(json!(["array", transmitter.issuer, AUDIENCE, [], push(url)]));
    transmitter.has_stream(stream("other", &transmitter.issuer, push("https://mail.example.com/signals")));
    let error = client.create_stream(&StreamRequest::push(url, None)).await.unwrap_err();
    assert_eq!(error.kind(), TransmitterErrorKind::Status(http::StatusCode::CONFLICT));
    transmitter.has_stream(stream("ours", &transmitter.issuer, push(url)));
    let found = client.create_stream(&StreamRequest::push(url, None)).await.unwrap();
    assert_eq!((found.id(), found.audiences()), ("ours", &[AUDIENCE.to_owned()][..]));

    transmitter.has_stream(stream("poll", "https://evil.example", json!({"method": "urn:ietf:rfc:8936"})));
    let error = client.create_stream(&StreamRequest::poll()).await.unwrap_err();
    assert_eq!(error.kind(), TransmitterErrorKind::WrongIssuer);
}

#[tokio::test]
async fn unusable_transmitters_are_errors() {
    let answer = |body: &'static str| {
        move |_: Request<Bytes>| async move { Ok(http::Response::new(Bytes::from_static(body.as_bytes()))) }
    };
    let discover = async |body| {
        let transmitter = Transmitter::discover("https://id.example.com").client(answer(body)).await;
        transmitter.map_err(|error| error.kind())
    };
    assert_eq!(discover("<html>").await.unwrap_err(), TransmitterErrorKind::Malformed);
    assert_eq!(discover(r#"{"issuer": "https://evil.example"}"#).await.unwrap_err(), TransmitterErrorKind::WrongIssuer);
    let slash = discover(r#"{"issuer": "https://id.example.com/"}"#).await;
    assert_eq!(slash.unwrap_err(), TransmitterErrorKind::WrongIssuer);

    let bare = discover(r#"{"issuer": "https://id.example.com"}"#).await.unwrap();
    let error = bare.create_stream(&StreamRequest::poll()).await.unwrap_err();
    assert_eq!(error.kind(), TransmitterErrorKind::Unsupported);
    let http = r#"{"issuer": "https://id.example.com", "configuration_endpoint": "http://127.0.0.1/streams"}"#;
    let error = discover(http).await.unwrap().create_stream(&StreamRequest::poll()).await.unwrap_err();
    assert_eq!(error.kind(), TransmitterErrorKind::InsecureUrl, "the access token is not sent there");

    let error = Transmitter::discover("http://id.example.com").await.unwrap_err();
    assert_eq!(error.kind(), TransmitterErrorKind::InsecureUrl);
    let down = |_: Request<Bytes>| async { Err("no route".into()) };
    let error = Transmitter::discover("https://id.example.com").client(down).await.unwrap_err();
    assert_eq!(error.kind(), TransmitterErrorKind::Unreachable);
    let hangs = |_: Request<Bytes>| std::future::pending();
    let discover = Transmitter::discover("https://id.example.com").client(hangs).timeout(Duration::from_millis(20));
    assert_eq!(discover.await.unwrap_err().kind(), TransmitterErrorKind::TimedOut);

    assert!(matches!(Poll::new("http://id.example.com/poll"), Err(ConfigError::InvalidUrl { .. })));
    let poll = Poll::new("https://id.example.com/poll").unwrap();
    assert_eq!(poll.interval(Duration::ZERO).unwrap_err(), ConfigError::ZeroDuration("interval of polls"));
}

#[test]
fn configuration_comes_before_the_path_of_the_issuer() {
    for (issuer, expected) in [
        ("https://id.example.com", "https://id.example.com/.well-known/ssf-configuration"),
        ("https://id.example.com/", "https://id.example.com/.well-known/ssf-configuration"),
        ("https://id.example.com:8443/issuer1", "https://id.example.com:8443/.well-known/ssf-configuration/issuer1"),
        ("https://id.example.com/a/b/", "https://id.example.com/.well-known/ssf-configuration/a/b"),
        ("not a url", "not a url"),
    ] {
        assert_eq!(transmitter_configuration_url(issuer), expected, "{issuer}");
    }
}

#[tokio::test]
async fn stream_is_verified_by_an_echo() {
    let (_transmitter, node, client, stream) = started().await;
    let _polling = node.signals.poll(client.poll(&stream).unwrap()).unwrap();
    node.signals.verify_stream(&client, &stream).await.unwrap();
    assert!(node.signals.status().last_verification.is_some());
}

#[tokio::test]
async fn echo_may_be_pushed_and_another_node_recognizes_it() {
    let transmitter = TestTransmitter::start("").await;
    let (asks, receives) = (node_of(&transmitter, FlakyStore::default()), node_of(&transmitter, FlakyStore::default()));
    let client = transmitter.discover().await.unwrap();
    let request = StreamRequest::push("https://chat.example.com/signals", None);
    let stream = client.create_stream(&request).await.unwrap();
    transmitter.push_to(asks.app.clone());
    asks.signals.verify_stream(&client, &stream).await.unwrap();

    transmitter.push_to(receives.app.clone());
    let verify = timeout(Duration::from_millis(300), asks.signals.verify_stream(&client, &stream));
    assert!(verify.await.is_err(), "the event came to another node");
    assert!(receives.signals.status().last_verification.is_some());
}

#[tokio::test]
async fn stream_is_not_verified_without_the_echo() {
    let (transmitter, node, client, stream) = started().await;
    let _polling = node.signals.poll(client.poll(&stream).unwrap()).unwrap();
    transmitter.forget_states();
    let verify = timeout(Duration::from_millis(300), node.signals.verify_stream(&client, &stream));
    assert!(verify.await.is_err());

    // A state that nobody asked for.
    let subject = json!({"format": "opaque", "id": "stream-1"});
    for state in ["", "guess", &"A".repeat(43), &"A".repeat(10_000)] {
        let id = format!("state {}", state.len());
        transmitter.emit(&id, &event(&format!("{SSF}verification"), &subject, &json!({"state": state})));
        eventually("an answer", || transmitter.refused().contains_key(&id)).await;
        assert_eq!(transmitter.refused()[&id]["err"], "invalid_state");
    }
}

#[tokio::test]
async fn handler_that_panics_does_not_end_the_polls() {
    let transmitter = TestTransmitter::start("").await;
    let panics = Arc::new(AtomicBool::new(true));
    let node = Node::with_layer(FlakyStore::default(), WsAuthLayer::new(access_token), |revocations| {
        let panics = Arc::clone(&panics);
        let signals = SharedSignals::discover(&transmitter.issuer, revocations).audience(AUDIENCE);
        signals.fallback(move |_| {
            assert!(!panics.swap(false, SeqCst), "once");
            async { Ok(()) }
        })
    });
    let client = transmitter.discover().await.unwrap();
    let stream = client.create_stream(&StreamRequest::poll()).await.unwrap();
    transmitter.emit("e1", &event("https://example.com/event/what", &user("alice"), &json!({})));
    let _polling = node.signals.poll(client.poll(&stream).unwrap()).unwrap();
    eventually("an acknowledgement", || transmitter.queue_len() == 0).await;
    assert!(!panics.load(SeqCst));
}
