//! Security events, and a node that receives them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, MemoryRevocations, RevocationOptions, Revocations, Sessions, Verified, VerifyError,
    VerifyInput, WsAuthLayer,
    jwks::IssuerKeys,
    signals::{SharedSignals, SharedSignalsBuilder},
    store::RevocationStore,
    test_util::{self, handshake},
};
use futures_util::{FutureExt, StreamExt};
use http::Request;
use serde_json::{Value, json};

use crate::support::{
    ClientSocket, answer,
    issuer::{Key, Pair, set},
    settle,
};

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const AUDIENCE: &str = "https://chat.example.com";
pub(crate) const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
pub(crate) const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
pub(crate) const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn key() -> Key {
    Key::new(Pair::Ed25519, "set-1")
}

/// A user of the transmitter.
pub(crate) fn user(sub: &str) -> Value {
    json!({"format": "iss_sub", "iss": ISSUER, "sub": sub})
}

/// A session of a user, as Keycloak names it.
pub(crate) fn session_of(sub: &str, sid: &str) -> Value {
    json!({"format": "complex", "user": user(sub), "session": {"format": "opaque", "id": sid}})
}

/// The claims of an event that happened now.
pub(crate) fn event(event_type: &str, subject: &Value, members: &Value) -> Value {
    let mut members = members.clone();
    members["event_timestamp"] = now().into();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": now(), "jti": "756E69717565206964656E746966696572", "txn": "8675309",
        "sub_id": subject, "events": {event_type: members},
    })
}

pub(crate) fn revoked(subject: &Value) -> Value {
    event(&format!("{CAEP}session-revoked"), subject, &json!({}))
}

pub(crate) fn signed(claims: &Value) -> String {
    key().sign_as(Some("secevent+jwt"), &claims.to_string())
}

pub(crate) fn keys() -> IssuerKeys {
    IssuerKeys::jwks(ISSUER, serde_json::from_value(set(&[key()])).unwrap())
}

/// Accepts `SUBJECT.SID.JTI`: a token of the transmitter, issued a minute ago, or now if it begins with `new-`.
pub(crate) async fn access_token(input: VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
    let text = input.token.expose().to_owned();
    let (age, rest) = text.strip_prefix("new-").map_or((60, &*text), |rest| (0, rest));
    let [sub, sid, jti] = rest.split('.').collect::<Vec<_>>()[..] else { return Err(VerifyError::invalid()) };
    let verified = Verified::new(text.clone()).with_issuer(ISSUER).with_subject(sub).with_provider_session(sid);
    Ok(verified.with_token_id(jti).with_issued_at(input.now - Duration::from_secs(age)))
}

/// A node with sockets behind the layer, and a route for events outside of it.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) app: Router,
    pub(crate) revocations: Revocations,
    pub(crate) signals: SharedSignals,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(MemoryRevocations::new(), |signals| signals)
    }

    pub(crate) fn with(
        store: impl RevocationStore,
        settings: impl FnOnce(SharedSignalsBuilder) -> SharedSignalsBuilder,
    ) -> Self {
        Self::with_layer(store, WsAuthLayer::new(access_token).sessions(&Sessions::new()), |revocations| {
            settings(SharedSignals::with_keys(keys(), revocations).audience(AUDIENCE))
        })
    }

    pub(crate) fn with_layer(
        store: impl RevocationStore,
        layer: WsAuthLayer,
        signals: impl FnOnce(&Revocations) -> SharedSignalsBuilder,
    ) -> Self {
        async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response {
            upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
        }
        let options = RevocationOptions::new().clock_skew(Duration::ZERO).unwrap();
        let revocations = Revocations::with_options(store, options);
        let signals = signals(&revocations).build().unwrap();
        let layer = layer.revocations(&revocations);
        let app = Router::new().route("/chat", any(chat)).layer(layer).route("/signals", signals.push_route());
        Self { app, revocations, signals }
    }

    pub(crate) async fn open(&self, token: &str) -> ClientSocket {
        test_util::connect(self.app.clone(), Self::request(token)).await.expect("a 101").0
    }

    pub(crate) async fn status(&self, token: &str) -> u16 {
        answer(&self.app, Self::request(token)).await.status().as_u16()
    }

    fn request(token: &str) -> Request<Body> {
        handshake().path("/chat").bearer_subprotocol(token).build()
    }

    /// Pushes an event.
    pub(crate) async fn push(&self, claims: &Value) -> Response {
        self.push_token(signed(claims)).await
    }

    pub(crate) async fn push_token(&self, token: String) -> Response {
        let request = Request::post("/signals").header("content-type", "application/secevent+jwt");
        answer(&self.app, request.body(token.into()).unwrap()).await
    }
}

/// Two nodes that share a store.
pub(crate) fn two_nodes() -> (Node, Node) {
    let store = Arc::new(MemoryRevocations::new());
    (Node::with(Arc::clone(&store), |signals| signals), Node::with(store, |signals| signals))
}

pub(crate) async fn is_open(socket: &mut ClientSocket) -> bool {
    settle().await;
    socket.next().now_or_never().is_none()
}
