//! The gauge of live sessions never drifts, however a session ends.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
    routing::any,
};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedSocket, AuthenticatedUpgrade, Drain, Limits, RefreshProtocol, Sessions,
    StepUp, Token, Verified, VerifyError, WsAuthLayer,
    metrics::{HANDSHAKES_TOTAL, SESSION_DURATION_SECONDS, SESSIONS},
    test_util::{self, handshake},
    verifier_fn,
};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tokio::time::{advance, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    counts::first_message,
    scrape::Recording,
    support::{answer, behind, connected, read_on, settle, timed},
};

type Socket = AuthenticatedSocket<String>;

/// All sessions have ended, and have been measured once each, for these reasons.
#[track_caller]
fn assert_ended(recording: &Recording, way: &str, kind: &str, reasons: &[&str]) {
    let text = recording.text();
    for kind in ["websocket", "stream", "request"] {
        assert_eq!(recording.sum(SESSIONS, &[("kind", kind)]), 0.0, "{way}: live sessions\n{text}");
    }
    let ended = recording.values(&format!("{SESSION_DURATION_SECONDS}_count"), "end_reason");
    assert_eq!(ended, reasons, "{way}\n{text}");
    let of_kind = recording.sum(&format!("{SESSION_DURATION_SECONDS}_count"), &[("kind", kind)]);
    assert_eq!(of_kind, reasons.len() as f64, "{way}\n{text}");
}

fn live(recording: &Recording, kind: &str) -> f64 {
    recording.sum(SESSIONS, &[("kind", kind)])
}

#[tokio::test(start_paused = true)]
async fn sockets_that_something_ends() {
    type End = fn(&Sessions);
    let ways: [(&str, End, &str); 6] = [
        ("one", |sessions| assert_eq!(sessions.end(sessions.iter().next().unwrap().id()), 1), "revoked"),
        ("of a subject", |sessions| assert_eq!(sessions.end_subject("alice"), 1), "revoked"),
        ("all", |sessions| assert_eq!(sessions.end_all(), 1), "revoked"),
        (
            "drain",
            |sessions| {
                let sessions = sessions.clone();
                tokio::spawn(async move { sessions.drain(Drain::going_away()).await });
            },
            "shutdown",
        ),
        ("its token expires", |_| (), "token_expired"),
        // Twice, and for two reasons: the first one counts.
        (
            "twice",
            |sessions| {
                sessions.end_all();
                sessions.end_all();
            },
            "revoked",
        ),
    ];
    for (way, end, reason) in ways {
        for handler in [true, false] {
            let recording = Recording::start();
            let sessions = Sessions::new();
            let callback = move |socket: Socket| async move {
                if handler { read_on(socket).await } else { never_look(socket).await }
            };
            let app = behind(WsAuthLayer::new(timed).sessions(&sessions), callback);
            let mut socket = connected(&app, "alice.60").await;
            assert_eq!(live(&recording, "websocket"), 1.0, "{way}");
            end(&sessions);
            while let Some(Ok(_)) = socket.next().await {}
            settle().await;
            assert_ended(&recording, way, "websocket", &[reason]);
        }
    }
}

async fn never_look(socket: Socket) {
    let _held = socket;
    pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn sockets_that_close() {
    type Handler = fn(Socket) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    let ways: [(&str, Handler); 4] = [
        ("the client closes", |socket| Box::pin(read_on(socket))),
        ("the handler returns", |socket| Box::pin(async move { drop(socket) })),
        ("the handler drops the socket", |socket| {
            Box::pin(async move {
                drop(socket);
                sleep(Duration::from_secs(60)).await;
            })
        }),
        ("the halves go", |socket| {
            Box::pin(async move {
                let (sink, stream) = socket.split();
                drop(stream);
                drop(sink);
            })
        }),
    ];
    for (way, handler) in ways {
        let recording = Recording::start();
        let app = behind(WsAuthLayer::new(timed), handler);
        let mut socket = connected(&app, "alice.6000").await;
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
        settle().await;
        assert_ended(&recording, way, "websocket", &["closed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics() {
    let recording = Recording::start();
    let app = behind(WsAuthLayer::new(timed), async |_: Socket| panic!("on purpose"));
    let mut socket = connected(&app, "alice").await;
    while let Some(Ok(_)) = socket.next().await {}
    settle().await;
    assert_ended(&recording, "a panic", "websocket", &["closed"]);
}

#[tokio::test(start_paused = true)]
async fn sessions_without_a_connection() {
    async fn upgrade(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(read_on)
    }
    async fn ignore() {}
    async fn hold(Authenticated(session): Authenticated<String>) {
        tokio::spawn(async move { session.ended().await });
    }
    for registered in [true, false] {
        let recording = Recording::start();
        let layer = WsAuthLayer::new(timed);
        let layer = if registered { layer.sessions(&Sessions::new()) } else { layer };
        let app = Router::new()
            .route("/upgrade", any(upgrade))
            .route("/ignore", any(ignore))
            .route("/hold", any(hold))
            .layer(layer);
        // There is no connection to upgrade, so that the response drops the session.
        answer(&app, handshake().path("/upgrade").authorization("alice").build()).await;
        settle().await;
        answer(&app, handshake().path("/ignore").authorization("alice").build()).await;
        answer(&app, handshake().path("/hold").authorization("alice.60").build()).await;
        assert_eq!(live(&recording, "websocket"), 1.0);
        advance(Duration::from_secs(61)).await;
        settle().await;
        assert_ended(&recording, "no connection", "websocket", &["closed", "closed", "token_expired"]);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_were_not_admitted() {
    let recording = Recording::start();
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
    let app = behind(WsAuthLayer::new(timed).sessions(&sessions), read_on);
    let socket = connected(&app, "alice").await;
    answer(&app, handshake().authorization("alice").build()).await;
    answer(&app, handshake().authorization("bad").build()).await;
    answer(&app, handshake().build()).await;
    assert_eq!(live(&recording, "websocket"), 1.0);
    drop(socket);
    settle().await;
    assert_ended(&recording, "not admitted", "websocket", &["closed"]);
}

#[tokio::test(start_paused = true)]
async fn limits_lifetimes_and_silence() {
    let evicting = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap());
    let layers = [
        ("evicted", WsAuthLayer::new(timed).sessions(&evicting), "too_many_sessions"),
        ("max lifetime", WsAuthLayer::new(timed).max_lifetime(Duration::from_secs(60)).unwrap(), "max_lifetime"),
        (
            "silent",
            WsAuthLayer::new(timed).keep_alive(Duration::from_secs(30), Duration::from_secs(20)).unwrap(),
            "unresponsive",
        ),
    ];
    for (way, layer, reason) in layers {
        let recording = Recording::start();
        let app = behind(layer, read_on);
        let first = connected(&app, "alice").await;
        let second = if way == "evicted" { Some(connected(&app, "alice").await) } else { None };
        // The client reads nothing.
        sleep(Duration::from_secs(120)).await;
        drop(first);
        let mut reasons = vec![reason];
        if second.is_some() {
            assert_eq!(live(&recording, "websocket"), 1.0);
            reasons.insert(0, "closed");
        }
        drop(second);
        settle().await;
        assert_ended(&recording, way, "websocket", &reasons);
    }
}

#[tokio::test(start_paused = true)]
async fn rechecks_and_step_ups() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let verifier = verifier_fn(async move |token: Token| {
        let is_first = count.fetch_add(1, SeqCst) == 0;
        let unavailable = token.expose() == "down";
        match (is_first, unavailable) {
            (true, _) => {
                Ok(Verified::new("alice".to_owned()).with_subject("alice").recheck_in(Duration::from_secs(60)))
            }
            (false, true) => Err(VerifyError::unavailable(Duration::from_secs(1))),
            (false, false) => Err(VerifyError::invalid()),
        }
    });
    for (token, reason) in [("refused", "revoked"), ("down", "unconfirmed")] {
        asked.store(0, SeqCst);
        let recording = Recording::start();
        let app = behind(WsAuthLayer::new(verifier.clone()), read_on);
        let mut socket = connected(&app, token).await;
        while let Some(Ok(_)) = socket.next().await {}
        settle().await;
        assert_ended(&recording, token, "websocket", &[reason]);
    }

    let recording = Recording::start();
    let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
    let app = behind(layer, async |socket: Socket| {
        let step_up = StepUp::new().acr_values(["mfa"]).unwrap();
        let _ = socket.session().require(&step_up, |_, now| step_up.check(None, None, now)).await;
    });
    let mut socket = connected(&app, "alice").await;
    while let Some(Ok(_)) = socket.next().await {}
    settle().await;
    assert_ended(&recording, "step-up", "websocket", &["insufficient_user_authentication"]);
}

#[tokio::test(start_paused = true)]
async fn refreshed_and_deferred_sessions() {
    let recording = Recording::start();
    let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json()).first_message(first_message());
    let app = behind(layer, read_on);
    let (mut socket, _) = test_util::connect(app.clone(), handshake().build()).await.unwrap();
    assert_eq!(live(&recording, "websocket"), 0.0);
    socket.send(Message::text("alice.60")).await.unwrap();
    socket.next().await;
    assert_eq!(live(&recording, "websocket"), 1.0);
    socket.send(Message::text(json!({"type": "auth.refresh", "token": "alice.90"}).to_string())).await.unwrap();
    socket.next().await;
    assert_eq!(live(&recording, "websocket"), 1.0);
    while let Some(Ok(_)) = socket.next().await {}
    // One that goes before it has authenticated, and one that goes as soon as it has.
    drop(test_util::connect(app.clone(), handshake().build()).await.unwrap());
    let (mut socket, _) = test_util::connect(app, handshake().build()).await.unwrap();
    socket.send(Message::text("bob")).await.unwrap();
    drop(socket);
    settle().await;
    assert_ended(&recording, "first message", "websocket", &["closed", "token_expired"]);
}

/// A response of unknown length that never ends.
async fn stream(Authenticated(_): Authenticated<String>) -> Response {
    let frames = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    Response::builder().header("content-type", "text/event-stream").body(Body::new(StreamBody::new(frames))).unwrap()
}

fn plain(path: &str, token: &str) -> Request<Body> {
    Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn streams_and_requests() {
    let sessions = Sessions::new();
    for (way, end, reason) in
        [("dropped", None, "closed"), ("ended", Some("end"), "revoked"), ("expired", Some("wait"), "token_expired")]
    {
        let recording = Recording::start();
        let app = Router::new().route("/", any(stream)).layer(WsAuthLayer::new(timed).sessions(&sessions));
        let body = answer(&app, plain("/", "alice.60")).await.into_body();
        assert_eq!(live(&recording, "stream"), 1.0, "{way}");
        assert_eq!(live(&recording, "request"), 0.0, "{way}");
        if end == Some("end") {
            assert_eq!(sessions.end_all(), 1);
        }
        match end {
            None => drop(body),
            Some(_) => drop(body.collect().await),
        }
        settle().await;
        assert_ended(&recording, way, "stream", &[reason]);
    }

    let recording = Recording::start();
    let app = Router::new().route("/", any(async || "done")).layer(WsAuthLayer::new(timed).sessions(&sessions));
    answer(&app, plain("/", "alice")).await;
    settle().await;
    assert_ended(&recording, "a request", "request", &["closed"]);
}

#[tokio::test(start_paused = true)]
async fn streams_without_a_place() {
    let recording = Recording::start();
    let sessions = Sessions::with_limits(Limits::new().total(1).unwrap());
    let app = Router::new().route("/", any(stream)).layer(WsAuthLayer::new(timed).sessions(&sessions));
    let first = answer(&app, plain("/", "alice")).await;
    assert_eq!(answer(&app, plain("/", "bob")).await.status(), 503);
    settle().await;
    assert_eq!([live(&recording, "stream"), live(&recording, "request")], [1.0, 0.0]);
    drop(first);
    settle().await;
    assert_eq!([live(&recording, "stream"), live(&recording, "request")], [0.0, 0.0]);
    assert_eq!(recording.sum(HANDSHAKES_TOTAL, &[("kind", "stream"), ("reason", "server_full")]), 1.0);
}
