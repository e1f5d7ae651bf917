//! A session ends at its deadline or when it is revoked, whatever the handler is doing.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::ws::{Message, WebSocketUpgrade},
    response::Response,
    routing::any,
};
use axum_ws_auth::{
    Authenticated, AuthenticatedSocket, AuthenticatedUpgrade, CloseCodes, EndReason, FirstMessage, FirstToken, Session,
    SessionEnded, Sessions, TimeSource, Token, WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, advance, sleep, timeout},
};
use tokio_tungstenite::tungstenite::{
    Message as ClientMessage,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

type Socket = AuthenticatedSocket<String>;

/// Runs the callback for each socket, behind a layer with a registry.
fn app<F, Fut>(sessions: &Sessions, callback: F) -> Router
where
    F: Fn(Socket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    behind(WsAuthLayer::new(timed).sessions(sessions), callback)
}

/// For the results of callbacks.
fn channel<T>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

const EXPIRED: (u16, &str) = (3000, "token_expired");

fn expired() -> (u16, String) {
    (EXPIRED.0, EXPIRED.1.to_owned())
}

#[tokio::test(start_paused = true)]
async fn idle_socket_is_closed_on_the_millisecond() {
    let sessions = Sessions::new();
    let (ended, mut reasons) = channel();
    let app = app(&sessions, move |mut socket| {
        let ended = ended.clone();
        async move {
            assert!(socket.session().end_reason().is_none());
            assert!(socket.recv().await.is_none(), "the handler sees the stream end");
            assert!(futures_util::stream::FusedStream::is_terminated(&socket));
            let error = socket.send("too late".into()).await.unwrap_err().into_inner();
            let error = error.downcast::<SessionEnded>().expect("it says that the session has ended");
            assert_eq!(error.to_string(), "the session has ended: the token has expired");
            ended.send(socket.session().end_reason()).unwrap();
        }
    });
    for seconds in [1, 59, 60, 61, 3600, 30 * 24 * 3600] {
        let start = Instant::now();
        let mut client = connected(&app, &format!("alice.{seconds}")).await;
        assert_eq!(sessions.count(), 1);
        assert_eq!(closed(&mut client).await, expired(), "{seconds}");
        let late = start.elapsed() - Duration::from_secs(seconds);
        assert!(late <= Duration::from_millis(2), "{seconds}: {late:?} late");
        assert_eq!(reasons.recv().await.unwrap(), Some(EndReason::TokenExpired));
        settle().await;
        assert_eq!(sessions.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn socket_is_closed_whatever_the_handler_does() {
    let sessions = Sessions::new();
    let elsewhere: Arc<Mutex<Vec<Socket>>> = Arc::default();
    let hold = Arc::clone(&elsewhere);
    let apps = [
        ("reads", app(&sessions, read_on)),
        (
            "never looks at the socket",
            app(&sessions, |socket| async {
                let _held = socket;
                pending::<()>().await;
            }),
        ),
        (
            "sleeps for ten minutes",
            app(&sessions, |socket| async {
                sleep(Duration::from_secs(600)).await;
                read_on(socket).await;
            }),
        ),
        (
            "sends every second",
            app(&sessions, |mut socket| async move {
                while socket.send(Message::Ping("hello".into())).await.is_ok() {
                    sleep(Duration::from_secs(1)).await;
                }
            }),
        ),
        (
            "moves the halves into two tasks, and returns",
            app(&sessions, |socket| async {
                let (mut sink, mut stream) = socket.split();
                tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
                tokio::spawn(async move {
                    while sink.send(Message::Pong("hello".into())).await.is_ok() {
                        sleep(Duration::from_secs(7)).await;
                    }
                });
            }),
        ),
        (
            "stores the socket, and returns",
            app(&sessions, move |socket| {
                hold.lock().unwrap().push(socket);
                async {}
            }),
        ),
    ];
    for (name, app) in apps {
        let start = Instant::now();
        let mut client = connected(&app, "alice.60").await;
        let closed = loop {
            match client.next().await {
                Some(Ok(ClientMessage::Close(Some(frame)))) => break (u16::from(frame.code), frame.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("{name}: {other:?}"),
            }
        };
        assert_eq!(closed, expired(), "{name}");
        assert_eq!(start.elapsed().as_secs(), 60, "{name}");
        assert!(client.next().await.is_none(), "{name}");
        // The supervisor did not wait for the handler.
        assert_eq!(start.elapsed().as_secs(), 60, "{name}");
        settle().await;
        assert_eq!(sessions.count(), 0, "{name}");
    }
    let socket = elsewhere.lock().unwrap().pop().unwrap();
    assert_eq!(socket.session().end_reason(), Some(EndReason::TokenExpired));
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_is_dropped_after_two_seconds() {
    let sessions = Sessions::new();
    let (ended, mut ends) = channel();
    let app = app(&sessions, move |mut socket| {
        let ended = ended.clone();
        async move {
            let sent = loop {
                if let Err(error) = socket.send(Message::Binary(vec![7; 100_000].into())).await {
                    break error;
                }
            };
            let error = sent.into_inner().downcast::<SessionEnded>().unwrap();
            ended.send((error.reason(), Instant::now())).unwrap();
        }
    });
    let start = Instant::now();
    let mut client = connected(&app, "alice.60").await;
    let (error, at) = ends.recv().await.unwrap();
    assert_eq!(error, EndReason::TokenExpired, "a blocked send fails at once");
    assert_eq!((at - start).as_secs(), 60);
    assert_eq!(sessions.count(), 1, "the connection is still open");
    sleep(Duration::from_millis(1900)).await;
    assert_eq!(sessions.count(), 1);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(sessions.count(), 0, "the connection is dropped");
    // The client sees the connection break.
    let last = async { while let Some(Ok(_)) = client.next().await {} };
    timeout(Duration::from_secs(1), last).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_answer_the_close_frame_is_dropped_after_two_seconds() {
    let sessions = Sessions::new();
    let app = app(&sessions, read_on);
    let client = connected(&app, "alice.60").await;
    sleep(Duration::from_secs(61)).await;
    assert_eq!(sessions.count(), 1, "the client may still answer");
    assert_eq!(sessions.iter().count(), 0, "the session has ended");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(sessions.count(), 0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn wall_clock_may_jump() {
    let jump = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)));
    let wall = Arc::clone(&jump);
    let start = Instant::now();
    let time = TimeSource::new(move || *wall.lock().unwrap() + start.elapsed());
    let app = behind(WsAuthLayer::new(timed).time_source(time), read_on);
    for (name, forward, backward, expected) in [
        ("no jump", 0, 0, 3600..3601),
        ("an hour forward, as after sleep: noticed within a minute", 3600, 0, 10..71),
        ("half an hour forward", 1800, 0, 1800..1861),
        ("a day backward: the monotonic clock decides", 0, 86400, 3600..3601),
    ] {
        let start = Instant::now();
        let mut client = connected(&app, "alice.3600").await;
        sleep(Duration::from_secs(10)).await;
        *jump.lock().unwrap() += Duration::from_secs(forward);
        *jump.lock().unwrap() -= Duration::from_secs(backward);
        assert_eq!(closed(&mut client).await, expired(), "{name}");
        let after = start.elapsed().as_secs();
        assert!(expected.contains(&after), "{name}: {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn session_without_a_deadline_does_not_end() {
    let sessions = Sessions::new();
    let app = app(&sessions, read_on);
    let mut client = connected(&app, "alice").await;
    let info = sessions.iter().next().unwrap();
    assert_eq!((info.subject(), info.expires_at()), (Some("alice"), None));
    assert!(timeout(Duration::from_secs(365 * 24 * 3600), client.next()).await.is_err());
    assert_eq!(sessions.count(), 1);
    // A deadline that a clock cannot represent is no deadline.
    let _far = connected(&app, &format!("alice.{}", u64::from(u32::MAX) * 1000)).await;
    assert_eq!(sessions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn session_ends_at_its_max_lifetime() {
    let day = Duration::from_secs(24 * 3600);
    let app = behind(WsAuthLayer::new(timed).max_lifetime(day).unwrap(), read_on);
    for (token, seconds, reason) in [
        ("alice", 24 * 3600, "max_lifetime"),
        ("alice.999999", 24 * 3600, "max_lifetime"),
        ("alice.60", 60, "token_expired"),
    ] {
        let start = Instant::now();
        let mut client = connected(&app, token).await;
        assert_eq!(closed(&mut client).await, (3000, reason.to_owned()), "{token}");
        assert_eq!(start.elapsed().as_secs(), seconds, "{token}");
    }
    assert!(WsAuthLayer::new(timed).max_lifetime(Duration::ZERO).is_err());
}

#[tokio::test(start_paused = true)]
async fn handler_is_notified_before_the_end_and_at_the_end() {
    let (sender, mut times) = channel();
    let start = Instant::now();
    let app = behind(WsAuthLayer::new(timed), move |socket| {
        let sender = sender.clone();
        async move {
            let session = socket.session().clone();
            let left = session.expires_at().unwrap().duration_since(session.connected_at()).unwrap();
            assert_eq!(left, Duration::from_secs(600));
            let left = session.expiring_in(Duration::from_secs(60)).await;
            sender.send((left.as_secs(), start.elapsed().as_secs())).unwrap();
            // Less time is left than asked for: returns at once.
            assert_eq!(session.expiring_in(Duration::from_secs(3600)).await.as_secs(), 60);
            let reason = session.ended().await;
            assert_eq!(reason, EndReason::TokenExpired);
            sender.send((session.expiring_in(Duration::ZERO).await.as_secs(), start.elapsed().as_secs())).unwrap();
        }
    });
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(times.recv().await.unwrap(), (60, 540));
    assert_eq!(closed(&mut client).await, expired());
    assert_eq!(times.recv().await.unwrap(), (0, 600));
}

#[tokio::test(start_paused = true)]
async fn handler_may_end_its_session() {
    for codes in [CloseCodes::IANA, CloseCodes::HTTP_LIKE, CloseCodes::CENTRIFUGO.policy(4000).unwrap()] {
        let sessions = Sessions::new();
        let layer = || WsAuthLayer::new(timed).sessions(&sessions).close_codes(codes);
        let code = match codes {
            CloseCodes::IANA => 1008,
            CloseCodes::HTTP_LIKE => 4403,
            _ => 4000,
        };
        // The socket is dropped at once, and the close frame is still sent.
        let app = behind(layer(), |socket| async move {
            assert!(socket.session().end());
            assert!(!socket.session().end(), "a session ends once");
            assert!(futures_util::stream::FusedStream::is_terminated(&socket), "a `select!` must not ask it again");
            assert!(futures_util::stream::FusedStream::is_terminated(&socket), "a `select!` must not ask it again");
        });
        let mut client = connected(&app, "alice.60").await;
        assert_eq!(closed(&mut client).await, (code, "policy".to_owned()));

        // If the session ends before the socket is open, the callback does not run.
        let handler = async |upgrade: AuthenticatedUpgrade<String>| {
            upgrade.session().unwrap().end();
            upgrade.on_upgrade(|_| async { panic!("the callback runs") })
        };
        let app = Router::new().route("/", any(handler)).layer(layer());
        let mut client = connected(&app, "alice.60").await;
        assert_eq!(closed(&mut client).await, (code, "policy".to_owned()));
        settle().await;
        assert_eq!(sessions.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn token_that_expires_during_the_handshake_closes_the_socket_at_once() {
    let ran = Arc::new(AtomicBool::new(false));
    let run = Arc::clone(&ran);
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        sleep(Duration::from_secs(61)).await;
        upgrade.on_upgrade(async move |_| run.store(true, Ordering::SeqCst))
    };
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed));
    let mut client = connected(&app, "alice.60").await;
    assert_eq!(closed(&mut client).await, expired());
    assert!(!ran.load(Ordering::SeqCst));
}

/// Sessions, slots and tasks are freed, however a connection ends.
#[tokio::test(start_paused = true)]
async fn everything_is_freed() {
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(timed).sessions(&sessions);
    let handlers = Router::new()
        .route("/reads", any(async |upgrade: AuthenticatedUpgrade<String>| upgrade.on_upgrade(read_on)))
        .route("/returns", any(async |upgrade: AuthenticatedUpgrade<String>| upgrade.on_upgrade(async |_| {})))
        .route(
            "/panics",
            any(async |upgrade: AuthenticatedUpgrade<String>| {
                upgrade.on_upgrade(async |_socket| {
                    std::panic::resume_unwind(Box::new("without a message on the terminal"));
                })
            }),
        )
        .route(
            "/drops-upgrade",
            any(async |upgrade: AuthenticatedUpgrade<String>| {
                let _ = upgrade.on_upgrade(read_on);
                StatusCode::NOT_FOUND
            }),
        )
        .route("/plain", any(async |Authenticated(_): Authenticated<String>| "hello"))
        .route("/fails", any(async |_: AuthenticatedUpgrade<String>| StatusCode::INTERNAL_SERVER_ERROR))
        .layer(layer);
    let request = |path: &str| handshake().path(path).bearer_subprotocol("alice.60").build();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for path in ["/nowhere", "/plain", "/fails", "/drops-upgrade", "/reads", "/returns", "/panics"] {
        // Over a pipe that the client drops, and without a connection.
        let connection = test_util::connect(handlers.clone(), request(path)).await;
        let connected = matches!(path, "/reads" | "/returns" | "/panics");
        assert_eq!(connection.is_ok(), connected, "{path}");
        settle().await;
        assert_eq!(sessions.count(), usize::from(path == "/reads"), "{path}");
        drop(connection);
        settle().await;
        assert_eq!((sessions.count(), sessions.iter().count(), tasks()), (0, 0, before), "{path}");

        let response = answer(&handlers, request(path)).await;
        assert_eq!(response.status() == StatusCode::SWITCHING_PROTOCOLS, connected, "{path}");
        drop(response);
        settle().await;
        assert_eq!((sessions.count(), sessions.iter().count(), tasks()), (0, 0, before), "{path}");
    }
    // The token is refused.
    let refused = handshake().path("/reads").bearer_subprotocol("bad").build();
    assert_eq!(answer(&handlers, refused).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(sessions.count(), 0);
    // A request that is not a handshake is not counted.
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    let (see, registry) = (Arc::clone(&seen), sessions.clone());
    let look = async move |Authenticated(session): Authenticated<String>| {
        assert_eq!(session.subject(), Some("alice"));
        see.store(registry.count(), Ordering::SeqCst);
    };
    let app = Router::new().route("/", any(look)).layer(WsAuthLayer::new(timed).sessions(&sessions));
    let mut plain = handshake().authorization("alice.60").build();
    plain.headers_mut().remove("upgrade");
    assert_eq!(answer(&app, plain).await.status(), StatusCode::OK);
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

/// A handle does not keep a session with an `AuthenticatedSocket` alive.
#[tokio::test(start_paused = true)]
async fn session_kept_elsewhere_ends_with_its_connection() {
    let sessions = Sessions::new();
    let (keep, mut kept) = channel::<Session<String>>();
    let app = app(&sessions, move |socket| {
        keep.send(socket.session().clone()).unwrap();
        read_on(socket)
    });
    let mut client = connected(&app, "alice.60").await;
    let session = kept.recv().await.unwrap();
    client.close(None).await.unwrap();
    assert_eq!(session.ended().await, EndReason::Closed);
    settle().await;
    assert_eq!((sessions.count(), sessions.iter().count()), (0, 0));
    advance(Duration::from_secs(100)).await;
    assert_eq!(session.end_reason(), Some(EndReason::Closed), "it ended once");
    assert_eq!(session.refresh(axum_ws_auth::Token::new("alice.60")).await.unwrap_err().reason(), "session_ended");
}

/// The half that reads notices it, while the other half has nothing to send.
#[tokio::test(start_paused = true)]
async fn broken_connection_ends_the_session() {
    let sessions = Sessions::new();
    let (said, mut last) = channel();
    let app = app(&sessions, move |socket| {
        let said = said.clone();
        async move {
            let (mut sink, mut stream) = socket.split();
            while let Some(Ok(_)) = stream.next().await {}
            tokio::spawn(async move {
                sleep(Duration::from_secs(10)).await;
                said.send(sink.send("goodbye".into()).await.is_ok()).unwrap();
            });
        }
    });
    let client = connected(&app, "alice").await;
    drop(client);
    settle().await;
    assert_eq!((sessions.count(), sessions.iter().count()), (0, 0));
    assert!(!last.recv().await.unwrap());

    // After a protocol error, the handler can still send.
    let mut client = connected(&app, "alice").await;
    let frame = Frame::message(vec![0xff], OpCode::Data(Data::Text), true);
    client.send(ClientMessage::Frame(frame)).await.unwrap();
    settle().await;
    assert_eq!(sessions.count(), 1);
    assert!(last.recv().await.unwrap());
}

/// The handler keeps a handle before it knows whether the upgrade succeeds.
#[tokio::test(start_paused = true)]
async fn failed_upgrade_frees_a_session_that_is_kept_elsewhere() {
    let sessions = Sessions::new();
    let (keep, mut kept) = channel::<Session<String>>();
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        keep.send(upgrade.session().unwrap().clone()).unwrap();
        upgrade.on_upgrade(read_on)
    };
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed).sessions(&sessions));
    // A `101` for a request without a connection.
    let response = answer(&app, handshake().bearer_subprotocol("alice.60").build()).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    settle().await;
    let session = kept.recv().await.unwrap();
    assert_eq!((sessions.count(), session.end_reason()), (0, Some(EndReason::Closed)));
}

#[tokio::test(start_paused = true)]
async fn odd_write_buffer_sizes_work() {
    for write in [0, 1, 989, 1000, 128 * 1024] {
        let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
            upgrade.write_buffer_size(write).on_upgrade(async |mut socket| {
                // Queued and not flushed: the close frame follows it.
                let _ = socket.feed(Message::Binary(vec![7; 990].into())).await;
                pending::<()>().await;
            })
        };
        let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed));
        let mut client = connected(&app, "alice.60").await;
        let mut last = client.next().await;
        while let Some(Ok(ClientMessage::Binary(_))) = last {
            last = client.next().await;
        }
        let Some(Ok(ClientMessage::Close(Some(frame)))) = last else { panic!("{write}: {last:?}") };
        assert_eq!(frame.reason, "token_expired", "{write}");
    }
}

/// With axum's own upgrade, the handler closes the socket when its session ends.
#[tokio::test(start_paused = true)]
async fn handler_with_another_upgrade_closes_when_the_session_ends() {
    async fn handler(Authenticated(session): Authenticated<String>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async move |mut socket| {
            let reason = session.ended().await;
            let frame = axum::extract::ws::CloseFrame { code: 4000, reason: reason.as_str().into() };
            socket.send(Message::Close(Some(frame))).await.unwrap();
        })
    }
    let sessions = Sessions::new();
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed).sessions(&sessions));
    for (end, reason, seconds) in [(false, "token_expired", 60), (true, "revoked", 5)] {
        let start = Instant::now();
        let mut client = connected(&app, "alice.60").await;
        assert_eq!(sessions.count(), 1, "registered while the handler holds the session");
        if end {
            sleep(Duration::from_secs(5)).await;
            assert_eq!(sessions.end_all(), 1);
        }
        let Some(Ok(ClientMessage::Close(Some(frame)))) = client.next().await else { panic!("no close frame") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4000, reason));
        assert_eq!(start.elapsed().as_secs(), seconds);
        settle().await;
        assert_eq!(sessions.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_recv_loses_nothing() {
    let (got, mut messages) = channel();
    let app = behind(WsAuthLayer::new(timed), move |mut socket| {
        let got = got.clone();
        async move {
            loop {
                // Dropped repeatedly, also in the middle of a message.
                match timeout(Duration::from_millis(1), socket.recv()).await {
                    Err(_) => {}
                    Ok(Some(Ok(Message::Binary(bytes)))) => got.send(bytes).unwrap(),
                    Ok(_) => break,
                }
            }
        }
    });
    let mut client = connected(&app, "alice.60").await;
    // Longer than the pipe, so that messages arrive in pieces.
    let sent: Vec<Vec<u8>> = (0..50).map(|n| vec![n; 40_000]).collect();
    for message in sent.clone() {
        client.send(ClientMessage::binary(message)).await.unwrap();
        sleep(Duration::from_millis(3)).await;
    }
    for message in sent {
        assert_eq!(messages.recv().await.unwrap(), message);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_send_sends_the_whole_message_or_nothing() {
    let (sent, mut log) = channel();
    let app = behind(WsAuthLayer::new(timed), move |mut socket| {
        let sent = sent.clone();
        async move {
            for n in 0..50u8 {
                let message = Message::Binary(vec![n; 40_000].into());
                let done = timeout(Duration::from_millis(1), socket.send(message)).await;
                sent.send((n, done.is_ok())).unwrap();
            }
            socket.close().await.unwrap();
        }
    });
    let mut client = connected(&app, "alice.600").await;
    let mut received = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        if let ClientMessage::Binary(bytes) = message {
            assert_eq!(bytes.len(), 40_000);
            assert!(bytes.iter().all(|&byte| byte == bytes[0]), "whole messages only");
            received.push(bytes[0]);
        }
        sleep(Duration::from_millis(2)).await;
    }
    assert!(received.is_sorted_by(|a, b| a < b), "in order, without duplicates: {received:?}");
    let mut dropped = 0;
    while let Ok((n, done)) = log.try_recv() {
        assert!(!done || received.contains(&n), "{n} was sent and lost");
        dropped += usize::from(!done);
    }
    assert!(dropped > 0, "no send was dropped");
}

/// tungstenite reads no further after such a message. A connection dropped with unread bytes would be reset, and the
/// close frame lost with that.
#[tokio::test(start_paused = true)]
async fn socket_with_unread_bytes_is_not_dropped_right_after_its_close_frame() {
    let (leave, mut left) = channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.max_message_size(100).max_frame_size(100).on_upgrade(async move |mut socket| {
            let failed = matches!(socket.recv().await, Some(Err(_)));
            leave.send((failed, socket.session().clone())).unwrap();
            pending::<()>().await;
        })
    };
    let first = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))));
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed).first_message(first));
    for by_first_message in [false, true] {
        let request = if by_first_message { handshake() } else { handshake().authorization("alice") };
        let (mut client, _) = test_util::connect(app.clone(), request.build()).await.unwrap();
        if by_first_message {
            client.send("alice".into()).await.unwrap();
        }
        client.feed("x".repeat(10_000).into()).await.unwrap();
        client.flush().await.unwrap();
        let (failed, session) = left.recv().await.unwrap();
        assert!(failed && session.end());
        let start = Instant::now();
        // The client reads the close frame and does not answer it.
        let Some(Ok(ClientMessage::Close(Some(frame)))) = client.next().await else { panic!("no close frame") };
        assert_eq!((u16::from(frame.code), start.elapsed()), (1008, Duration::ZERO), "{by_first_message}");
        let mut pipe = client.into_inner();
        pipe.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(2), "{by_first_message}");
    }
}

/// A client waits for the server to close the connection (RFC 6455 §7.1.1), and not every client sends a close frame
/// first.
#[tokio::test(start_paused = true)]
async fn protocol_error_closes_the_connection_at_once() {
    let app = app(&Sessions::new(), async |mut socket| while let Some(Ok(_)) = socket.recv().await {});
    // The masks are zero.
    let cases: [(&str, &[u8], u16); 5] = [
        ("an unknown opcode", &[0x83, 0x80, 0, 0, 0, 0], 1002),
        ("a reserved bit", &[0xc1, 0x81, 0, 0, 0, 0, b'x'], 1002),
        ("a close frame with half a code", &[0x88, 0x81, 0, 0, 0, 0, 3], 1002),
        ("a close frame whose reason is not UTF-8", &[0x88, 0x83, 0, 0, 0, 0, 3, 0xe8, 0xff], 1007),
        ("a text that is not UTF-8", &[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
    ];
    for (name, frame, code) in cases {
        let mut pipe = connected(&app, "alice").await.into_inner();
        let start = Instant::now();
        pipe.write_all(frame).await.unwrap();
        let mut answer = Vec::new();
        pipe.read_to_end(&mut answer).await.unwrap();
        let [high, low] = code.to_be_bytes();
        assert_eq!((answer.as_slice(), start.elapsed()), (&[0x88, 2, high, low][..], Duration::ZERO), "{name}");
        // The server reads on, so that the connection is not reset.
        pipe.write_all(&[0; 4096]).await.expect(name);
    }
}
