//! Which responses end with their sessions, and which take a place.

use std::{convert::Infallible, future::ready, time::Duration};

use axum::{Router, body::Body, response::Response, routing::get};
use axum_ws_auth::{Authenticated, EndReason, SessionKind, Sessions, Streams, WsAuthLayer};
use futures_util::{FutureExt, stream};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

use super::{
    DOWNLOAD, EVENTS, End, Fixture, last_event, next, request, request_with, rest,
    support::{answer, is_refused_with, settle, timed},
};

#[tokio::test]
async fn streams_are_counted_and_everything_else_is_not() {
    for (content_type, expected) in [
        (EVENTS, true),
        ("text/event-stream; charset=utf-8", true),
        ("application/x-ndjson", true),
        ("application/ndjson", true),
        ("application/jsonl", true),
        ("application/json-seq", true),
        ("application/stream+json", true),
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web-text", true),
        ("Multipart/X-Mixed-Replace; boundary=frame", true),
        ("text/html", false),
        ("application/json", false),
        (DOWNLOAD, false),
        ("", false),
    ] {
        let fixture = Fixture::new();
        let (body, source) = fixture.open("alice", content_type).await;
        let kind = if expected { SessionKind::Stream } else { SessionKind::Request };
        assert_eq!(source.session().kind(), kind, "{content_type}");
        assert_eq!(fixture.sessions.count(), usize::from(expected), "{content_type}");
        let listed: Vec<_> = fixture.sessions.iter().map(|session| session.kind()).collect();
        assert_eq!(listed, vec![SessionKind::Stream; usize::from(expected)], "{content_type}");

        // Whether counted or not, it ends with its session, and its session with it.
        assert_eq!(fixture.sessions.end_subject("alice"), 1, "{content_type}");
        assert_ne!(rest(body).await.1, End::Failed(EndReason::Closed), "{content_type}");
        let (body, source) = fixture.open("alice", content_type).await;
        drop(body);
        assert_eq!(source.session().end_reason(), Some(EndReason::Closed), "{content_type}");
        assert_eq!((fixture.sessions.count(), fixture.sessions.end_all()), (0, 0), "{content_type}");
    }
}

#[tokio::test]
async fn settings_choose_what_is_counted() {
    let add = |streams: Streams, content_type: &'static str| streams.add_counted_type(content_type).unwrap();
    for (name, streams, expected) in [
        ("default", Streams::default(), [EVENTS].as_slice()),
        ("added", add(Streams::new(), "Video/MP2T"), &[EVENTS, "video/mp2t", "video/mp2t; x=y"]),
        ("all", Streams::new().count_all(), &[EVENTS, "video/mp2t", "video/mp2t; x=y", DOWNLOAD]),
        (
            "all and added",
            add(Streams::new().count_all(), "video/mp2t"),
            &[EVENTS, "video/mp2t", "video/mp2t; x=y", DOWNLOAD],
        ),
        ("none", Streams::new().count_none(), &[]),
        ("only one", add(Streams::new().count_none(), "video/mp2t"), &["video/mp2t", "video/mp2t; x=y"]),
        ("off", Streams::insecure_off(), &[]),
    ] {
        let is_on = name != "off";
        for content_type in [EVENTS, "video/mp2t", "video/mp2t; x=y", DOWNLOAD] {
            let fixture = Fixture::with(|layer| layer.streams(streams.clone()));
            let (body, source) = fixture.open("alice", content_type).await;
            let expected = usize::from(expected.contains(&content_type));
            assert_eq!(fixture.sessions.count(), expected, "{name}, {content_type}");
            assert_eq!(fixture.sessions.end_subject("alice"), 1, "{name}, {content_type}");
            let reading = tokio::spawn(rest(body));
            settle().await;
            assert_eq!((reading.is_finished(), source.is_dropped()), (is_on, is_on), "{name}, {content_type}");
        }
    }
}

#[test]
fn counted_type_must_be_a_content_type() {
    for text in ["", "video", "video/", "/mp2t", "video/mp2t;x=y", "video/mp2t/x", "video /mp2t", "video/*x y"] {
        let error = Streams::new().add_counted_type(text).expect_err(text);
        assert_eq!(error.to_string(), format!("`{text}` is not a content type without parameters"));
    }
}

/// A response that is counted nowhere still ends with its session.
#[tokio::test(start_paused = true)]
async fn layer_without_a_registry_ends_streams_too() {
    async fn events() -> ([(&'static str, &'static str); 1], Body) {
        let stream = stream::pending::<Result<&'static str, Infallible>>();
        ([("content-type", EVENTS)], Body::from_stream(stream))
    }
    let app = Router::new().route("/", get(events)).layer(WsAuthLayer::new(timed));
    let body = answer(&app, request("alice.60", "")).await.into_body();
    assert_eq!(rest(body).await, (last_event("token_expired"), End::Regular));
}

/// Each of these responses goes on after the session has ended.
#[tokio::test]
async fn other_responses_are_untouched() {
    let types = [("respond-content-type", EVENTS)];
    let with_status = |status| [types[0], ("respond-status", status)];
    for (name, request, configure) in [
        ("no content", request_with("alice", &with_status("204")), (|layer| layer) as fn(WsAuthLayer) -> WsAuthLayer),
        ("not modified", request_with("alice", &with_status("304")), |layer| layer),
        ("handshakes only", request("alice", EVENTS), WsAuthLayer::handshakes_only),
        ("anonymous", request("", EVENTS), WsAuthLayer::optional),
    ] {
        let fixture = Fixture::with(configure);
        let (mut body, source) = fixture.open_by(request).await;
        assert_eq!(fixture.sessions.count(), 0, "{name}");
        fixture.sessions.end_all();
        source.send("data: 1\n\n");
        assert_eq!(next(&mut body).await, "data: 1\n\n", "{name}");
        assert!(body.frame().now_or_never().is_none(), "{name}");
    }
}

/// axum's router drops the body of the response to a `HEAD`. Other services leave that to the server.
#[tokio::test]
async fn response_to_head_takes_no_place() {
    for (method, expected) in [(Method::HEAD, 0), (Method::GET, 1)] {
        let sessions = Sessions::new();
        // Not an async closure: with one, rustc 1.95 panics when it builds this again incrementally.
        let events = service_fn(|_: Request<Body>| {
            let body = Body::from_stream(stream::pending::<Result<&'static str, Infallible>>());
            ready(Ok::<_, Infallible>(Response::builder().header("content-type", EVENTS).body(body).unwrap()))
        });
        let app = WsAuthLayer::new(timed).sessions(&sessions).layer(events);
        let mut request = request("alice", "");
        *request.method_mut() = method.clone();
        let _response = app.oneshot(request).await.unwrap();
        assert_eq!(sessions.count(), expected, "{method}");
    }
}

#[tokio::test]
async fn response_in_memory_arrives_whole_after_the_end() {
    async fn page() -> ([(&'static str, &'static str); 1], &'static str) {
        ([("content-type", EVENTS)], "data: 1\n\n")
    }
    let fixture = Fixture::new();
    let app = Router::new().route("/", get(page)).layer(WsAuthLayer::new(timed).sessions(&fixture.sessions));
    let response = answer(&app, request("alice", "")).await;
    assert_eq!((fixture.sessions.count(), fixture.sessions.end_all()), (0, 0), "the session ended with the response");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "data: 1\n\n");
}

/// An error takes no place, but ends with its session: its body may go on as well.
#[tokio::test]
async fn error_is_not_counted() {
    let fixture = Fixture::new();
    for status in ["302", "404", "500"] {
        let request = request_with("alice", &[("respond-content-type", EVENTS), ("respond-status", status)]);
        let (body, _source) = fixture.open_by(request).await;
        assert_eq!((fixture.sessions.count(), fixture.sessions.end_all()), (0, 1), "{status}");
        assert_eq!(rest(body).await, (last_event("revoked"), End::Regular), "{status}");
    }
}

/// A client cannot keep its stream from ending by asking for a socket. Its place is that of the handshake.
#[tokio::test]
async fn response_to_a_handshake_is_covered() {
    for content_type in [EVENTS, DOWNLOAD] {
        let fixture = Fixture::new();
        let headers = [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("respond-content-type", content_type),
        ];
        let (body, source) = fixture.open_by(request_with("alice", &headers)).await;
        assert_eq!((fixture.sessions.count(), source.session().kind()), (1, SessionKind::Stream));
        let reading = tokio::spawn(rest(body));
        settle().await;
        fixture.sessions.end_all();
        settle().await;
        let end = reading.now_or_never().expect("the body has ended").unwrap().1;
        assert_eq!(end, if content_type == EVENTS { End::Regular } else { End::Failed(EndReason::Revoked) });
        assert_eq!(fixture.sessions.count(), 0);
    }
}

/// The session may end while the handler is still at work.
#[tokio::test(start_paused = true)]
async fn session_that_has_ended_gets_a_refusal() {
    use StatusCode as Status;
    let minute = Duration::from_secs(60);
    for (end, status, reason) in [
        ("expired", Status::UNAUTHORIZED, "token_expired"),
        ("revoked", Status::UNAUTHORIZED, "revoked"),
        ("policy", Status::FORBIDDEN, "forbidden"),
    ] {
        for content_type in [EVENTS, DOWNLOAD] {
            let fixture = Fixture::new();
            let sessions = fixture.sessions.clone();
            let handler = async move |Authenticated(session): Authenticated<String>| {
                match end {
                    "expired" => sleep(minute).await,
                    "revoked" => assert_eq!(sessions.end_subject("alice"), 1),
                    _ => assert!(session.end()),
                }
                let body = Body::from_stream(stream::pending::<Result<&'static str, Infallible>>());
                ([("content-type", content_type)], body)
            };
            let layer = WsAuthLayer::new(timed).sessions(&fixture.sessions);
            let app = Router::new().route("/", get(handler)).layer(layer);
            let request: Request<Body> = request("alice.60", "");
            let response = answer(&app, request).await;
            assert!(is_refused_with(&response, status, reason), "{end}, {content_type}: {response:?}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(fixture.sessions.count(), 0);
        }
    }
}
