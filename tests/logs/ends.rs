//! Every session ends with one event, whatever ended it, and its handler learns why.

use std::{pin::Pin, sync::atomic::Ordering::SeqCst, time::Duration};

use axum::{
    Router,
    extract::ws::{Message, WebSocketUpgrade},
    response::Response,
    routing::any,
};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedSocket, AuthenticatedUpgrade, Drain, EndReason, Limits, Session, Sessions,
    WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::{SinkExt, StreamExt, join};
use http::StatusCode;
use tokio::{sync::mpsc::UnboundedSender, time::sleep};
use tracing::Level;

use crate::{captured, limits::MemoryLimits, support::*};

type Seen = UnboundedSender<Option<EndReason>>;
type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A way in which a session ends.
struct Case {
    name: &'static str,
    /// What the handler does. It sends the reason that it sees afterwards.
    handler: fn(AuthenticatedSocket<String>, Seen) -> Done,
    /// What happens outside it.
    outside: fn(ClientSocket, Sessions) -> Done,
    expected: EndReason,
}

/// Receives until the socket is closed or fails.
fn receive(mut socket: AuthenticatedSocket<String>, seen: Seen) -> Done {
    Box::pin(async move {
        while let Some(Ok(_)) = socket.recv().await {}
        seen.send(socket.session().end_reason()).unwrap();
    })
}

/// Looks as soon as the client's close frame arrives.
fn stop_at_close(mut socket: AuthenticatedSocket<String>, seen: Seen) -> Done {
    Box::pin(async move {
        while !matches!(socket.recv().await, Some(Ok(Message::Close(_)))) {}
        seen.send(socket.session().end_reason()).unwrap();
        // It keeps the socket.
        sleep(Duration::from_secs(5)).await;
    })
}

fn leave(_client: ClientSocket, _: Sessions) -> Done {
    Box::pin(sleep(Duration::from_secs(3)))
}

fn close(mut client: ClientSocket, _: Sessions) -> Done {
    Box::pin(async move {
        client.close(None).await.unwrap();
        while let Some(Ok(_)) = client.next().await {}
        sleep(Duration::from_secs(3)).await;
    })
}

fn vanish(client: ClientSocket, _: Sessions) -> Done {
    drop(client);
    Box::pin(sleep(Duration::from_secs(3)))
}

/// Waits for the server to close.
fn stay(mut client: ClientSocket, _: Sessions) -> Done {
    Box::pin(async move { while let Some(Ok(_)) = client.next().await {} })
}

fn dropped(socket: AuthenticatedSocket<String>, seen: Seen) -> Done {
    Box::pin(async move {
        let session = socket.session().clone();
        drop(socket);
        seen.send(session.end_reason()).unwrap();
    })
}

const CASES: &[Case] = &[
    Case { name: "the client closes", handler: receive, outside: close, expected: EndReason::Closed },
    Case { name: "the client's close frame", handler: stop_at_close, outside: close, expected: EndReason::Closed },
    Case { name: "the connection breaks", handler: receive, outside: vanish, expected: EndReason::Closed },
    Case {
        name: "a write fails",
        handler: |mut socket, seen| {
            Box::pin(async move {
                while socket.send("tick".into()).await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
                seen.send(socket.session().end_reason()).unwrap();
                sleep(Duration::from_secs(5)).await;
            })
        },
        outside: vanish,
        expected: EndReason::Closed,
    },
    Case { name: "the handler drops the socket", handler: dropped, outside: leave, expected: EndReason::Closed },
    Case {
        name: "the handler closes the socket",
        handler: |mut socket, seen| {
            Box::pin(async move {
                socket.close().await.unwrap();
                seen.send(socket.session().end_reason()).unwrap();
                sleep(Duration::from_secs(5)).await;
            })
        },
        outside: stay,
        expected: EndReason::Closed,
    },
    Case {
        name: "the handler returns",
        handler: |socket, seen| {
            let session = socket.session().clone();
            tokio::spawn(async move { seen.send(Some(session.ended().await)) });
            Box::pin(async { drop(socket) })
        },
        outside: leave,
        expected: EndReason::Closed,
    },
    Case {
        name: "the handler panics",
        handler: |socket, seen| {
            let session = socket.session().clone();
            tokio::spawn(async move { seen.send(Some(session.ended().await)) });
            Box::pin(async {
                let _socket = socket;
                std::panic::resume_unwind(Box::new("on purpose"));
            })
        },
        outside: leave,
        expected: EndReason::Closed,
    },
    Case { name: "the token expires", handler: receive, outside: stay, expected: EndReason::TokenExpired },
    Case {
        name: "the handler ends it",
        handler: |socket, seen| {
            socket.session().end();
            receive(socket, seen)
        },
        outside: stay,
        expected: EndReason::Policy,
    },
    Case {
        name: "it is ended by its subject",
        handler: receive,
        outside: |client, sessions| {
            sessions.end_subject("alice");
            stay(client, sessions)
        },
        expected: EndReason::Revoked,
    },
    Case {
        name: "a newer one replaces it",
        handler: receive,
        outside: |client, sessions| {
            Box::pin(async move {
                let app = Router::new()
                    .route(
                        "/",
                        any(async |_: Authenticated<String>, upgrade: WebSocketUpgrade| {
                            upgrade.on_upgrade(async |_| {})
                        }),
                    )
                    .layer(WsAuthLayer::new(timed).sessions(&sessions));
                answer(&app, handshake().bearer_subprotocol("alice").build()).await;
                stay(client, sessions).await;
            })
        },
        expected: EndReason::TooManySessions,
    },
    Case {
        name: "the server shuts down",
        handler: receive,
        outside: |client, sessions| {
            Box::pin(async move {
                tokio::join!(sessions.drain(Drain::going_away()), stay(client, sessions.clone()));
            })
        },
        expected: EndReason::Shutdown,
    },
    Case {
        name: "the client does not answer",
        handler: receive,
        outside: |client, _| {
            Box::pin(async move {
                sleep(Duration::from_secs(30)).await;
                drop(client);
            })
        },
        expected: EndReason::Unresponsive,
    },
];

fn limited() -> Sessions {
    Sessions::with_limits(Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap())
}

/// The events of ended sessions.
fn ends(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(" axum_ws_auth: session ended ")).collect()
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_socket_is_one_event_with_its_reason() {
    for Case { name, handler, outside, expected } in CASES {
        for registered in [true, false] {
            let by_registry = [EndReason::Revoked, EndReason::TooManySessions, EndReason::Shutdown].contains(expected);
            if by_registry && !registered {
                continue;
            }
            let sessions = limited();
            let layer = WsAuthLayer::new(timed).keep_alive(Duration::from_secs(10), Duration::from_secs(5)).unwrap();
            let layer = if registered { layer.sessions(&sessions) } else { layer };
            let (seen, mut reasons) = tokio::sync::mpsc::unbounded_channel();
            let handler = *handler;
            let app = behind(layer, move |socket| handler(socket, seen.clone()));
            let ((), log) = captured(Level::DEBUG, async {
                outside(connected(&app, "alice.60").await, sessions.clone()).await;
                sleep(Duration::from_secs(10)).await;
            })
            .await;
            assert_eq!(reasons.try_recv(), Ok(Some(*expected)), "{name}, registered: {registered}");
            assert_eq!(sessions.count(), 0, "{name}");
            let admitted = log.lines().find(|line| line.contains("handshake admitted")).expect(name);
            let session = admitted.split("session=").nth(1).unwrap().split(' ').next().unwrap();
            let ends: Vec<_> = ends(&log).into_iter().filter(|line| line.contains(session)).collect();
            assert_eq!(ends.len(), 1, "{name}, registered: {registered}: {log}");
            let fields = format!(
                "kind=\"websocket\" subject=\"alice\" reason=\"{expected}\" seconds=",
                expected = expected.as_str()
            );
            assert!(ends[0].contains("DEBUG") && ends[0].contains(&fields), "{name}: {}", ends[0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn event_says_how_long_the_session_lasted() {
    let ((), log) = captured(Level::DEBUG, async {
        let mut client = connected(&behind(WsAuthLayer::new(timed), read_on), "alice.60").await;
        assert_eq!(closed(&mut client).await.1, "token_expired");
    })
    .await;
    let seconds = ends(&log)[0].split("seconds=").nth(1).unwrap().parse::<f64>().unwrap();
    assert!((60.0..61.0).contains(&seconds), "{log}");
}

/// A handler that uses axum's own socket holds the session as long as it.
#[tokio::test(start_paused = true)]
async fn session_of_another_socket_ends_with_an_event() {
    async fn handler(Authenticated(session): Authenticated<String>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async move |mut socket| {
            while let Some(Ok(_)) = socket.recv().await {}
            drop(session);
        })
    }
    for registered in [true, false] {
        let layer = WsAuthLayer::new(timed);
        let layer = if registered { layer.sessions(&Sessions::new()) } else { layer };
        let app = Router::new().route("/", any(handler)).layer(layer);
        let ((), log) = captured(Level::DEBUG, async {
            drop(connected(&app, "alice.60").await);
            sleep(Duration::from_secs(1)).await;
        })
        .await;
        let ends = ends(&log);
        assert!(ends.len() == 1 && ends[0].contains("kind=\"websocket\" subject=\"alice\" reason=\"closed\""), "{log}");
    }
}

/// The handler refuses after the layer has admitted.
#[tokio::test(start_paused = true)]
async fn admitted_handshake_without_an_upgrade_ends_with_an_event() {
    async fn handler(_: AuthenticatedUpgrade<String>) -> StatusCode {
        StatusCode::NOT_FOUND
    }
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(timed));
    let (_, log) = captured(Level::DEBUG, answer(&app, handshake().bearer_subprotocol("alice").build())).await;
    assert_eq!((log.matches("handshake admitted").count(), ends(&log).len()), (1, 1), "{log}");
}

/// Requests would drown the ends of connections, and a refused handshake has begun nothing.
#[tokio::test(start_paused = true)]
async fn what_is_no_connection_ends_without_an_event() {
    async fn handler(Authenticated(session): Authenticated<String>) -> String {
        session.id().to_string()
    }
    let full = || WsAuthLayer::new(timed).sessions(&Sessions::with_limits(Limits::new().total(1).unwrap()));
    let (_first, log) = captured(Level::DEBUG, async {
        let app = Router::new().route("/", any(handler)).layer(full());
        let request = http::Request::get("/").header("authorization", "Bearer alice").body(axum::body::Body::empty());
        assert_eq!(answer(&app, request.unwrap()).await.status(), StatusCode::OK);

        let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
        let app = behind(WsAuthLayer::new(timed).sessions(&sessions), read_on);
        let first = connected(&app, "bob").await;
        assert!(test_util::connect(app.clone(), handshake().bearer_subprotocol("bob").build()).await.is_err());
        first
    })
    .await;
    assert_eq!((log.matches("handshake admitted").count(), log.matches("request admitted").count()), (1, 1), "{log}");
    assert!(log.contains("handshake refused kind=\"too_many_sessions\"") && ends(&log).is_empty(), "{log}");
}

/// A handle that outlives the connection still says why that ended.
#[tokio::test(start_paused = true)]
async fn handle_knows_the_reason_for_good() {
    let (keep, mut kept) = tokio::sync::mpsc::unbounded_channel::<Session<String>>();
    let app = behind(WsAuthLayer::new(timed), move |socket| {
        keep.send(socket.session().clone()).unwrap();
        read_on(socket)
    });
    drop(connected(&app, "alice").await);
    let session = kept.recv().await.unwrap();
    assert_eq!(session.ended().await, EndReason::Closed);
    assert_eq!(
        (session.end_reason(), session.watch().end_reason()),
        (Some(EndReason::Closed), Some(EndReason::Closed))
    );
}

/// It was warned of as one that nothing watches, and then admitted, and its end was never logged.
#[tokio::test(start_paused = true)]
async fn session_that_ends_while_it_waits_for_its_lease_is_logged_like_any_other() {
    let store = MemoryLimits::new();
    store.slow.store(true, SeqCst);
    let sessions = Sessions::with_limits(Limits::new().across_nodes(store));
    let app = behind(WsAuthLayer::new(timed).sessions(&sessions), read_on);
    let end = async {
        sleep(Duration::from_millis(100)).await;
        sessions.end_subject("alice")
    };
    let (close, log) = captured(Level::DEBUG, async {
        let (mut client, ended) = join!(connected(&app, "alice"), end);
        assert_eq!(ended, 1);
        closed(&mut client).await
    })
    .await;
    assert_eq!(close, (3000, "revoked".to_owned()));
    assert!(!log.contains("nothing watches it"), "{log}");
    let (admitted, ended) = (log.find("handshake admitted"), log.find("session ended"));
    assert!(admitted.is_some() && admitted < ended, "{log}");
    assert_eq!(log.matches("session ended").count(), 1, "{log}");
}
