use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::Request;
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::{
    future::ResponseFuture,
    handshake::{Next, Pipeline},
};

/// The service made by [`WsAuthLayer`](crate::WsAuthLayer).
#[derive(Clone, Debug)]
pub struct WsAuth<S> {
    inner: S,
    pipeline: Arc<Pipeline>,
}

impl<S> WsAuth<S> {
    pub(crate) const fn new(inner: S, pipeline: Arc<Pipeline>) -> Self {
        Self { inner, pipeline }
    }
}

impl<S, B, R> Service<Request<B>> for WsAuth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let kind = self.pipeline.receive(&mut parts);
        if !self.pipeline.covers(kind, &mut parts) {
            return ResponseFuture::passing(self.inner.call(Request::from_parts(parts, body)));
        }
        match self.pipeline.begin(kind, &mut parts) {
            Next::Call(completion) => {
                ResponseFuture::calling(self.inner.call(Request::from_parts(parts, body)), completion)
            }
            Next::Verify(token, completion) => {
                // The service that was polled ready is the one to call. The clone is for the next request.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                let verification = self.pipeline.verify(token, kind, parts);
                ResponseFuture::verifying(verification, ready, body, completion)
            }
            Next::Respond(response) => ResponseFuture::refused(response),
        }
    }
}
