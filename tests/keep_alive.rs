//! Pings keep sockets open, and end the sessions of clients that have vanished.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod support;

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::ws::Message, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedSocket, AuthenticatedUpgrade, ConfigError, EndReason, FirstMessage, RefreshProtocol, Sessions,
    WsAuthLayer, test_util,
};
use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::json;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message as ClientMessage;

type Socket = AuthenticatedSocket<String>;

const EVERY: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(20);
/// A client that vanishes has lost its place after this time.
const MINUTE: Duration = Duration::from_secs(60);

fn layer(sessions: &Sessions) -> WsAuthLayer {
    WsAuthLayer::new(timed).sessions(sessions).keep_alive(EVERY, TIMEOUT).unwrap()
}

async fn never_look(socket: Socket) {
    let _held = socket;
    pending::<()>().await;
}

/// Moves the halves into two tasks, and returns.
async fn divide(socket: Socket) {
    let (mut sink, mut stream) = socket.split();
    tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
    tokio::spawn(async move {
        let _ = sink.flush().await;
        pending::<()>().await;
    });
}

/// Answers pings for this time. Returns when they came.
async fn answer_pings(client: &mut ClientSocket, time: Duration) -> Vec<Duration> {
    let start = Instant::now();
    let mut pings = Vec::new();
    let answering = async {
        while let Some(message) = client.next().await {
            match message.expect("the connection is open") {
                ClientMessage::Ping(payload) => {
                    assert_eq!(&payload[..], b"keep-alive");
                    pings.push(start.elapsed());
                }
                other => panic!("{other:?} after {:?}", start.elapsed()),
            }
        }
        panic!("closed after {:?}", start.elapsed());
    };
    assert!(timeout(time, answering).await.is_err());
    pings
}

async fn is_gone(sessions: &Sessions, subject: &str) -> bool {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    !sessions.iter().any(|session| session.subject() == Some(subject))
}

/// Whatever the handler does, a client that answers stays, and one that does not loses its place within a minute.
#[tokio::test(start_paused = true)]
async fn clients_that_answer_live_and_those_that_vanish_free_their_places() {
    let sessions = Sessions::new();
    let apps = [
        ("reads", behind(layer(&sessions), read_on)),
        ("never looks at the socket", behind(layer(&sessions), never_look)),
        ("moves the halves into two tasks", behind(layer(&sessions), divide)),
    ];
    for (name, app) in apps {
        let mut client = connected(&app, "alice").await;
        let vanished = connected(&app, "bob").await;
        let start = Instant::now();
        let pings = answer_pings(&mut client, MINUTE).await;
        assert!(pings.len() >= 2, "{name}: {pings:?}");
        assert!(is_gone(&sessions, "bob").await, "{name}");
        assert_eq!(sessions.count(), 1, "{name}: the connection is dropped too");
        // There is no close handshake with a client that does not answer, but if it reads after all, it learns why.
        let mut bytes = Vec::new();
        vanished.into_inner().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(take_frame(&mut bytes), Some((PING, b"keep-alive".to_vec())), "{name}");
        let close = [&3008_u16.to_be_bytes()[..], b"unresponsive"].concat();
        assert_eq!(take_frame(&mut bytes), Some((CLOSE, close)), "{name}: one ping at a time");

        let pings = answer_pings(&mut client, 60 * MINUTE).await;
        assert!((120..=151).contains(&pings.len()), "{name}: {} pings", pings.len());
        assert_eq!(sessions.count(), 1, "{name}");
        drop(client);
        sleep(MINUTE).await;
        assert_eq!(sessions.count(), 0, "{name}");
        assert!(start.elapsed() > 60 * MINUTE);
    }
}

#[tokio::test(start_paused = true)]
async fn session_ends_with_its_own_reason_exactly_after_the_timeout() {
    let sessions = Sessions::new();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let app = behind(layer(&sessions), move |mut socket: Socket| {
        let sender = sender.clone();
        async move {
            let session = socket.session().clone();
            while let Some(Ok(_)) = socket.recv().await {}
            sender.send((session.end_reason(), session.close_code())).unwrap();
        }
    });
    let mut client = connected(&app, "alice").await;
    let ClientMessage::Ping(_) = client.next().await.unwrap().unwrap() else { panic!("no ping") };
    let start = Instant::now();
    // tungstenite writes its pong at the next read.
    assert_eq!(receiver.recv().await, Some((Some(EndReason::Unresponsive), Some(3008))));
    let late = start.elapsed().checked_sub(TIMEOUT).unwrap();
    assert!(late <= Duration::from_millis(2), "{late:?} late");
}

#[tokio::test(start_paused = true)]
async fn off_by_default_and_by_upgrade() {
    let sessions = Sessions::new();
    let choosing = |every: Option<Duration>| {
        async move |upgrade: AuthenticatedUpgrade<String>| -> Response {
            match every {
                Some(every) => upgrade.keep_alive(every, TIMEOUT).unwrap().on_upgrade(read_on),
                None => upgrade.without_keep_alive().on_upgrade(read_on),
            }
        }
    };
    let bare = WsAuthLayer::new(timed).sessions(&sessions);
    let apps = [
        ("default", behind(bare.clone(), read_on), None),
        ("turned off", Router::new().route("/", any(choosing(None))).layer(layer(&sessions)), None),
        ("turned on", Router::new().route("/", any(choosing(Some(EVERY / 10)))).layer(bare), Some(3)),
        ("changed", Router::new().route("/", any(choosing(Some(EVERY / 10)))).layer(layer(&sessions)), Some(3)),
    ];
    for (name, app, seconds) in apps {
        let mut client = connected(&app, "alice").await;
        let pings = answer_pings(&mut client, 100 * EVERY).await;
        match seconds {
            None => assert!(pings.is_empty(), "{name}: {pings:?}"),
            Some(seconds) => assert!(pings[0] <= Duration::from_secs(seconds), "{name}: {pings:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_authenticate_by_their_first_message_are_pinged() {
    let sessions = Sessions::new();
    let app = behind(layer(&sessions).first_message(FirstMessage::home_assistant()), never_look);
    let (mut client, _) = test_util::connect(app, test_util::handshake().build()).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().is_text());
    client.send(json!({ "type": "auth", "access_token": "alice" }).to_string().into()).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().is_text());
    assert!(answer_pings(&mut client, 2 * MINUTE).await.len() >= 3);
    sleep(MINUTE).await;
    assert_eq!(sessions.count(), 0);
}

#[test]
fn zero_is_refused() {
    let layer = WsAuthLayer::new(timed);
    for (every, timeout) in [(Duration::ZERO, TIMEOUT), (EVERY, Duration::ZERO)] {
        assert!(matches!(layer.clone().keep_alive(every, timeout), Err(ConfigError::ZeroLimit(_))));
    }
    // The clock cannot represent this, which means never.
    assert!(layer.keep_alive(Duration::MAX, Duration::MAX).is_ok());
}

#[tokio::test(start_paused = true)]
async fn endless_times_mean_never() {
    let app = behind(WsAuthLayer::new(timed).keep_alive(Duration::MAX, Duration::MAX).unwrap(), read_on);
    let mut client = connected(&app, "alice").await;
    assert!(answer_pings(&mut client, 60 * MINUTE).await.is_empty());
}

/// Sockets that were opened at the same moment are not pinged at the same moment.
#[tokio::test(start_paused = true)]
async fn pings_spread() {
    let app = behind(layer(&Sessions::new()), read_on);
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(connected(&app, "alice").await);
    }
    let start = Instant::now();
    let pinged = clients.iter_mut().map(|client| async {
        client.next().await.unwrap().unwrap();
        start.elapsed()
    });
    let times = join_all(pinged).await;
    assert!(times.iter().all(|time| *time >= EVERY * 4 / 5 && *time <= EVERY + Duration::from_millis(1)), "{times:?}");
    let tenths: BTreeSet<_> = times.iter().map(|time| time.as_millis() / 100).collect();
    assert!(tenths.len() > 40, "{tenths:?}");
}

/// A socket with messages in both directions needs no ping.
#[tokio::test(start_paused = true)]
async fn busy_socket_is_not_pinged() {
    let echo = |mut socket: Socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            socket.send(message).await.unwrap();
        }
    };
    let app = behind(layer(&Sessions::new()), echo);
    let mut client = connected(&app, "alice").await;
    for second in 0..600 {
        client.send(ClientMessage::text(second.to_string())).await.unwrap();
        let echoed = client.next().await.unwrap().unwrap();
        assert_eq!(echoed.to_text().unwrap(), second.to_string());
        sleep(Duration::from_secs(1)).await;
    }
    // Once it is idle, it is pinged soon.
    let pings = answer_pings(&mut client, 2 * EVERY).await;
    assert!(pings[0] <= EVERY + EVERY / 4, "{pings:?}");
}

/// The client answers pings with other messages only, or sends nothing but pings of its own.
/// The supervisor reads until the answer to a ping has come. Then the handler reads again, in whichever task.
#[tokio::test(start_paused = true)]
async fn handler_receives_again_after_a_ping() {
    async fn echo(socket: Socket) {
        let (sink, stream) = socket.split();
        let _ = stream.forward(sink).await;
    }
    async fn echo_elsewhere(socket: Socket) {
        tokio::spawn(echo(socket));
    }
    let sessions = Sessions::new();
    let apps =
        [("its own task", behind(layer(&sessions), echo)), ("another task", behind(layer(&sessions), echo_elsewhere))];
    for (name, app) in apps {
        let mut client = connected(&app, "alice").await;
        for _ in 0..3 {
            assert!(!answer_pings(&mut client, MINUTE).await.is_empty(), "{name}");
            client.send(ClientMessage::text("hello")).await.unwrap();
            let echoed = async { while !client.next().await.unwrap().unwrap().is_text() {} };
            assert!(timeout(Duration::from_secs(1), echoed).await.is_ok(), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn anything_from_the_client_is_a_sign_of_life() {
    for message in [ClientMessage::text("hello"), ClientMessage::Ping("own".into()), ClientMessage::Pong("own".into())]
    {
        let sessions = Sessions::new();
        let app = behind(layer(&sessions), read_on);
        let client = connected(&app, "alice").await;
        // Nothing is read, so no pong is written.
        let (mut sink, _stream) = client.split();
        for _ in 0..60 {
            sink.send(message.clone()).await.unwrap();
            sleep(Duration::from_secs(19)).await;
        }
        assert!(!is_gone(&sessions, "alice").await, "{message:?}");
        sleep(MINUTE).await;
        assert!(is_gone(&sessions, "alice").await, "{message:?}");
    }
}

/// What arrives while the handler is busy is read ahead. It reaches the handler in order, with refreshes at their
/// places.
#[tokio::test(start_paused = true)]
async fn messages_read_ahead_keep_their_order() {
    let sessions = Sessions::new();
    let received = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&received);
    let slow = move |mut socket: Socket| {
        let seen = Arc::clone(&seen);
        async move {
            sleep(Duration::from_secs(100)).await;
            while let Some(Ok(message)) = socket.recv().await {
                if let Message::Text(text) = message {
                    let claims = socket.claims();
                    seen.lock().unwrap().push(format!("{text} {claims}"));
                    sleep(Duration::from_secs(7)).await;
                }
            }
        }
    };
    let app = behind(layer(&sessions).refresh_protocol(RefreshProtocol::json()), slow);
    let mut client = connected(&app, "alice").await;
    let mut expected = Vec::new();
    for number in 0..40 {
        if number == 5 {
            let request = json!({ "type": "auth.refresh", "token": "alice.9999" });
            client.send(request.to_string().into()).await.unwrap();
        }
        client.send(number.to_string().into()).await.unwrap();
        expected.push(format!("{number} {}", if number < 5 { "alice" } else { "alice.9999" }));
    }
    let answering = async {
        let mut refreshed = 0;
        while let Some(Ok(message)) = client.next().await {
            refreshed += usize::from(message.is_text());
        }
        refreshed
    };
    let lived = timeout(Duration::from_secs(500), answering).await;
    assert!(lived.is_err(), "{lived:?}");
    assert_eq!(*received.lock().unwrap(), expected);
}

/// The pong to a ping of the server is no message for the handler. Any other is.
#[tokio::test(start_paused = true)]
async fn handler_receives_the_pongs_to_its_own_pings_only() {
    let pongs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&pongs);
    let handler = move |mut socket: Socket| {
        let seen = Arc::clone(&seen);
        async move {
            socket.send(Message::Ping("mine".into())).await.unwrap();
            while let Some(Ok(message)) = socket.recv().await {
                if let Message::Pong(payload) = message {
                    seen.lock().unwrap().push(payload);
                }
            }
        }
    };
    let app = behind(layer(&Sessions::new()), handler);
    let mut client = connected(&app, "alice").await;
    let answering = async { while let Some(Ok(_)) = client.next().await {} };
    assert!(timeout(10 * MINUTE, answering).await.is_err());
    assert_eq!(*pongs.lock().unwrap(), ["mine"]);
}

/// The client does not read, so that the handler's send and the ping wait.
#[tokio::test(start_paused = true)]
async fn blocked_send_to_a_vanished_client_ends() {
    let sessions = Sessions::new();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let app = behind(layer(&sessions), move |mut socket: Socket| {
        let sender = sender.clone();
        async move {
            let start = Instant::now();
            let failed = socket.send(Message::Binary(vec![7; 1_000_000].into())).await.is_err();
            sender.send((failed, socket.session().end_reason(), start.elapsed())).unwrap();
        }
    });
    let _client = connected(&app, "alice").await;
    let (failed, reason, after) = receiver.recv().await.unwrap();
    assert!(failed);
    assert_eq!(reason, Some(EndReason::Unresponsive));
    assert!(after < MINUTE, "{after:?}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(sessions.count(), 0);
}

/// A ping waits behind a message that is half written. A client that takes its time to read it lives.
#[tokio::test(start_paused = true)]
async fn slow_client_lives_and_gets_whole_messages() {
    let sessions = Sessions::new();
    let app = behind(layer(&sessions), |mut socket: Socket| async move {
        sleep(Duration::from_secs(1)).await;
        for size in [300_000, 3, 200_000] {
            socket.send(Message::Binary(vec![7; size].into())).await.unwrap();
        }
        read_on(socket).await;
    });
    let mut pipe = connected(&app, "alice").await.into_inner();
    // A kilobyte each second takes eight minutes.
    let mut bytes = Vec::new();
    let mut data = Vec::new();
    let mut pings = 0;
    while data.len() < 3 {
        sleep(Duration::from_secs(1)).await;
        let mut some = vec![0; 1000];
        let len = pipe.read(&mut some).await.unwrap();
        assert!(len > 0, "{data:?} and {pings} pings");
        bytes.extend_from_slice(&some[..len]);
        while let Some((opcode, payload)) = take_frame(&mut bytes) {
            if opcode == PING {
                assert_eq!(payload, b"keep-alive");
                pings += 1;
                let pong = [&[0x8a, 0x80 | 10, 0, 0, 0, 0], &payload[..]].concat();
                pipe.write_all(&pong).await.unwrap();
            } else {
                assert!(payload.iter().all(|byte| *byte == 7), "a frame was written into another");
                data.push(payload.len());
            }
        }
    }
    assert_eq!(data, [300_000, 3, 200_000]);
    assert!(pings > 0);
    assert!(!is_gone(&sessions, "alice").await);
}

const CLOSE: u8 = 8;
const PING: u8 = 9;

/// Removes the first frame of a server, if it is complete. Returns its opcode and payload.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (start, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap()),
        len => (2, usize::from(len)),
    };
    let payload = bytes.get(start..start + len)?.to_vec();
    let opcode = bytes[0] & 0x0f;
    bytes.drain(..start + len);
    Some((opcode, payload))
}

/// The handler never receives, so only the supervisor notices that the client has left.
#[tokio::test(start_paused = true)]
async fn client_that_leaves_a_handler_that_never_receives_is_noticed() {
    for closes in [true, false] {
        let sessions = Sessions::new();
        let app = behind(layer(&sessions), never_look);
        let mut client = connected(&app, "alice").await;
        if closes {
            client.close(None).await.unwrap();
            // The close frame is answered.
            let answered = timeout(EVERY, async { while let Some(Ok(_)) = client.next().await {} }).await;
            assert!(answered.is_err(), "the connection is not dropped before the handler had time to see it");
        }
        drop(client);
        sleep(MINUTE).await;
        assert!(is_gone(&sessions, "alice").await);
        assert_eq!(sessions.count(), 0);
    }
}

/// What a client sent before it left still reaches a handler that was busy.
#[tokio::test(start_paused = true)]
async fn messages_of_a_client_that_has_left_are_received() {
    let sessions = Sessions::new();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let app = behind(layer(&sessions), move |mut socket: Socket| {
        let sender = sender.clone();
        async move {
            sleep(EVERY + TIMEOUT / 2).await;
            while let Some(Ok(message)) = socket.recv().await {
                sender.send(message).unwrap();
            }
            assert_eq!(socket.session().end_reason(), Some(EndReason::Closed));
        }
    });
    let mut client = connected(&app, "alice").await;
    client.send("last words".into()).await.unwrap();
    client.close(None).await.unwrap();
    drop(client);
    assert_eq!(receiver.recv().await, Some(Message::Text("last words".into())));
    assert!(matches!(receiver.recv().await, Some(Message::Close(_))));
}

/// A handler that leaves everything unread: the client has sent something, so its silence says nothing.
#[tokio::test(start_paused = true)]
async fn full_read_ahead_is_no_silence_and_no_queue() {
    let sessions = Sessions::new();
    let app = behind(layer(&sessions), never_look);
    let mut client = connected(&app, "alice").await;
    for _ in 0..20 {
        client.send("unread".into()).await.unwrap();
    }
    // One ping, before the messages were read ahead.
    let pings = answer_pings(&mut client, 20 * MINUTE).await;
    assert!(pings.len() <= 1, "{pings:?}");
    assert!(!is_gone(&sessions, "alice").await);
}

/// Pings and pongs of the client do not fill what is read ahead.
#[tokio::test(start_paused = true)]
async fn client_with_pings_of_its_own_is_noticed_when_it_vanishes() {
    let sessions = Sessions::new();
    let app = behind(layer(&sessions), never_look);
    let mut client = connected(&app, "alice").await;
    for _ in 0..200 {
        client.send(ClientMessage::Ping("own".into())).await.unwrap();
        client.send(ClientMessage::Pong("own".into())).await.unwrap();
        answer_pings_and_ignore_pongs(&mut client, Duration::from_secs(10)).await;
    }
    assert!(!is_gone(&sessions, "alice").await);
    sleep(MINUTE).await;
    assert!(is_gone(&sessions, "alice").await);
}

async fn answer_pings_and_ignore_pongs(client: &mut ClientSocket, time: Duration) {
    let answering = async {
        while let Some(Ok(message)) = client.next().await {
            assert!(message.is_ping() || message.is_pong(), "{message}");
        }
    };
    assert!(timeout(time, answering).await.is_err());
}

/// The handler has sent a close frame and waits for that of a client that has vanished.
#[tokio::test(start_paused = true)]
async fn closing_handshake_with_a_vanished_client_ends() {
    let sessions = Sessions::new();
    let app = behind(layer(&sessions), |mut socket: Socket| async move {
        socket.send(Message::Close(None)).await.unwrap();
        read_on(socket).await;
    });
    let _client = connected(&app, "alice").await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(sessions.count(), 1);
    sleep(Duration::from_secs(40)).await;
    assert_eq!(sessions.count(), 0);
}
