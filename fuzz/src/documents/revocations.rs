//! Receivers of signals: what they revoke, and what they answer.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, routing::MethodRouter};
use axum_ws_auth::{
    Revocation, Revocations,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
};
use http::{Request, StatusCode, header::CONTENT_TYPE};
use tower::ServiceExt;

/// Keeps what was revoked, for the target to look at.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Revocation>>>);

impl Recorder {
    /// Call it within a runtime.
    pub fn revocations(&self) -> Revocations {
        Revocations::new(self.clone())
    }

    pub fn take(&self) -> Vec<Revocation> {
        std::mem::take(&mut self.0.lock().expect("the lock"))
    }
}

impl RevocationStore for Recorder {
    async fn add(&self, revocation: &Revocation, _: Duration) -> Result<(), StoreError> {
        self.0.lock().expect("the lock").push(revocation.clone());
        Ok(())
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        pending().await
    }

    async fn next(&self, _: Cursor) -> Result<RevocationBatch, StoreError> {
        pending().await
    }
}

/// Posts a body to a route, and returns the answer.
pub async fn post(route: MethodRouter, content_type: &str, body: String) -> (StatusCode, String) {
    let request = Request::post("/").header(CONTENT_TYPE, content_type);
    send(route, request.body(body.into()).expect("a request")).await
}

/// Sends a request to a route, and returns the answer.
pub async fn send(route: MethodRouter, request: Request<Body>) -> (StatusCode, String) {
    let Ok(response) = Router::new().route("/", route).oneshot(request).await;
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, String::from_utf8(body.into()).expect("the answer is text"))
}
