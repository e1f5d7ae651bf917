//! What is written without any of the crates, well: jsonwebtoken, and a middleware of axum's or of tower-http's.

use std::{future::ready, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State, ws::WebSocketUpgrade},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::any,
};
use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use jsonwebtoken::{DecodingKey, Validation};
use tower_http::auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer};

use super::{
    Peer,
    bare::{drain, drain_small, greet},
};
use crate::{
    app::{App, IDLE, SOCKET},
    keys::Algorithm,
    tokens::Claims,
};

pub(super) const FROM_FN: Peer = Peer::new("`from_fn`, jsonwebtoken", |algorithm| {
    Some(App::Axum(routes().layer(from_fn_with_state(Rules::new(algorithm), check))))
});
pub(super) const FROM_FN_SMALL_BUFFER: Peer = Peer::new("`from_fn`, jsonwebtoken, read buffer of 8 KiB", |algorithm| {
    async fn socket(Extension(_): Extension<Claims>, upgrade: WebSocketUpgrade) -> Response {
        drain_small(upgrade)
    }
    let routes = Router::new().route(SOCKET, any(socket));
    Some(App::Axum(routes.layer(from_fn_with_state(Rules::new(algorithm), check))))
});
pub(super) const TOWER_HTTP: Peer = Peer::new("tower-http, jsonwebtoken", |algorithm| {
    Some(App::Axum(routes().layer(AsyncRequireAuthorizationLayer::new(Rules::new(algorithm)))))
});

/// Handlers that find their claims among the extensions.
pub(super) fn routes() -> Router {
    async fn socket(Extension(_): Extension<Claims>, upgrade: WebSocketUpgrade) -> Response {
        drain(upgrade)
    }
    let idle = async |Extension(claims): Extension<Claims>| greet(&claims.sub);
    Router::new().route(IDLE, any(idle)).route(SOCKET, any(socket))
}

#[derive(Clone)]
struct Rules(Arc<(DecodingKey, Validation)>);

impl Rules {
    fn new(algorithm: Algorithm) -> Self {
        Self(Arc::new((algorithm.decoding_key(), algorithm.validation())))
    }

    /// The claims, or the challenge of the refusal.
    fn check(&self, headers: &HeaderMap) -> Result<Claims, &'static str> {
        let token = bearer(headers).ok_or("Bearer")?;
        let (key, validation) = &*self.0;
        let data = jsonwebtoken::decode(token, key, validation).map_err(|_| "Bearer error=\"invalid_token\"")?;
        Ok(data.claims)
    }
}

async fn check(State(rules): State<Rules>, mut request: Request, next: Next) -> Response {
    match rules.check(request.headers()) {
        Ok(claims) => {
            request.extensions_mut().insert(claims);
            next.run(request).await
        }
        Err(challenge) => refusal(challenge),
    }
}

impl<B> AsyncAuthorizeRequest<B> for Rules {
    type RequestBody = B;
    type ResponseBody = Body;
    type Future = std::future::Ready<Result<http::Request<B>, Response>>;

    fn authorize(&mut self, mut request: http::Request<B>) -> Self::Future {
        let checked = self.check(request.headers()).map_err(refusal);
        ready(checked.map(|claims| {
            request.extensions_mut().insert(claims);
            request
        }))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn refusal(challenge: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
}
