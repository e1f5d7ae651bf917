//! The operator's panel.
//!
//! **It is open to everybody, because this is a demo.** Put yours behind a verifier that asks for an operator's role,
//! or on a port that only your own network reaches.

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get, post},
};
use axum_ws_auth::{Drain, SessionId, SessionInfo, Sessions};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};

use super::{app::Demo, devices::describe};

pub(crate) fn routes() -> Router<Demo> {
    Router::new()
        .route("/operator/sessions", get(sessions))
        .route("/operator/sessions/{session}", delete(end))
        .route("/operator/restart", post(restart))
        .route("/metrics", get(metrics))
}

/// Polled by each page. Not a stream: browsers have six connections to a server over HTTP/1.1, for all tabs together.
async fn sessions(Extension(sessions): Extension<Sessions>) -> Json<Value> {
    let mut live: Vec<_> = sessions.iter().take(100).collect();
    live.sort_by_key(SessionInfo::cursor);
    Json(json!({ "count": sessions.count(), "sessions": live.iter().map(describe).collect::<Value>() }))
}

/// For Prometheus, and for the page.
async fn metrics(State(demo): State<Demo>) -> String {
    demo.metrics.render()
}

/// Records the metrics of [`axum_ws_auth::metrics`] from now on.
pub(crate) fn record_metrics() -> Result<PrometheusHandle, BuildError> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    axum_ws_auth::metrics::describe_metrics();
    let recorded = metrics.clone();
    tokio::spawn(async move {
        // Without this, each measured time is kept until somebody asks.
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            recorded.run_upkeep();
        }
    });
    Ok(metrics)
}

/// Ends one session. Its token stays valid, so its page may connect again.
async fn end(State(demo): State<Demo>, Path(id): Path<SessionId>) -> StatusCode {
    match demo.revocations.revoke_session(id).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn restart(State(demo): State<Demo>) -> StatusCode {
    demo.restart.notify_one();
    StatusCode::ACCEPTED
}

/// Waits for the operator's button, and closes all sockets. axum then stops the server.
///
/// One socket at a time, so that one can watch. With the default, 1,000 are closed in a second.
pub(crate) async fn restart_requested(demo: Demo, sessions: Sessions) {
    demo.restart.notified().await;
    let drain = Drain::service_restart().every(Duration::from_millis(300)).within(Duration::from_secs(10));
    sessions.drain(drain.batch(1).unwrap_or(drain)).await;
}
