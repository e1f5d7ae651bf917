//! Shared by the tests.

#![allow(clippy::panic, dead_code, reason = "each test file uses a part, and a test may panic")]

pub(crate) mod http2;
#[cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
pub(crate) mod issuer;
pub(crate) mod log;

use std::{
    future::{Ready, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::OriginalUri, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedSocket, AuthenticatedUpgrade, Rejection, RejectionKind, TokenSource, Verified, VerifyError,
    VerifyInput, WsAuthLayer,
    test_util::{self, TestToken},
};
use futures_util::StreamExt;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use tower::ServiceExt;

/// A string in the form of a JWT, which only [`opaque`] accepts.
pub(crate) const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2VjcmV0LXNpZ25hdHVyZQ";

/// Accepts [`TOKEN`] and nothing else.
pub(crate) fn opaque(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let known = input.token.expose() == TOKEN;
    ready(if known { Ok(Verified::new("alice".to_owned()).with_subject("alice")) } else { Err(VerifyError::invalid()) })
}

pub(crate) fn jwt_layer() -> WsAuthLayer {
    WsAuthLayer::new(test_util::verifier::<Value>())
}

pub(crate) fn opaque_layer() -> WsAuthLayer {
    WsAuthLayer::new(opaque)
}

pub(crate) fn token() -> String {
    TestToken::new("alice").sign()
}

/// Echoes on every path.
pub(crate) fn echo_behind(layer: WsAuthLayer) -> Router {
    Router::new().route("/", any(test_util::echo)).route("/{*rest}", any(test_util::echo)).layer(layer)
}

/// Runs the callback with each socket.
pub(crate) fn behind<F, Fut>(layer: WsAuthLayer, callback: F) -> Router
where
    F: Fn(AuthenticatedSocket<String>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| -> Response { upgrade.on_upgrade(callback) };
    Router::new().route("/", any(handler)).layer(layer)
}

/// A callback that receives until the socket is closed.
pub(crate) async fn read_on(mut socket: AuthenticatedSocket<String>) {
    while let Some(Ok(_)) = socket.recv().await {}
}

/// Responds with everything that a handler can see of the request.
pub(crate) fn mirror_behind(layer: WsAuthLayer) -> Router {
    async fn mirror(OriginalUri(original): OriginalUri, request: Request<Body>) -> String {
        let headers: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        format!("uri {}\noriginal {original}\n{}\n{request:?}", request.uri(), headers.join("\n"))
    }
    Router::new().route("/", any(mirror)).nest("/nested", Router::new().route("/", any(mirror))).layer(layer)
}

pub(crate) async fn answer(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.expect("a router does not fail")
}

pub(crate) async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.expect("a body in memory").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Why a request was refused, if it was.
pub(crate) fn refusal(response: &Response) -> Option<(RejectionKind, &'static str)> {
    response.extensions().get::<Rejection>().map(|rejection| (rejection.kind(), rejection.reason()))
}

pub(crate) fn selected(response: &Response) -> Option<&str> {
    let mut lines = response.headers().get_all("sec-websocket-protocol").iter();
    let line = lines.next().map(|line| line.to_str().expect("ASCII"));
    assert!(lines.next().is_none(), "the header may appear only once");
    line
}

pub(crate) fn is_refused_with(response: &Response, status: StatusCode, reason: &str) -> bool {
    response.status() == status && refusal(response).is_some_and(|(_, actual)| actual == reason)
}

/// All presets except the raw one.
pub(crate) fn all_presets() -> Vec<TokenSource> {
    vec![
        TokenSource::bearer_subprotocol(),
        TokenSource::subprotocol_prefix("bearer."),
        TokenSource::kubernetes(),
        TokenSource::phoenix(),
        TokenSource::quarkus(),
        TokenSource::jupyter(),
        TokenSource::openai_realtime(),
        TokenSource::appsync_events(),
        TokenSource::authorization(),
    ]
}

/// Accepts `SUBJECT`, `SUBJECT.SECONDS` and `SUBJECT.SECONDS.ID`: a token of this subject, valid for this many seconds,
/// with this id, of the provider's session `of ID`. `nobody` is a token without a subject, `bad` an invalid token.
pub(crate) fn timed(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let text = input.token.expose().to_owned();
    let mut parts = text.split('.');
    let subject = parts.next().unwrap_or_default();
    let mut verified = Verified::new(text.clone());
    match subject {
        "bad" => return ready(Err(VerifyError::invalid())),
        "nobody" => {}
        subject => verified = verified.with_subject(subject),
    }
    if let Some(seconds) = parts.next() {
        verified = verified.with_expires_at(input.now + Duration::from_secs(seconds.parse().expect("seconds")));
    }
    if let Some(id) = parts.next() {
        verified = verified.with_token_id(id).with_provider_session(format!("of {id}"));
    }
    ready(Ok(verified))
}

pub(crate) type ClientSocket = WebSocketStream<DuplexStream>;

/// Connects a client with a token for [`timed`].
pub(crate) async fn connected(app: &Router, token: &str) -> ClientSocket {
    test_util::connect(app.clone(), test_util::handshake().bearer_subprotocol(token).build()).await.expect("a 101").0
}

/// Expects a close frame and then the end of the connection. Returns the code and the reason.
pub(crate) async fn closed(socket: &mut ClientSocket) -> (u16, String) {
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close frame") };
    assert!(socket.next().await.is_none(), "the connection is dropped");
    (frame.code.into(), frame.reason.to_string())
}

/// Counts the completed handshakes. All others must be refused with 401.
pub(crate) async fn completed(racing: Vec<tokio::task::JoinHandle<u16>>) -> usize {
    let mut completed = 0;
    for one in racing {
        match one.await.expect("no panic") {
            101 => completed += 1,
            other => assert_eq!(other, 401),
        }
    }
    completed
}

/// Runs every task that is ready, without advancing time.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
