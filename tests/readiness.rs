//! The layer calls the service that was polled ready, and a refusal leaves it unchanged.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use axum_ws_auth::{WsAuth, test_util::handshake};
use http::{Request, Response, StatusCode};
use support::*;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

async fn ok(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

/// `ConcurrencyLimit` panics if it is called without having been polled ready.
#[tokio::test]
async fn layer_works_over_a_concurrency_limit() {
    let mut service = ServiceBuilder::new().layer(opaque_layer()).layer(ConcurrencyLimitLayer::new(1)).service_fn(ok);
    for round in 0..3 {
        let response = service.ready().await.unwrap().call(handshake().authorization(TOKEN).build()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{round}");
        let response = service.ready().await.unwrap().call(handshake().build()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{round}");
        // A pending future that is dropped does not keep the permit.
        drop(service.ready().await.unwrap().call(handshake().authorization("x").build()));
        let response = service.ready().await.unwrap().call(handshake().authorization(TOKEN).build()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{round}");
    }
}

#[tokio::test]
async fn permit_is_held_during_verification() {
    let inner = ConcurrencyLimitLayer::new(1).layer(service_fn(ok));
    let mut first = opaque_layer().layer(inner);
    let mut second = first.clone();
    let call = first.ready().await.unwrap().call(handshake().authorization(TOKEN).build());
    let is_ready = poll_fn(|cx| Poll::Ready(second.poll_ready(cx).is_ready())).await;
    assert!(!is_ready, "the only permit is taken");
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    assert!(second.ready().await.is_ok());
}

/// Panics if it is called without having been polled ready, and counts its calls.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { is_ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without having been polled ready");
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test]
async fn every_path_calls_the_service_that_was_polled_ready() {
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = Strict { is_ready: false, calls: Arc::clone(&calls) };
    let mut service: WsAuth<Strict> = opaque_layer().optional().handshakes_only().layer(inner);
    let plain = || Request::new(Body::empty());
    let good = || handshake().authorization(TOKEN).build();
    for request in [plain(), good(), handshake().build(), good(), plain()] {
        assert_eq!(service.ready().await.unwrap().call(request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 5);
    // A refusal does not call the service, which stays ready.
    service.ready().await.unwrap();
    assert_eq!(service.call(handshake().authorization("").build()).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(service.call(plain()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::Relaxed), 6);
}
