//! An application of either version of axum, and the requests for it.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use http::{
    Request, Response,
    header::{AUTHORIZATION, CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
    response::Parts,
};
use tower::{Service, ServiceExt};

/// A handler that takes the claims and does nothing.
pub(crate) const IDLE: &str = "/idle";
/// A handler that takes the claims and upgrades.
pub(crate) const SOCKET: &str = "/socket";

/// So few that they stay in the cache, where a request that was just parsed would be.
const BATCH: usize = 32;
/// These are not counted: they find the caches as the application before left them.
const WARM_UP: usize = 8;

#[derive(Clone)]
pub(crate) enum App {
    Axum(axum::Router),
    Axum07(axum07::Router),
}

impl App {
    pub(crate) async fn answer(&self, request: &Request<()>) -> Parts {
        match self {
            Self::Axum(router) => answer::<axum::body::Body, _, _>(router, request).await,
            Self::Axum07(router) => answer::<axum07::body::Body, _, _>(router, request).await,
        }
    }

    /// The time for one of these requests, in nanoseconds, without that for making it or for dropping the response.
    pub(crate) async fn time(&self, request: &Request<()>) -> f64 {
        let time = match self {
            Self::Axum(router) => time::<axum::body::Body, _, _>(router, request).await,
            Self::Axum07(router) => time::<axum07::body::Body, _, _>(router, request).await,
        };
        time.as_secs_f64() * 1e9 / BATCH as f64
    }
}

/// A handshake, with the token in `Authorization`, where all look for it.
pub(crate) fn handshake(path: &str, token: Option<&str>) -> Request<()> {
    let mut request = Request::get(path)
        .header(HOST, "localhost")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(()).expect("a request")
}

async fn answer<B, S, R>(service: &S, request: &Request<()>) -> Parts
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone,
    B: Default,
{
    let Ok(response) = service.clone().oneshot(request.clone().map(|()| B::default())).await;
    response.into_parts().0
}

async fn time<B, S, R>(service: &S, request: &Request<()>) -> Duration
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone,
    B: Default,
{
    let mut warm_up: Vec<_> = (0..WARM_UP + BATCH).map(|_| request.clone().map(|()| B::default())).collect();
    let counted = warm_up.split_off(WARM_UP);
    let mut responses = Vec::with_capacity(WARM_UP + BATCH);
    for request in warm_up {
        responses.push(service.clone().oneshot(request).await);
    }
    let start = Instant::now();
    for request in counted {
        responses.push(service.clone().oneshot(request).await);
    }
    start.elapsed()
}
