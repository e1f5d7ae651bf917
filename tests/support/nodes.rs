//! Nodes that share a Redis.

use std::{
    future::{Ready, ready},
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, Revocations, Verified, VerifyError, VerifyInput, WsAuthLayer, test_util::handshake,
};

use crate::support::answer;

/// Accepts `SUBJECT.ID`: a token of this subject, with this id, issued a minute ago.
pub(crate) fn verifier(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let text = input.token.expose().to_owned();
    let (subject, id) = text.split_once('.').expect("an id");
    let verified = Verified::new(text.clone()).with_subject(subject).with_token_id(id);
    ready(Ok(verified.with_issued_at(SystemTime::now() - Duration::from_secs(60))))
}

/// Reads until the socket is closed.
pub(crate) async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

/// Sends the id of the session, and reads until the socket is closed.
pub(crate) async fn named(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        let id = socket.session().id().to_string();
        let _ = socket.send(id.into()).await;
        while let Some(Ok(_)) = socket.recv().await {}
    })
}

pub(crate) fn node(revocations: &Revocations) -> Router {
    node_behind(WsAuthLayer::new(verifier).revocations(revocations))
}

pub(crate) fn node_behind(layer: WsAuthLayer) -> Router {
    Router::new().route("/", any(idle)).layer(layer)
}

/// The status of the answer to a handshake.
pub(crate) async fn status(app: &Router, token: &str) -> u16 {
    answer(app, handshake().bearer_subprotocol(token).build()).await.status().as_u16()
}

/// Waits until the condition holds.
///
/// # Panics
///
/// If that takes longer than 40 seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < Duration::from_secs(40), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
