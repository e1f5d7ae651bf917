//! How a body ends with its session.

use std::time::Duration;

use axum::body::Bytes;
use axum_ws_auth::EndReason;
use futures_util::FutureExt;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use super::{DOWNLOAD, EVENTS, End, Fixture, last_event, next, request_with, rest, support::settle};

fn trailers(status: &str, message: &str) -> End {
    End::Trailers(status.to_owned(), message.to_owned())
}

#[tokio::test(start_paused = true)]
async fn content_type_decides_how_a_body_ends() {
    let failed = || (String::new(), End::Failed(EndReason::TokenExpired));
    let event = || (last_event("token_expired"), End::Regular);
    let status = || (String::new(), trailers("16", "token_expired"));
    for (content_type, expected) in [
        (EVENTS, event()),
        ("Text/Event-Stream; charset=utf-8", event()),
        ("application/grpc", status()),
        ("application/grpc+proto", status()),
        ("APPLICATION/GRPC+json;x=y", status()),
        ("application/grpc-web", failed()),
        ("application/grpc-web+proto", failed()),
        ("application/x-ndjson", failed()),
        ("application/json", failed()),
        ("text/event-stream-2", failed()),
        ("multipart/x-mixed-replace; boundary=frame", failed()),
        (DOWNLOAD, failed()),
        ("", failed()),
    ] {
        let fixture = Fixture::new();
        let begin = Instant::now();
        let (mut body, source) = fixture.open("alice.60", content_type).await;
        source.send("data: 1\n\n");
        assert_eq!(next(&mut body).await, "data: 1\n\n", "{content_type}");
        // The body is silent when the token expires.
        assert_eq!(rest(body).await, expected, "{content_type}");
        assert_eq!(begin.elapsed().as_secs(), 60, "{content_type}");
        assert!(source.is_dropped(), "{content_type}");
        assert_eq!(fixture.sessions.count(), 0, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn event_stream_ends_before_its_first_byte() {
    let fixture = Fixture::new();
    let (body, _source) = fixture.open("alice.60", EVENTS).await;
    assert_eq!(rest(body).await, (last_event("token_expired"), End::Regular));
}

#[tokio::test(start_paused = true)]
async fn event_in_progress_gets_no_end() {
    for (sent, expected) in [("data: 1\n", ""), ("data: 1\r\n\r", "event"), ("data: 1", ""), ("data: 1\r\n", "")] {
        let fixture = Fixture::new();
        let (mut body, source) = fixture.open("alice.60", EVENTS).await;
        source.send(sent);
        assert_eq!(next(&mut body).await, sent);
        let (last, end) = rest(body).await;
        assert_eq!(end, End::Regular, "{sent:?}");
        let expected = if expected.is_empty() { String::new() } else { last_event("token_expired") };
        assert_eq!(last, expected, "{sent:?}");
    }
}

/// Nothing can be added to a body that is compressed, or whose length the client knows.
#[tokio::test(start_paused = true)]
async fn body_that_nothing_can_be_added_to_fails() {
    let failed = || (String::new(), End::Failed(EndReason::TokenExpired));
    let event = || (last_event("token_expired"), End::Regular);
    for (header, value, content_type, expected) in [
        ("respond-content-encoding", "gzip", EVENTS, failed()),
        ("respond-content-encoding", "identity", EVENTS, event()),
        ("respond-content-length", "5000", EVENTS, failed()),
        ("respond-content-length", "5000", "application/grpc", failed()),
        ("respond-cache-control", "no-store", EVENTS, event()),
    ] {
        let fixture = Fixture::new();
        let request = request_with("alice.60", &[("respond-content-type", content_type), (header, value)]);
        let (body, _source) = fixture.open_by(request).await;
        assert_eq!(rest(body).await, expected, "{header}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn client_reads_why_the_session_ended() {
    use EndReason::{MaxLifetime, Policy, Revoked, Shutdown, TokenExpired};
    let minute = Duration::from_secs(60);
    for reason in [TokenExpired, MaxLifetime, Revoked, Policy, Shutdown] {
        for content_type in [EVENTS, "application/grpc", "application/x-ndjson"] {
            let fixture = Fixture::with(|layer| match reason {
                MaxLifetime => layer.max_lifetime(minute).unwrap(),
                _ => layer,
            });
            let token = if reason == TokenExpired { "alice.60" } else { "alice.600" };
            let (body, source) = fixture.open(token, content_type).await;
            let reading = tokio::spawn(rest(body));
            settle().await;
            assert!(!reading.is_finished(), "{reason:?}");
            match reason {
                TokenExpired | MaxLifetime => sleep(minute).await,
                Revoked => assert_eq!(fixture.sessions.end_subject("alice"), 1),
                Policy => assert!(source.session().end()),
                Shutdown => assert_eq!(fixture.sessions.drain(axum_ws_auth::Drain::going_away()).await.closed, 1),
                _ => unreachable!(),
            }
            settle().await;
            // It reads nothing more after this, so something has woken it.
            let end = reading.now_or_never().expect("the body has ended").unwrap();
            let status = if reason == Shutdown { "14" } else { "16" };
            let expected = match content_type {
                EVENTS => (last_event(reason.as_str()), End::Regular),
                "application/grpc" => (String::new(), trailers(status, reason.as_str())),
                _ => (String::new(), End::Failed(reason)),
            };
            assert_eq!(end, expected, "{reason:?}");
        }
    }
}

/// Data that is ready at the end is not sent any more.
#[tokio::test]
async fn nothing_follows_the_end() {
    let fixture = Fixture::new();
    let (mut body, source) = fixture.open("alice", EVENTS).await;
    (0..3).for_each(|_| source.send("data: 1\n\n"));
    assert_eq!(next(&mut body).await, "data: 1\n\n");
    fixture.sessions.end_all();
    assert!(!body.is_end_stream());
    assert_eq!(next(&mut body).await, last_event("revoked"));
    assert!(source.is_dropped(), "at once, not with the response");
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn trailers_and_end_of_the_handlers_body_pass() {
    let fixture = Fixture::new();
    for content_type in [EVENTS, "application/grpc", DOWNLOAD] {
        let (mut body, source) = fixture.open("alice", content_type).await;
        source.send("data: 1\n\n");
        let mut own = HeaderMap::new();
        own.insert("grpc-status", "0".parse().unwrap());
        own.insert("grpc-message", "fine".parse().unwrap());
        source.frames.send(Frame::trailers(own)).unwrap();
        assert_eq!(next(&mut body).await, "data: 1\n\n");
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "0");
        // An end that comes now adds no others.
        fixture.sessions.end_all();
        assert_eq!(rest(body).await, (String::new(), End::Regular), "{content_type}");

        let (body, Source { frames, .. }) = fixture.open("alice", content_type).await;
        drop(frames);
        assert_eq!(rest(body).await, (String::new(), End::Regular), "{content_type}");
    }
}

use super::Source;

/// What the handler's body says about its size is only passed on where the end adds nothing and cuts nothing unnoticed.
#[tokio::test]
async fn size_hint_stays_true_at_an_early_end() {
    struct Sized;
    impl http_body::Body for Sized {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
        fn size_hint(&self) -> http_body::SizeHint {
            let mut hint = http_body::SizeHint::new();
            hint.set_lower(10);
            hint.set_upper(20);
            hint
        }
    }
    for (content_type, expected) in [(DOWNLOAD, (10, Some(20))), (EVENTS, (0, None)), ("application/grpc", (0, None))] {
        let handler = async move || {
            let response = axum::response::Response::builder().header("content-type", content_type);
            response.body(axum::body::Body::new(Sized)).unwrap()
        };
        let layer = super::WsAuthLayer::new(super::timed);
        let app = axum::Router::new().route("/", axum::routing::any(handler)).layer(layer);
        let hint = super::answer(&app, request_with("alice", &[])).await.into_body().size_hint();
        assert_eq!((hint.lower(), hint.upper()), expected, "{content_type}");
    }
}
