//! A route refreshes a session for whoever has a valid token of its subject, and tells nobody else of it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "refresh_route/across_nodes.rs"]
mod across_nodes;
#[path = "refresh_route/limits.rs"]
mod limits;
#[path = "refresh_route/request.rs"]
mod request;
#[path = "refresh_route/rules.rs"]
mod rules;
#[path = "refresh_route/signalr.rs"]
mod signalr;
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, EndReason, Session, SessionId, Sessions, TokenSource, Verified, Verifier, VerifyError,
    VerifyInput, WsAuthLayer,
    test_util::{self, HandshakeBuilder, handshake},
};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use support::{ClientSocket, answer, settle, text, timed};

const COOKIE: &str = "__Host-session";
const ORIGIN: &str = "https://localhost";

/// A node: its routes, its registry, and the sessions of its sockets, newest last.
struct Node {
    app: Router,
    sessions: Sessions,
    opened: Arc<Mutex<Vec<Session<String>>>>,
}

/// What a client gets to see.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    /// `error`, `expires_in` or nothing.
    body: Value,
    challenge: Option<String>,
    retry_after: Option<String>,
}

impl Node {
    /// With tokens of [`timed`].
    fn new() -> Self {
        Self::with_layer(WsAuthLayer::new(timed))
    }

    fn with_verifier(verifier: impl Verifier<Claims = String>) -> Self {
        Self::with_layer(WsAuthLayer::new(verifier))
    }

    fn with_layer(layer: WsAuthLayer) -> Self {
        Self::with_sessions(layer, Sessions::new())
    }

    fn with_sessions(layer: WsAuthLayer, sessions: Sessions) -> Self {
        let sources = [TokenSource::cookie(COOKIE), TokenSource::authorization()];
        let layer = layer.sources(sources).unwrap().sessions(&sessions);
        let opened = Arc::new(Mutex::new(Vec::new()));
        let handler = {
            let opened = Arc::clone(&opened);
            async move |upgrade: AuthenticatedUpgrade<String>| {
                upgrade.on_upgrade(async move |mut socket| {
                    opened.lock().unwrap().push(socket.session().clone());
                    while let Some(Ok(_)) = socket.recv().await {}
                })
            }
        };
        let refresh = layer.refresh_route().unwrap();
        let signalr = layer.signalr_refresh_route().unwrap();
        let app = Router::new()
            .route("/", any(handler.clone()))
            .route("/rooms/{room}", any(handler))
            .layer(layer)
            .route("/refresh/{session}", refresh)
            .route("/hub/refresh", signalr);
        Self { app, sessions, opened }
    }

    /// Opens a socket with this token.
    async fn open(&self, token: &str) -> (ClientSocket, Session<String>) {
        self.open_with(handshake().authorization(token)).await
    }

    async fn open_with(&self, handshake: HandshakeBuilder) -> (ClientSocket, Session<String>) {
        let (socket, _) = test_util::connect(self.app.clone(), handshake.build()).await.expect("a 101");
        settle().await;
        let session = self.opened.lock().unwrap().pop().expect("the handler runs");
        (socket, session)
    }

    /// Posts this token as a header.
    async fn refresh(&self, session: SessionId, token: &str) -> Answer {
        self.post(&format!("/refresh/{session}"), &[("authorization", &format!("Bearer {token}"))]).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        seen(answer(&self.app, post(path, headers)).await).await
    }
}

fn post(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::post(path).header("host", "localhost");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

async fn seen(response: Response) -> Answer {
    let status = response.status().as_u16();
    let header = |headers: &HeaderMap, name: &str| Some(headers.get(name)?.to_str().unwrap().to_owned());
    let challenge = header(response.headers(), "www-authenticate");
    let retry_after = header(response.headers(), "retry-after");
    let body = serde_json::from_str(&text(response).await).unwrap_or_default();
    Answer { status, body, challenge, retry_after }
}

impl Answer {
    fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or_default())
    }

    /// The seconds until the session ends.
    fn expires_in(&self) -> u64 {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["expires_in"].as_u64().expect("seconds")
    }
}

/// The seconds until the session ends.
fn left(session: &Session<String>) -> u64 {
    let now = std::time::SystemTime::now();
    session.expires_at().expect("a deadline").duration_since(now).unwrap_or_default().as_secs()
}
