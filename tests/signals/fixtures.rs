//! An issuer, nodes with open sockets, and a store that fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    response::Response,
    routing::{MethodRouter, any},
};
use axum_ws_auth::{
    AuthenticatedUpgrade, MemoryRevocations, Revocation, Revocations, WsAuthLayer,
    jwks::IssuerKeys,
    jwt::JwtVerifier,
    signals::SignalError,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
    test_util::{self, handshake},
};
use futures_util::{FutureExt, StreamExt};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    ClientSocket, answer, is_refused_with,
    issuer::{Key, Pair, set},
    settle,
};

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const OTHER_ISSUER: &str = "https://other.example.com";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn key() -> Key {
    Key::new(Pair::Ed25519, "1")
}

pub(crate) fn other_key() -> Key {
    Key::new(Pair::EdTest1, "1")
}

/// For access tokens of two issuers.
pub(crate) fn verifier() -> JwtVerifier<Value> {
    let keys = |issuer, key| IssuerKeys::jwks(issuer, serde_json::from_value(set(&[key])).unwrap());
    let builder = JwtVerifier::builder().issuer_keys(keys(ISSUER, key())).issuer_keys(keys(OTHER_ISSUER, other_key()));
    builder.audience("chat").build().unwrap()
}

fn request(access_token: &str) -> Request<Body> {
    handshake().path("/chat").bearer_subprotocol(access_token).build()
}

/// An access token of alice.
pub(crate) fn access_token(issuer: &str, sid: &str, issued_at: u64) -> String {
    let key = if issuer == ISSUER { key() } else { other_key() };
    let claims =
        json!({"iss": issuer, "aud": "chat", "sub": "alice", "sid": sid, "iat": issued_at, "exp": now() + 3600});
    key.sign(&claims)
}

pub(crate) async fn is_open(socket: &mut ClientSocket) -> bool {
    settle().await;
    socket.next().now_or_never().is_none()
}

/// The reason of a refusal.
pub(crate) fn reason(response: &Response) -> Option<&'static str> {
    response.extensions().get::<SignalError>().map(|error| error.kind().as_str())
}

/// A store that confirms nothing while it is down.
#[derive(Clone, Default)]
pub(crate) struct Unreliable {
    inner: Arc<MemoryRevocations>,
    pub(crate) is_down: Arc<AtomicBool>,
}

impl RevocationStore for Unreliable {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        if self.is_down.load(SeqCst) {
            Err(StoreError::unavailable())
        } else {
            self.inner.add(revocation, keep_for).await
        }
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        self.inner.load().await
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        self.inner.next(after).await
    }
}

/// A node with a socket route behind the layer, and `/notices` outside of it.
pub(crate) struct Node {
    pub(crate) app: Router,
    pub(crate) revocations: Revocations,
}

impl Node {
    pub(crate) fn new(revocations: Revocations, notices: MethodRouter) -> Self {
        async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
            upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
        }
        let layer = WsAuthLayer::new(verifier()).revocations(&revocations);
        let app = Router::new().route("/chat", any(chat)).layer(layer).route("/notices", notices);
        Self { app, revocations }
    }

    pub(crate) async fn open(&self, access_token: &str) -> ClientSocket {
        test_util::connect(self.app.clone(), request(access_token)).await.expect("a 101").0
    }

    pub(crate) async fn is_refused(&self, access_token: &str) -> bool {
        is_refused_with(&answer(&self.app, request(access_token)).await, StatusCode::UNAUTHORIZED, "revoked")
    }
}
