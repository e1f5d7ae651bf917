use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{Error, body::Body};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{Coverage, Ending};
use crate::{
    session::{AnySession, ConnectionGuard, EndReason, EndWatch, SessionCore},
    telemetry,
};

pin_project! {
    /// A body that ends with its session, and whose session ends with it.
    pub(crate) struct SessionBody {
        // `None` once one of them has ended.
        inner: Option<Body>,
        ending: Ending,
        is_counted: bool,
        // `None` if the session has ended and the body goes on.
        #[pin]
        end_watch: Option<EndWatch>,
        connection: Connection,
    }
}

/// The session, and what is counted for it. It is released when this is dropped, also after a panic of the handler.
struct Connection {
    /// With its claims, so that it can be refreshed from elsewhere.
    session: Arc<dyn AnySession>,
    guard: Option<ConnectionGuard>,
}

impl SessionBody {
    /// From here on the session lasts as long as the body.
    pub(crate) fn new(inner: Body, session: Arc<dyn AnySession>, Coverage { ending, is_counted }: Coverage) -> Self {
        let guard = Some(session.core().guard());
        session.core().start_recheck();
        let connection = Connection { session, guard };
        Self { inner: Some(inner), ending, is_counted, end_watch: Some(EndWatch::default()), connection }
    }
}

impl HttpBody for SessionBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut this = self.project();
        if this.inner.is_some()
            && let Some(end_watch) = this.end_watch.as_mut().as_pin_mut()
            && let Poll::Ready(end) = end_watch.poll(this.connection.core(), cx)
        {
            if goes_on(end.reason, *this.is_counted) {
                this.end_watch.set(None);
            } else {
                *this.inner = None;
                if let Some(last) = this.ending.last(end.reason) {
                    return Poll::Ready(Some(last));
                }
            }
        }
        let Some(inner) = this.inner else {
            this.connection.release();
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if !frame.is_trailers() => this.ending.push(frame),
            // Nothing may follow.
            _ => {
                *this.inner = None;
                this.connection.release();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.inner, &self.ending) {
            (Some(inner), Ending::Failure) => inner.size_hint(),
            // It may end early, or with a last event.
            (Some(_), _) => SizeHint::new(),
            (None, _) => SizeHint::with_exact(0),
        }
    }
}

/// Whether a body outlives this end of its session: a drain leaves what takes no place to the server's own shutdown.
pub(crate) fn goes_on(reason: EndReason, is_counted: bool) -> bool {
    reason == EndReason::Shutdown && !is_counted
}

impl Connection {
    fn core(&self) -> &SessionCore {
        self.session.core()
    }

    fn release(&mut self) {
        if let Some(guard) = self.guard.take() {
            drop(guard);
            let core = self.core();
            telemetry::session_ended(core.id(), core.subject(), core.end_reason().map(EndReason::as_str));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
    }
}
