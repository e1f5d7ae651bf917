//! Streamed responses that end with their session, for `EventSource` in browsers and for curl.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{RawQuery, Request, State},
    http::{StatusCode, header::SET_COOKIE},
    middleware::{Next, from_fn_with_state},
    response::{
        Html, IntoResponse, Redirect, Response,
        sse::{Event, Sse},
    },
    routing::{any, get, post},
};
use axum_ws_auth::{AuthenticatedUpgrade, MemoryRevocations, Revocations, Sessions, TokenSource, WsAuthLayer};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    browser::{Browser, visit},
    protocols::{Served, verifier},
};

/// An application whose responses begin, and then send nothing more.
struct Application {
    served: Served,
    sessions: Sessions,
    shared: Arc<Shared>,
    reports: mpsc::UnboundedReceiver<Value>,
}

struct Shared {
    revocations: Revocations,
    /// The statuses of requests for events.
    statuses: Mutex<Vec<u16>>,
    reports: mpsc::UnboundedSender<Value>,
}

impl Application {
    async fn start() -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let revocations = Revocations::new(MemoryRevocations::new());
        let shared = Arc::new(Shared { revocations: revocations.clone(), statuses: Mutex::default(), reports: sender });
        let sessions = Sessions::new();
        let layer = WsAuthLayer::new(verifier)
            .sources([TokenSource::cookie("session"), TokenSource::authorization()])
            .expect("sources")
            .sessions(&sessions)
            .revocations(&revocations);
        let app = Router::new()
            .route("/events", get(events))
            .layer(layer.clone())
            .layer(from_fn_with_state(Arc::clone(&shared), log))
            .merge(Router::new().route("/download", get(download)).route("/socket", any(socket)).layer(layer))
            .route("/page", get(Html(include_str!("events.html"))))
            .route("/login", get(login))
            .route("/log-out", post(log_out))
            .route("/report", post(report))
            .with_state(Arc::clone(&shared));
        Self { served: Served::start(app).await, sessions, shared, reports }
    }

    fn statuses(&self) -> Vec<u16> {
        self.shared.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // A client that reconnects without end would do so at once.
    let hello = Event::default().retry(Duration::from_millis(10)).data("hello");
    Sse::new(stream::iter([Ok(hello)]).chain(stream::pending()))
}

/// The part of a download that is sent. Proxies pass some of it on, because it is more than their buffers hold.
const DOWNLOADED: usize = 100_000;

async fn download() -> Body {
    let part = Ok::<_, Infallible>("x".repeat(DOWNLOADED));
    Body::from_stream(stream::iter([part]).chain(stream::pending()))
}

async fn socket(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

async fn log(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    shared.statuses.lock().unwrap_or_else(PoisonError::into_inner).push(response.status().as_u16());
    response
}

/// Sets a cookie for as many milliseconds as the query says, and redirects to the page.
async fn login(RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let token = match query.parse().map(Duration::from_millis) {
        Ok(lifetime) => expiring_in(lifetime),
        Err(_) => "alice".to_owned(),
    };
    let cookie = format!("session={token}; Path=/; HttpOnly; SameSite=Strict");
    ([(SET_COOKIE, cookie)], Redirect::to(&format!("/page?{query}"))).into_response()
}

/// A token of alice.
fn expiring_in(lifetime: Duration) -> String {
    let until = (SystemTime::now() + lifetime).duration_since(UNIX_EPOCH).expect("a time after 1970");
    format!("alice.{}", until.as_millis())
}

async fn log_out(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.revocations.revoke_subject("alice").await.expect("a store in memory");
    StatusCode::NO_CONTENT
}

async fn report(State(shared): State<Arc<Shared>>, Json(seen): Json<Value>) {
    // Fails if the test has already ended.
    let _ = shared.reports.send(seen);
}

/// An `EventSource` reconnects by itself, meets 401 and stops.
async fn event_source_stops(browser: Browser, query: &str, reason: &str) {
    let mut app = Application::start().await;
    let url = format!("http://{}/login?{query}", app.served.authority());
    let seen = visit(browser, &url, app.reports.recv()).await.expect("the server runs");
    let ended = json!({ "reason": reason }).to_string();
    assert_eq!(seen, json!(["open", "hello", ended, "connecting", "closed"]));
    assert_eq!((app.statuses().as_slice(), app.sessions.count()), (&[200, 401][..], 0));
}

mod page_in_chromium {
    use super::{Browser, event_source_stops};

    #[tokio::test]
    async fn event_source_stops_after_a_log_out() {
        event_source_stops(Browser::Chromium, "log-out", "revoked").await;
    }

    #[tokio::test]
    async fn event_source_stops_when_its_token_expires() {
        event_source_stops(Browser::Chromium, "5000", "token_expired").await;
    }
}

mod page_in_firefox {
    use super::{Browser, event_source_stops};

    #[tokio::test]
    #[ignore = "needs Firefox"]
    async fn event_source_stops_after_a_log_out() {
        event_source_stops(Browser::Firefox, "log-out", "revoked").await;
    }
}

mod curl {
    use std::process::Stdio;

    use tokio::{
        io::{AsyncBufReadExt, AsyncReadExt, BufReader},
        process::Command,
        time::timeout,
    };

    use super::*;
    use crate::{TIMEOUT, script};

    /// The exit code for a body that ends before its last chunk.
    const PARTIAL_FILE: i32 = 18;
    /// The exit code for a stream that the server resets.
    const HTTP2_STREAM: i32 = 92;

    /// Requests two streams as alice and ends their sessions: events end regularly, a download fails.
    async fn check(app: &Application, version: &str, authority: &str) {
        let failed = if version == "--http1.1" { PARTIAL_FILE } else { HTTP2_STREAM };
        let ended = "retry: 10\ndata: hello\n\nevent: auth.ended\ndata: {\"reason\":\"revoked\"}\n\n";
        let (code, events) = run(app, version, &format!("http://{authority}/events")).await;
        assert_eq!((code, events.as_str()), (0, ended), "{version}");
        let (code, part) = run(app, version, &format!("http://{authority}/download")).await;
        // HTTP/2 may discard some of what was sent.
        assert!(code == failed && part.len() <= DOWNLOADED, "{version}: {code} after {} bytes", part.len());
    }

    /// Returns the exit code and what came.
    async fn run(app: &Application, version: &str, url: &str) -> (i32, String) {
        let mut child = script::start(
            Command::new("curl")
                .args(["--silent", "--no-buffer", version, "--header", "Authorization: Bearer alice", url])
                .stdin(Stdio::null())
                .stdout(Stdio::piped()),
            "curl is missing: run tests/run, or apt-get install curl",
        );
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let run = async {
            let mut received = String::new();
            stdout.fill_buf().await.expect("the begin of the stream");
            assert_eq!(app.sessions.end_subject("alice"), 1, "{url}");
            stdout.read_to_string(&mut received).await.expect("text");
            (child.wait().await.expect("its status").code().expect("no signal"), received)
        };
        timeout(TIMEOUT, run).await.unwrap_or_else(|_| panic!("{url} goes on {version}"))
    }

    #[tokio::test]
    async fn events_end_regularly_and_a_download_fails() {
        let app = Application::start().await;
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            check(&app, version, app.served.authority()).await;
        }
    }
}
