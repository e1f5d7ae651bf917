use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{Method, Request, StatusCode, request::Parts};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    config::Config,
    gate::{Registered, Unclaimed, Verification},
    handshake::RequestKind,
    telemetry,
    token::Selection,
};

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
        /// The answer stands already.
        Refused { response: Option<Response> },
        /// Steps four and five.
        Verifying { verification: Verification, waiting: Option<Waiting<S, B>> },
        /// Step six, and then seven if there is an answer to be completed.
        Calling { #[pin] future: F, answer: Option<Answer> },
    }
}

/// What waits for the verification.
struct Waiting<S, B> {
    service: S,
    body: B,
    config: Arc<Config>,
    answer: Answer,
}

/// Completes the answer to a handshake: step seven.
pub(crate) struct Answer {
    kind: RequestKind,
    selection: Selection,
    is_connect: bool,
    registered: Registered,
    /// The client is to authenticate by its first message.
    deferred: Option<(Arc<Unclaimed>, Arc<Config>)>,
}

impl Answer {
    pub(crate) fn new(parts: &Parts, kind: RequestKind, selection: Selection) -> Self {
        Self { kind, selection, is_connect: parts.method == Method::CONNECT, registered: None, deferred: None }
    }

    /// Answers to the client of this session.
    pub(crate) fn to(self, registered: Registered) -> Self {
        Self { registered, ..self }
    }

    pub(crate) fn deferred(self, unclaimed: Arc<Unclaimed>, config: Arc<Config>) -> Self {
        Self { deferred: Some((unclaimed, config)), ..self }
    }

    pub(crate) const fn selection(&self) -> &Selection {
        &self.selection
    }

    fn complete(&self, mut response: Response) -> Response {
        // Over HTTP/2 any success completes the handshake (RFC 8441 §5).
        let completes =
            response.status() == StatusCode::SWITCHING_PROTOCOLS || (self.is_connect && response.status().is_success());
        let accepted = self.kind == RequestKind::Handshake && completes;
        if let Some((unclaimed, config)) = &self.deferred
            && !(accepted && unclaimed.is_claimed())
        {
            // Whoever answered here did so to a client that nobody knows.
            return config.refuse_unclaimed(unclaimed.version);
        }
        if accepted && let Some(session) = &self.registered {
            session.warn_if_dropped();
        }
        if accepted && self.selection.apply(response.headers_mut()) {
            telemetry::unoffered_subprotocol();
        }
        response
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(crate) const fn refused(response: Response) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(crate) const fn passing(future: S::Future) -> Self {
        Self { state: State::Calling { future, answer: None } }
    }

    pub(crate) const fn calling(future: S::Future, answer: Answer) -> Self {
        Self { state: State::Calling { future, answer: Some(answer) } }
    }

    pub(crate) fn verifying(
        verification: Verification,
        service: S,
        body: B,
        config: Arc<Config>,
        answer: Answer,
    ) -> Self {
        let waiting = Some(Waiting { service, body, config, answer });
        Self { state: State::Verifying { verification, waiting } }
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
                StateProj::Verifying { verification, waiting } => {
                    let (mut parts, outcome) = ready!(verification.as_mut().poll(cx));
                    let Waiting { mut service, body, config, answer } =
                        waiting.take().expect("`ResponseFuture` polled after completion");
                    match outcome {
                        Ok(registered) => {
                            let future = service.call(Request::from_parts(parts, body));
                            State::Calling { future, answer: Some(answer.to(registered)) }
                        }
                        Err(refusal) => {
                            let rejection = refusal.rejection(&config, parts.version);
                            let response = config.refuse(rejection, &mut parts, answer.selection());
                            State::Refused { response: Some(response) }
                        }
                    }
                }
                StateProj::Calling { future, answer } => {
                    let response = ready!(future.poll(cx))?.map(Body::new);
                    return Poll::Ready(Ok(match answer {
                        Some(answer) => answer.complete(response),
                        None => response,
                    }));
                }
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
