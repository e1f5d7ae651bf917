//! What the benches share; here the applications that are measured: authenticated by the layer, by hand, and not at all.

#![allow(clippy::print_stdout, dead_code, reason = "each bench uses its part, and prints figures")]

pub(crate) mod keys;
pub(crate) mod messages;
pub(crate) mod server;
pub(crate) mod spread;
pub(crate) mod tcp;

use std::{env, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Request, State, ws::WebSocketUpgrade},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::any,
};
use axum_ws_auth::{
    AuthenticatedUpgrade, ConfigError, WsAuthLayer,
    jwt::{JwtKey, JwtVerifier},
    test_util::{TEST_SECRET, TestToken},
};
use http::{
    StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// No handler here needs them, but every token is parsed for its claims.
#[derive(Clone, Deserialize)]
pub(crate) struct Claims {
    sub: String,
}

/// As criterion decides it: `cargo bench` says `--bench`, and what says `--test` wants to see it run, not to measure.
pub(crate) fn is_test() -> bool {
    let has = |wanted| env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "chat";

/// What an issuer signs for a user.
pub(crate) fn claims() -> TestToken {
    TestToken::new("alice").claim("iss", ISSUER).claim("aud", AUDIENCE)
}

pub(crate) fn token() -> String {
    claims().sign()
}

/// Claims and token are the same as for [`check_by_hand`]; so is what is verified of them.
pub(crate) fn layer() -> WsAuthLayer {
    WsAuthLayer::new(verifier(JwtKey::secret(TEST_SECRET)))
}

/// Verifies with this key.
pub(crate) fn verifier(key: Result<JwtKey, ConfigError>) -> JwtVerifier<Claims> {
    let builder = JwtVerifier::builder().key(key.expect("a key")).issuer(ISSUER).audience(AUDIENCE);
    builder.build().expect("a key and a backend")
}

pub(crate) fn authenticated() -> Router {
    async fn handler(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    Router::new().route("/", any(handler)).layer(layer())
}

pub(crate) fn unauthenticated() -> Router {
    async fn handler(upgrade: WebSocketUpgrade) -> Response {
        drain(upgrade)
    }
    Router::new().route("/", any(handler))
}

pub(crate) fn authenticated_by_hand() -> Router {
    async fn handler(Extension(_): Extension<Claims>, upgrade: WebSocketUpgrade) -> Response {
        drain(upgrade)
    }
    check_by_hand(Router::new().route("/", any(handler)))
}

/// Completes the handshake and reads until the client leaves.
pub(crate) fn drain(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

/// The usual way without this crate: a middleware that looks at `Authorization` and calls jsonwebtoken.
pub(crate) fn check_by_hand(app: Router) -> Router {
    // Its process-wide provider panics where features are unified so that both backends are compiled in. That one is
    // installed already is no matter.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    check_by_hand_with(DecodingKey::from_secret(TEST_SECRET), Algorithm::HS256, app)
}

/// The same with another key.
pub(crate) fn check_by_hand_with(key: DecodingKey, algorithm: Algorithm, app: Router) -> Router {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    app.layer(from_fn_with_state(Arc::new(Rules { key, validation }), check))
}

struct Rules {
    key: DecodingKey,
    validation: Validation,
}

async fn check(State(rules): State<Arc<Rules>>, mut request: Request, next: Next) -> Response {
    let line = request.headers().get(AUTHORIZATION).and_then(|line| line.to_str().ok());
    let Some(token) = line.and_then(|line| line.strip_prefix("Bearer ")) else {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    };
    let Ok(data) = jsonwebtoken::decode::<Claims>(token, &rules.key, &rules.validation) else {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)]).into_response();
    };
    request.extensions_mut().insert(data.claims);
    next.run(request).await
}
