//! Live sessions over in-memory pipes, and the cost of one more.

use std::time::{Duration, Instant};

use axum::{Router, body::Body};
use axum_ws_auth::{
    Sessions,
    test_util::{self, handshake},
};
use http::Request;
use tokio::{
    io::DuplexStream,
    runtime::{Builder, Runtime},
    task::yield_now,
};
use tokio_tungstenite::WebSocketStream;

/// Handshakes per turn.
const TURN: usize = 100;

/// An application with its own runtime and clients. Nothing is shared with another one, not even timers.
pub(crate) struct LiveSessions {
    runtime: Runtime,
    app: Router,
    sessions: Sessions,
    live: Vec<WebSocketStream<DuplexStream>>,
    /// How many short-lived sessions were opened; each has another subject.
    opened: usize,
}

impl LiveSessions {
    /// Opens sessions, each with another subject.
    pub(crate) fn open(count: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let sessions = Sessions::new();
        let app = super::authenticated_with(super::layer().sessions(&sessions));
        let live = runtime.block_on(async {
            let mut live = Vec::with_capacity(count);
            for number in 0..count {
                live.push(connect(&app, request(&format!("user-{number}"))).await);
            }
            live
        });
        assert_eq!(sessions.count(), count, "all are live");
        Self { runtime, app, sessions, live, opened: 0 }
    }

    /// Opens and closes sessions, and returns the time it took.
    fn turn(&mut self) -> Duration {
        let requests: Vec<_> =
            (self.opened..self.opened + TURN).map(|number| request(&format!("newcomer-{number}"))).collect();
        self.opened += TURN;
        self.runtime.block_on(async {
            let start = Instant::now();
            for request in requests {
                drop(connect(&self.app, request).await);
                // Wait until the server notices, and the session leaves the registry.
                while self.sessions.count() > self.live.len() {
                    yield_now().await;
                }
            }
            start.elapsed()
        })
    }
}

/// Alternates between both. Returns the ratios of the second to the first.
pub(crate) fn compare(first: &mut LiveSessions, second: &mut LiveSessions, rounds: usize) -> Vec<f64> {
    // Warms up.
    first.turn();
    second.turn();
    (0..rounds)
        .map(|_| {
            let first = first.turn().as_secs_f64();
            second.turn().as_secs_f64() / first
        })
        .collect()
}

fn request(subject: &str) -> Request<Body> {
    handshake().bearer_subprotocol(&super::session_token(subject)).build()
}

async fn connect(app: &Router, request: Request<Body>) -> WebSocketStream<DuplexStream> {
    test_util::connect(app.clone(), request).await.expect("a good token").0
}
