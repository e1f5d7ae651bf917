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
    config::{Anonymous, Config, Examined, Next},
    future::{Answer, ResponseFuture},
    handshake::RequestKind,
};

/// The service made by [`WsAuthLayer`](crate::WsAuthLayer).
#[derive(Clone, Debug)]
pub struct WsAuth<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> WsAuth<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
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
        let kind = RequestKind::of(&mut parts);
        if !self.config.concerns(kind) {
            parts.extensions.insert(Anonymous(Arc::clone(&self.config)));
            return ResponseFuture::passing(self.inner.call(Request::from_parts(parts, body)));
        }
        let Examined { selection, outcome } = self.config.examine(&mut parts);
        let answer = Answer::new(&parts, kind, selection);
        match outcome.and_then(|token| self.config.decide(token, kind, &mut parts)) {
            Err(rejection) => ResponseFuture::refused(self.config.refuse(rejection, &mut parts, answer.selection())),
            Ok(Next::Call(registered)) => {
                ResponseFuture::calling(self.inner.call(Request::from_parts(parts, body)), answer.to(registered))
            }
            Ok(Next::Defer(unclaimed)) => {
                let answer = answer.deferred(unclaimed, Arc::clone(&self.config));
                ResponseFuture::calling(self.inner.call(Request::from_parts(parts, body)), answer)
            }
            Ok(Next::Wait(token)) => {
                // The service that was polled ready is the one to be called; the clone is for the next request.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                let verification = self.config.verify(token, kind, parts);
                ResponseFuture::verifying(verification, ready, body, Arc::clone(&self.config), answer)
            }
        }
    }
}
