//! What a handler logs carries the id of its session.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
    routing::any,
};
use axum_ws_auth::{
    AuthenticatedUpgrade, FirstMessage, FirstToken, LogSubject, Sessions, Token, WsAuthLayer, test_util,
};
use futures_util::{SinkExt, StreamExt, stream};
use tokio::time::sleep;
use tracing::Level;

use crate::{
    captured,
    support::{log::Log, *},
};

fn app(layer: WsAuthLayer) -> Router {
    async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(|mut socket| {
            tracing::info!("called");
            async move {
                tracing::info!("polled");
                sleep(Duration::from_secs(1)).await;
                tracing::info!("woken");
                while let Some(Ok(_)) = socket.recv().await {
                    tracing::info!("received");
                }
                tracing::info!("ended");
            }
        })
    }
    Router::new().route("/", any(chat)).layer(layer)
}

/// Runs a session and returns its id, and the lines of its handler.
async fn run(level: Level, layer: WsAuthLayer) -> (String, Vec<String>) {
    let sessions = Sessions::new();
    let (id, log) = captured(level, async {
        let mut socket = connected(&app(layer.sessions(&sessions)), "alice.60").await;
        let id = sessions.iter().next().unwrap().id().to_string();
        socket.send("hello".into()).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        sessions.end_all();
        closed(&mut socket).await;
        settle().await;
        tracing::info!("outside");
        id
    })
    .await;
    let (own, others): (Vec<_>, Vec<_>) =
        log.lines().map(str::to_owned).partition(|line| line.contains(" logs::spans: "));
    assert!(others.iter().all(|line| line.contains(" axum_ws_auth: ")), "{log}");
    (id, own)
}

#[tokio::test(start_paused = true)]
async fn events_of_the_handler_are_in_the_span_of_its_session() {
    let (id, lines) = run(Level::INFO, WsAuthLayer::new(timed)).await;
    let expected = ["called", "polled", "woken", "received", "ended"];
    assert_eq!(lines.len(), expected.len() + 1, "{lines:?}");
    for (line, message) in lines.iter().zip(expected) {
        assert!(line.ends_with(&format!("ws_session{{session={id}}}: logs::spans: {message}")), "{line}");
    }
    assert!(lines[5].ends_with(" INFO logs::spans: outside"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn subject_is_in_the_span_where_the_setting_says_so() {
    for (setting, at_info, at_debug) in [
        (None, false, true),
        (Some(LogSubject::AtDebug), false, true),
        (Some(LogSubject::Never), false, false),
        (Some(LogSubject::InSpans), true, true),
    ] {
        for (level, expected) in [(Level::INFO, at_info), (Level::DEBUG, at_debug)] {
            let layer = WsAuthLayer::new(timed);
            let layer = match setting {
                Some(setting) => layer.log_subject(setting),
                None => layer,
            };
            let (id, lines) = run(level, layer).await;
            let fields = if expected { format!("session={id} subject=\"alice\"") } else { format!("session={id}") };
            assert!(lines[1].contains(&format!("ws_session{{{fields}}}")), "{setting:?} at {level}: {}", lines[1]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_name_the_subject_unless_the_setting_forbids_it() {
    for (setting, expected) in [(LogSubject::AtDebug, true), (LogSubject::Never, false), (LogSubject::InSpans, true)] {
        let layer = WsAuthLayer::new(timed).log_subject(setting);
        let ((), log) = captured(Level::TRACE, async {
            let app = app(layer);
            drop(connected(&app, "alice.60").await);
            sleep(Duration::from_secs(2)).await;
            answer(&app, http::Request::get("/").header("authorization", "Bearer alice").body(Body::empty()).unwrap())
                .await;
        })
        .await;
        for event in ["handshake admitted", "request admitted", "session ended"] {
            let line = log.lines().find(|line| line.contains(event)).expect(event);
            assert_eq!(line.contains("subject=\"alice\""), expected, "{setting:?}: {line}");
        }
        assert_eq!(log.contains("alice"), expected, "{setting:?}: {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_message_begins_the_span() {
    let first = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))));
    let ((), log) = captured(Level::INFO, async {
        let app = app(WsAuthLayer::new(timed).first_message(first));
        let (mut socket, _) = test_util::connect(app, test_util::handshake().build()).await.unwrap();
        socket.send("alice.60".into()).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    })
    .await;
    assert!(log.lines().any(|line| line.contains("ws_session{session=") && line.ends_with("woken")), "{log}");
}

#[cfg(feature = "streams")]
#[tokio::test(start_paused = true)]
async fn streams_have_spans_too() {
    async fn events() -> Response {
        let events = stream::once(async {
            tracing::info!("streaming");
            Ok::<_, axum::Error>(Bytes::from_static(b"data: 1\n\n"))
        });
        Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(events)).unwrap()
    }
    let log = Log::default();
    let _logging = log.capture(Level::INFO);
    let app = Router::new().route("/", any(events)).layer(WsAuthLayer::new(timed));
    let request = http::Request::get("/").header("authorization", "Bearer alice").body(Body::empty()).unwrap();
    let mut body = answer(&app, request).await.into_body().into_data_stream();
    assert!(body.next().await.is_some());
    assert!(log.text().contains("ws_session{session="), "{}", log.text());
}
