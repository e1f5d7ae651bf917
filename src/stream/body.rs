use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Error, body::Body};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{
    Coverage, Ending,
    comments::{Comments, comment},
};
use crate::{
    session::{AnySession, ConnectionGuard, EndReason, EndWatch, SessionCore},
    telemetry::SessionSpan,
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
        // Boxed, because most bodies have none.
        comments: Option<Box<Comments>>,
        connection: Connection,
        span: SessionSpan,
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
        let core = session.core();
        let keep_alive = core.keep_alive().filter(|_| ending.takes_comment());
        let comments = keep_alive.map(|keep_alive| Box::new(Comments::new(keep_alive.interval(core.id()))));
        let (guard, span) = (Some(core.guard()), core.span());
        core.start_recheck();
        let connection = Connection { session, guard };
        Self {
            inner: Some(inner),
            ending,
            is_counted,
            end_watch: Some(EndWatch::default()),
            comments,
            connection,
            span,
        }
    }
}

impl HttpBody for SessionBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut this = self.project();
        let _entered = this.span.enter();
        let mut comment_is_due = false;
        while this.inner.is_some()
            && let Some(end_watch) = this.end_watch.as_mut().as_pin_mut()
            && let Poll::Ready(end) = end_watch.poll_or_alarm(this.connection.core(), alarm(this.comments), cx)
        {
            match end {
                Some(end) if goes_on(end.reason, *this.is_counted) => this.end_watch.set(None),
                Some(end) => {
                    *this.inner = None;
                    if let Some(last) = this.ending.last(end.reason) {
                        return Poll::Ready(Some(last));
                    }
                }
                None => comment_is_due |= this.comments.as_mut().is_some_and(|comments| comments.ring()),
            }
        }
        let Some(inner) = this.inner else {
            this.connection.release();
            return Poll::Ready(None);
        };
        let frame = match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending if comment_is_due && this.ending.takes_comment() => Some(Ok(comment())),
            Poll::Pending => {
                if let Some(comments) = this.comments {
                    comments.on_waiting();
                }
                return Poll::Pending;
            }
        };
        match &frame {
            Some(Ok(frame)) if !frame.is_trailers() => {
                this.ending.push(frame);
                if let Some(comments) = this.comments {
                    comments.on_sent();
                }
            }
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

fn alarm(comments: &Option<Box<Comments>>) -> Option<Instant> {
    comments.as_ref().map(|comments| comments.alarm())
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
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
    }
}
