//! The services under attack, and what they observe.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, OriginalUri, State, ws::WebSocketUpgrade},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::any,
};
use axum_ws_auth::{
    AuthenticatedUpgrade, Rejection, Session, TokenSource, WsAuthLayer,
    jwks::{IssuerKeys, JwkSet},
    jwt::{JwtVerifier, JwtVerifierBuilder},
};
use futures_util::StreamExt;
use http::{Request, request::Parts};
use serde_json::{Value, json};

use super::keys::known;
use crate::support::{
    all_presets,
    issuer::{Key, Pair},
};

/// What happened to the first request since the last look.
#[derive(Clone, Default)]
pub(crate) struct Observed(Arc<Mutex<Observation>>);

#[derive(Default)]
pub(crate) struct Observation {
    is_answered: bool,
    /// The kind and the reason of a refusal by the layer.
    pub(crate) refusal: Option<(String, String)>,
    /// Everything that the inner service can see of the request.
    pub(crate) seen: Option<Vec<u8>>,
}

impl Observed {
    pub(crate) fn take(&self) -> Observation {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }

    fn note(&self, note: impl FnOnce(&mut Observation)) {
        let mut observation = self.0.lock().expect("no panic");
        if !observation.is_answered {
            note(&mut observation);
        }
    }
}

/// The service of this name, in a router that notes what it observes.
pub(crate) fn app(name: &str) -> (Router, Observed) {
    let observed = Observed::default();
    let (inner, outer) = (observed.clone(), observed.clone());
    let note = move |response: Response| {
        let refusal = response.extensions().get::<Rejection>();
        let refusal = refusal.map(|refusal| (refusal.kind().as_str().to_owned(), refusal.reason().to_owned()));
        outer.note(|observation| {
            observation.is_answered = true;
            observation.refusal = refusal;
        });
        std::future::ready(response)
    };
    let app = Router::new().route("/", any(echo)).route("/{*rest}", any(echo)).with_state(inner);
    (app.layer(layer(name)).layer(map_response(note)), observed)
}

fn layer(name: &str) -> WsAuthLayer {
    let layer = WsAuthLayer::new(verifier());
    let sources = |sources: Vec<TokenSource>| WsAuthLayer::new(verifier()).sources(sources).expect("valid sources");
    match name {
        "standard" => layer,
        "optional" => layer.optional(),
        "handshakes only" => layer.handshakes_only(),
        "listed origins" => sources(vec![TokenSource::authorization(), TokenSource::cookie("session")])
            .allow_origin(["https://app.example", "https://xn--bcher-kva.example:8443", "tauri://localhost", "null"])
            .expect("valid origins"),
        "cookie" => sources(vec![TokenSource::cookie("session")]),
        "host cookie" => sources(vec![TokenSource::cookie("__Host-session")]),
        "query" => sources(vec![TokenSource::query("access_token")]),
        "header" => sources(vec![TokenSource::header("x-auth-token")]),
        "subprotocols" => sources(all_presets()),
        "every source" => sources(vec![
            TokenSource::authorization(),
            TokenSource::bearer_subprotocol(),
            TokenSource::header("x-auth-token"),
            TokenSource::query("access_token"),
            TokenSource::cookie("session"),
        ]),
        "one secret" => WsAuthLayer::new(build(JwtVerifier::builder().key(known().next().expect("a secret")))),
        "two issuers" => WsAuthLayer::new(build(two_issuers())),
        _ => panic!("there is no service {name}"),
    }
}

/// Knows a key of each kind. All belong to one issuer.
fn verifier() -> JwtVerifier<Value> {
    let builder = JwtVerifier::builder().issuer("https://id.example").audience("chat");
    build(known().fold(builder, JwtVerifierBuilder::key))
}

/// Two issuers, each with a key of its own.
fn two_issuers() -> JwtVerifierBuilder<Value> {
    let keys = |issuer: &str, pair, id| {
        let set: JwkSet = serde_json::from_value(json!({"keys": [Key::new(pair, id).jwk()]})).expect("a key set");
        IssuerKeys::jwks(issuer, set)
    };
    JwtVerifier::builder()
        .issuer_keys(keys("https://id.example", Pair::Ed25519, "ed"))
        .issuer_keys(keys("https://partner.example", Pair::EdTest2, "partner"))
        .audience("chat")
}

fn build(builder: JwtVerifierBuilder<Value>) -> JwtVerifier<Value> {
    builder.build().expect("a verifier")
}

/// Echoes, and notes what it sees.
async fn echo(State(observed): State<Observed>, request: Request<Body>) -> Response {
    let (mut parts, _) = request.into_parts();
    observed.note(|observation| observation.seen = Some(dump(&parts)));
    if parts.extensions.get::<Session<Value>>().is_none() {
        // Nobody is authenticated, so no socket may open, whoever asks.
        return WebSocketUpgrade::from_request_parts(&mut parts, &())
            .await
            .map_or_else(IntoResponse::into_response, |upgrade| upgrade.on_upgrade(async |_| {}));
    }
    match AuthenticatedUpgrade::<Value>::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.protocols(["chat"]).on_upgrade(async |socket| {
            let (sink, stream) = socket.split();
            let _ = stream.forward(sink).await;
        }),
        Err(rejection) => rejection.into_response(),
    }
}

fn dump(parts: &Parts) -> Vec<u8> {
    let original = parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri);
    let mut dump = format!("{} {original:?} {parts:?}\n", parts.uri).into_bytes();
    for (name, value) in &parts.headers {
        dump.extend_from_slice(name.as_str().as_bytes());
        dump.extend_from_slice(b": ");
        dump.extend_from_slice(value.as_bytes());
        dump.push(b'\n');
    }
    dump
}
