//! Responses that go on: what ends them, how the client sees it, and which take a place in the limits.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "streams/coverage.rs"]
mod coverage;
#[path = "streams/ending.rs"]
mod ending;
#[path = "streams/keep_alive.rs"]
mod keep_alive;
#[path = "streams/limits.rs"]
mod limits;
#[path = "streams/sessions.rs"]
mod sessions;
#[path = "support/limits.rs"]
mod store;
mod support;
#[path = "streams/wire.rs"]
mod wire;

use std::{
    collections::VecDeque,
    convert::Infallible,
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
    routing::any,
};
use axum_ws_auth::{Authenticated, EndReason, Session, SessionEnded, Sessions, WsAuthLayer};
use http::{HeaderMap, HeaderName, Method, Request};
use http_body::Frame;
use http_body_util::BodyExt;
use support::{answer, timed};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const EVENTS: &str = "text/event-stream";
const DOWNLOAD: &str = "application/octet-stream";

/// A handler whose responses go on for as long as the test wants.
struct Fixture {
    app: Router,
    sessions: Sessions,
    opened: Opened,
}

type Opened = Arc<Mutex<VecDeque<Source>>>;

/// The handler's end of a response.
struct Source {
    frames: UnboundedSender<Frame<Bytes>>,
    /// `None` for an anonymous request.
    session: Option<Session<String>>,
}

/// The body of the handler's response.
struct Streamed(UnboundedReceiver<Frame<Bytes>>);

/// How a body ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Regularly.
    Regular,
    /// With this status and message.
    Trailers(String, String),
    Failed(EndReason),
}

impl Fixture {
    fn new() -> Self {
        Self::with(|layer| layer)
    }

    fn with(configure: impl FnOnce(WsAuthLayer) -> WsAuthLayer) -> Self {
        Self::with_sessions(Sessions::new(), configure)
    }

    fn with_sessions(sessions: Sessions, configure: impl FnOnce(WsAuthLayer) -> WsAuthLayer) -> Self {
        let layer = configure(WsAuthLayer::new(timed).sessions(&sessions));
        let opened = Opened::default();
        let list = Arc::clone(&opened);
        // Responds with the status and the headers that the request asks for.
        let handler = async move |session: Option<Authenticated<String>>, headers: HeaderMap| {
            let (frames, body) = unbounded_channel();
            list.lock().unwrap().push_back(Source { frames, session: session.map(|Authenticated(session)| session) });
            let mut response = Response::new(Body::new(Streamed(body)));
            for (name, value) in &headers {
                if let Some(name) = name.as_str().strip_prefix("respond-") {
                    response.headers_mut().insert(HeaderName::try_from(name).unwrap(), value.clone());
                }
            }
            if let Some(status) = response.headers_mut().remove("status") {
                *response.status_mut() = status.to_str().unwrap().parse().unwrap();
            }
            response
        };
        Self { app: Router::new().route("/", any(handler)).layer(layer), sessions, opened }
    }

    /// Opens a stream of this content type with a token for [`timed`].
    async fn open(&self, token: &str, content_type: &str) -> (Body, Source) {
        self.open_by(request(token, content_type)).await
    }

    async fn open_by(&self, request: Request<Body>) -> (Body, Source) {
        let response = answer(&self.app, request).await;
        assert!(support::refusal(&response).is_none(), "{response:?}");
        (response.into_body(), self.source())
    }

    /// The handler's end of the oldest response that was not taken yet.
    fn source(&self) -> Source {
        self.opened.lock().unwrap().pop_front().expect("the handler has run")
    }
}

fn request(token: &str, content_type: &str) -> Request<Body> {
    request_with(token, &[("respond-content-type", content_type)])
}

fn request_with(token: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(Method::GET).uri("/");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

impl Source {
    fn send(&self, data: &'static str) {
        assert!(self.frames.send(Frame::data(Bytes::from_static(data.as_bytes()))).is_ok(), "the body is dropped");
    }

    fn is_dropped(&self) -> bool {
        self.frames.is_closed()
    }

    fn session(&self) -> &Session<String> {
        self.session.as_ref().expect("an authenticated request")
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(ready!(self.0.poll_recv(cx)).map(Ok))
    }
}

/// The next part of a body.
async fn next(body: &mut Body) -> String {
    let frame = body.frame().await.expect("a frame").expect("no error");
    String::from_utf8(frame.into_data().expect("data").to_vec()).unwrap()
}

/// Reads a body to its end.
async fn rest(mut body: Body) -> (String, End) {
    let mut text = String::new();
    loop {
        match body.frame().await {
            None => return (text, End::Regular),
            Some(Err(error)) => return (text, End::Failed(reason_of(&error))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => text.push_str(str::from_utf8(&data).unwrap()),
                Err(frame) => {
                    let trailers = frame.into_trailers().expect("trailers");
                    assert!(body.frame().await.is_none(), "nothing follows trailers");
                    let of = |name| trailers[name].to_str().unwrap().to_owned();
                    return (text, End::Trailers(of("grpc-status"), of("grpc-message")));
                }
            },
        }
    }
}

fn reason_of(error: &(dyn Error + 'static)) -> EndReason {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(ended) = error.downcast_ref::<SessionEnded>() {
            return ended.reason();
        }
        cause = error.source();
    }
    panic!("not an end of the session: {error:?}")
}

/// The last event of an event stream.
fn last_event(reason: &str) -> String {
    format!("event: auth.ended\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}
