use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::Request;
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::handshake::{Completed, Completion, Verification};

pin_project! {
    /// The response future of [`WsAuth`](crate::WsAuth).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Refused { response: Option<Response> },
        /// Verify and admit.
        Verifying { verification: Verification, pending: Option<Pending<S, B>> },
        /// The inner service, and then choose.
        Calling { #[pin] future: F, completion: Option<Completion> },
        /// What is left to do about the response.
        Completing { response: Pin<Box<dyn Future<Output = Response> + Send>> },
    }
}

/// State held while verification is pending.
struct Pending<S, B> {
    service: S,
    body: B,
    completion: Completion,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(crate) const fn refused(response: Response) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(crate) const fn passing(future: S::Future) -> Self {
        Self { state: State::Calling { future, completion: None } }
    }

    pub(crate) const fn calling(future: S::Future, completion: Completion) -> Self {
        Self { state: State::Calling { future, completion: Some(completion) } }
    }

    pub(crate) fn verifying(verification: Verification, service: S, body: B, completion: Completion) -> Self {
        let pending = Some(Pending { service, body, completion });
        Self { state: State::Verifying { verification, pending } }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<axum::BoxError>,
{
    type Output = Result<Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Refused { response } => {
                    return Poll::Ready(Ok(response.take().expect("`ResponseFuture` polled after completion")));
                }
                StateProj::Verifying { verification, pending } => {
                    let (mut parts, outcome) = ready!(verification.as_mut().poll(cx));
                    let Pending { mut service, body, mut completion } =
                        pending.take().expect("`ResponseFuture` polled after completion");
                    match outcome {
                        Ok(admitted) => {
                            completion.admit(admitted);
                            let future = service.call(Request::from_parts(parts, body));
                            State::Calling { future, completion: Some(completion) }
                        }
                        Err(refusal) => {
                            let rejection = refusal.rejection(completion.config(), parts.version);
                            let response = completion.refuse(rejection, &mut parts);
                            State::Refused { response: Some(response) }
                        }
                    }
                }
                StateProj::Calling { future, completion } => {
                    let response = ready!(future.poll(cx))?.map(Body::new);
                    let Some(completion) = completion.take() else { return Poll::Ready(Ok(response)) };
                    match completion.complete(response) {
                        Completed::Now(response) => return Poll::Ready(Ok(response)),
                        Completed::Later(response) => State::Completing { response },
                    }
                }
                StateProj::Completing { response } => return response.as_mut().poll(cx).map(Ok),
            };
            state.set(next);
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
