//! A Shared Signals transmitter on loopback.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use axum_ws_auth::signals::{DiscoverTransmitter, Transmitter};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};
use tower::ServiceExt;

use crate::{
    events::{AUDIENCE, SSF, event, key},
    support::issuer::set,
};

/// Requires this access token.
pub(crate) const TOKEN: &str = "access-token-7f3a";

#[derive(Clone)]
pub(crate) struct TestTransmitter {
    pub(crate) issuer: String,
    state: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    streams: Mutex<Vec<Value>>,
    queue: Mutex<BTreeMap<String, String>>,
    queued: Notify,
    polls: Mutex<Vec<Value>>,
    refused: Mutex<BTreeMap<String, Value>>,
    /// Where pushes go.
    receiver: Mutex<Option<Router>>,
    has_stream: Mutex<bool>,
    /// Does not echo the state.
    is_forgetful: Mutex<bool>,
}

impl TestTransmitter {
    pub(crate) async fn start(path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}{path}", listener.local_addr().unwrap());
        let transmitter = Self { issuer, state: Arc::default() };
        let app = Router::new()
            .route(&format!("/.well-known/ssf-configuration{path}"), get(configuration))
            .route("/jwks", get(async || Json(set(&[key()]))))
            .route("/streams", post(create).get(streams))
            .route("/status", get(status))
            .route("/verify", post(verify))
            .route("/poll/{stream}", post(poll))
            .with_state(transmitter.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        transmitter
    }

    fn origin(&self) -> String {
        self.issuer.split('/').take(3).collect::<Vec<_>>().join("/")
    }

    pub(crate) fn discover(&self) -> DiscoverTransmitter {
        Transmitter::discover(&self.issuer).token(TOKEN)
    }

    /// Signs an event as this transmitter.
    pub(crate) fn sign(&self, id: &str, claims: &Value) -> String {
        let mut claims = claims.clone();
        (claims["iss"], claims["jti"]) = (self.issuer.clone().into(), id.into());
        key().sign_as(Some("secevent+jwt"), &claims.to_string())
    }

    /// Queues an event for polls.
    pub(crate) fn emit(&self, id: &str, claims: &Value) {
        self.queue(id, self.sign(id, claims));
    }

    pub(crate) fn queue(&self, id: &str, token: String) {
        self.state.queue.lock().unwrap().insert(id.to_owned(), token);
        self.state.queued.notify_waiters();
    }

    pub(crate) fn queue_len(&self) -> usize {
        self.state.queue.lock().unwrap().len()
    }

    /// The bodies of all polls.
    pub(crate) fn polls(&self) -> Vec<Value> {
        self.state.polls.lock().unwrap().clone()
    }

    pub(crate) fn refused(&self) -> BTreeMap<String, Value> {
        self.state.refused.lock().unwrap().clone()
    }

    /// Pushes go to this router.
    pub(crate) fn push_to(&self, receiver: Router) {
        *self.state.receiver.lock().unwrap() = Some(receiver);
    }

    pub(crate) fn has_stream(&self, stream: Value) {
        self.state.streams.lock().unwrap().push(stream);
        *self.state.has_stream.lock().unwrap() = true;
    }

    pub(crate) fn forget_states(&self) {
        *self.state.is_forgetful.lock().unwrap() = true;
    }

    pub(crate) fn streams(&self) -> Vec<Value> {
        self.state.streams.lock().unwrap().clone()
    }
}

async fn configuration(State(transmitter): State<TestTransmitter>, headers: HeaderMap) -> Json<Value> {
    assert!(!headers.contains_key("authorization"), "the configuration is public");
    let origin = transmitter.origin();
    Json(json!({
        "spec_version": "1_0", "issuer": transmitter.issuer, "jwks_uri": format!("{origin}/jwks"),
        "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
        "configuration_endpoint": format!("{origin}/streams"), "status_endpoint": format!("{origin}/status"),
        "verification_endpoint": format!("{origin}/verify"), "critical_subject_members": ["tenant", "user"],
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}], "default_subjects": "ALL",
    }))
}

fn is_authorized(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value.as_bytes() == format!("Bearer {TOKEN}").as_bytes())
}

async fn create(
    State(transmitter): State<TestTransmitter>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    if !is_authorized(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if *transmitter.state.has_stream.lock().unwrap() {
        return StatusCode::CONFLICT.into_response();
    }
    let mut delivery = request["delivery"].clone();
    if delivery["method"] == "urn:ietf:rfc:8936" {
        delivery["endpoint_url"] = format!("{}/poll/stream-1", transmitter.origin()).into();
    }
    let stream = json!({
        "stream_id": "stream-1", "iss": transmitter.issuer, "aud": [AUDIENCE], "delivery": delivery,
        "events_requested": request["events_requested"], "events_delivered": request["events_requested"],
    });
    transmitter.state.streams.lock().unwrap().push(stream.clone());
    (StatusCode::CREATED, Json(stream)).into_response()
}

async fn streams(State(transmitter): State<TestTransmitter>) -> Json<Value> {
    Json(transmitter.streams().into())
}

async fn status(request: Request) -> Json<Value> {
    assert_eq!(request.uri().query(), Some("stream_id=stream-1"));
    Json(json!({"stream_id": "stream-1", "status": "paused", "reason": "maintenance"}))
}

async fn verify(State(transmitter): State<TestTransmitter>, Json(request): Json<Value>) -> StatusCode {
    let is_forgetful = *transmitter.state.is_forgetful.lock().unwrap();
    let state = if is_forgetful { json!({}) } else { json!({"state": request["state"]}) };
    let subject = json!({"format": "opaque", "id": request["stream_id"]});
    let claims = event(&format!("{SSF}verification"), &subject, &state);
    let receiver = transmitter.state.receiver.lock().unwrap().clone();
    match receiver {
        None => transmitter.emit("verification", &claims),
        Some(receiver) => {
            let token = transmitter.sign("verification", &claims);
            let push = Request::post("/signals").header("content-type", "application/secevent+jwt");
            let response = receiver.oneshot(push.body(Body::from(token)).unwrap()).await.unwrap();
            assert_eq!(response.status(), 202);
        }
    }
    StatusCode::NO_CONTENT
}

/// Waits for events for three seconds, if it may.
async fn poll(
    State(transmitter): State<TestTransmitter>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    assert_eq!(stream, "stream-1");
    let state = &transmitter.state;
    state.polls.lock().unwrap().push(request.clone());
    if !is_authorized(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    for id in request["ack"].as_array().into_iter().flatten() {
        state.queue.lock().unwrap().remove(id.as_str().unwrap());
    }
    for (id, error) in request["setErrs"].as_object().into_iter().flatten() {
        state.queue.lock().unwrap().remove(id);
        state.refused.lock().unwrap().insert(id.clone(), error.clone());
    }
    if request["returnImmediately"] == false && transmitter.queue_len() == 0 {
        let _ = tokio::time::timeout(Duration::from_secs(3), state.queued.notified()).await;
    }
    let max = usize::try_from(request["maxEvents"].as_u64().unwrap()).unwrap();
    let queue = state.queue.lock().unwrap();
    let sets: BTreeMap<_, _> = queue.iter().take(max).collect();
    Json(json!({"sets": sets, "moreAvailable": queue.len() > max})).into_response()
}
