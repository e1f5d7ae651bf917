//! Sessions that live over pipes in memory, and what one more costs.

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

/// Handshakes of a turn.
const TURN: usize = 100;

/// An application, its runtime and its clients: nothing is shared with another one, timers neither.
pub(crate) struct Crowd {
    runtime: Runtime,
    app: Router,
    sessions: Sessions,
    live: Vec<WebSocketStream<DuplexStream>>,
    /// Of those that come and go; each is somebody else.
    newcomers: usize,
}

impl Crowd {
    /// With so many sessions, each of another subject.
    pub(crate) fn of(count: usize) -> Self {
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
        assert_eq!(sessions.count(), count, "all of them live");
        Self { runtime, app, sessions, live, newcomers: 0 }
    }

    /// Has some come and go, and returns how long it took.
    fn turn(&mut self) -> Duration {
        let requests: Vec<_> =
            (self.newcomers..self.newcomers + TURN).map(|number| request(&format!("newcomer-{number}"))).collect();
        self.newcomers += TURN;
        self.runtime.block_on(async {
            let start = Instant::now();
            for request in requests {
                drop(connect(&self.app, request).await);
                // The server sees that the client is gone, and the session is taken out of the registry.
                while self.sessions.count() > self.live.len() {
                    yield_now().await;
                }
            }
            start.elapsed()
        })
    }
}

/// In turns; returns the ratios of the second to the first.
pub(crate) fn compare(first: &mut Crowd, second: &mut Crowd, rounds: usize) -> Vec<f64> {
    // What is made once is made here.
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
