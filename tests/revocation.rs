//! Revocations: which sessions and tokens they affect, on one node and on several, and what a node does without the
//! store.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "revocation/follow.rs"]
mod follow;
#[path = "revocation/memory.rs"]
mod memory;
#[path = "revocation/refresh.rs"]
mod refresh;
#[path = "revocation/restore.rs"]
mod restore;
#[path = "revocation/stale.rs"]
mod stale;
mod support;
#[path = "revocation/targets.rs"]
mod targets;

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, MemoryRevocations, Revocation, Revocations, Session, SessionId, Verified,
    VerifyError, VerifyInput, WsAuthLayer,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
    test_util::handshake,
};
use futures_util::{FutureExt, StreamExt};
use support::{ClientSocket, answer, connected, settle};
use tokio_tungstenite::tungstenite::Message;

/// Accepts `SUBJECT.ID.ISSUED`: a token of this subject, with this id, issued this many seconds after the epoch. Each
/// part is optional. The token `1` is of the provider's session `of 1`.
fn verifier(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let text = input.token.expose().to_owned();
    let mut verified = Verified::new(text.clone());
    let mut parts = text.split('.');
    if let Some(subject) = parts.next().filter(|part| !part.is_empty()) {
        verified = verified.with_subject(subject);
    }
    if let Some(id) = parts.next().filter(|part| !part.is_empty()) {
        verified = verified.with_token_id(id).with_provider_session(format!("of {id}"));
    }
    if let Some(seconds) = parts.next() {
        verified = verified.with_issued_at(UNIX_EPOCH + Duration::from_secs(seconds.parse().expect("seconds")));
    }
    ready(Ok(verified))
}

/// Sends the id of its session, and then reads until the socket is closed.
fn app(layer: WsAuthLayer) -> Router {
    async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            let id = socket.session().id().to_string();
            let _ = socket.send(id.into()).await;
            while let Some(Ok(_)) = socket.recv().await {}
        })
    }
    async fn plain(Authenticated(_): Authenticated<String>) {}
    Router::new().route("/", any(idle)).route("/plain", any(plain)).layer(layer)
}

fn node(revocations: &Revocations) -> Router {
    app(WsAuthLayer::new(verifier).revocations(revocations))
}

/// A handler that keeps the session of each request.
fn keeping(layer: WsAuthLayer) -> (Router, Arc<Mutex<Vec<Session<String>>>>) {
    let sessions: Arc<Mutex<Vec<Session<String>>>> = Arc::default();
    let kept = Arc::clone(&sessions);
    let handler = async move |Authenticated(session): Authenticated<String>| kept.lock().unwrap().push(session);
    (Router::new().route("/", any(handler)).layer(layer), sessions)
}

async fn greeted(app: &Router, token: &str) -> (ClientSocket, SessionId) {
    let mut socket = connected(app, token).await;
    let Some(Ok(Message::Text(id))) = socket.next().await else { panic!("a greeting") };
    (socket, id.parse().unwrap())
}

async fn reason(app: &Router, token: &str) -> Option<&'static str> {
    let response = answer(app, handshake().bearer_subprotocol(token).build()).await;
    support::refusal(&response).map(|(_, reason)| reason)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The close frame that has arrived once all tasks have run, if any.
async fn close_frame(socket: &mut ClientSocket) -> Option<(u16, String)> {
    settle().await;
    match socket.next().now_or_never() {
        None => None,
        Some(Some(Ok(Message::Close(Some(frame))))) => Some((frame.code.into(), frame.reason.to_string())),
        other => panic!("{other:?}"),
    }
}

/// A store that can be made to fail.
#[derive(Clone, Default)]
struct Flaky {
    inner: Arc<MemoryRevocations>,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
}

impl Flaky {
    async fn check(&self) -> Result<(), StoreError> {
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(SeqCst) { Err(StoreError::unavailable()) } else { Ok(()) }
    }
}

impl RevocationStore for Flaky {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.add(revocation, keep_for).await
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        self.check().await?;
        self.inner.load().await
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        self.check().await?;
        self.inner.next(after).await
    }
}
