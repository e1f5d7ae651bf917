//! Keeps a socket honest until its close frame.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use axum::extract::ws::Message;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    AuthenticatedSocket, Opened, RefreshProtocol, close::close, close_failed, refresh_protocol::Asked, shared::Shared,
};
use crate::{
    session::{ConnectionGuard, End, EndReason, Session, SessionCore, Status},
    telemetry,
};

pin_project! {
    /// Runs the handler, and ends its session when the time has come.
    ///
    /// One future, and so one task, for both: whatever the handler waits for, this is polled when its timer fires or an
    /// order to end arrives. It is done when the handler is done *and* the connection is gone, because the handler may
    /// have left the socket to somebody else.
    pub(crate) struct Supervisor<Fut> {
        #[pin]
        handler: Option<Fut>,
        #[pin]
        watch: Watch,
        refresher: Option<Refresher>,
        closing: Option<Boxed<()>>,
        connection: Connection,
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The connection, as long as there is one. Whatever becomes of the supervisor, a panic in the handler or the end of the
/// runtime, the connection and all that is counted for it go with this.
struct Connection {
    shared: Arc<Shared>,
    /// Gone with the connection.
    guard: Option<ConnectionGuard>,
}

impl<Fut: Future<Output = ()>> Supervisor<Fut> {
    /// Supervises the socket, and has the handler run with it if the session has not ended by now.
    pub(crate) fn new<C, H>(
        opened: Opened,
        (session, guard): (Session<C>, ConnectionGuard),
        protocol: Option<RefreshProtocol>,
        handler: H,
    ) -> Self
    where
        C: Send + Sync + 'static,
        H: FnOnce(AuthenticatedSocket<C>) -> Fut,
    {
        let Opened { transport, subprotocol, replay } = opened;
        let refresher = protocol.clone().map(|protocol| Refresher::new(session.clone(), protocol));
        let shared = Arc::new(Shared::new(Arc::clone(session.core()), transport, replay, protocol));
        let connection = Connection { shared: Arc::clone(&shared), guard: Some(guard) };
        let handler = session
            .end_reason()
            .is_none()
            .then(|| handler(AuthenticatedSocket { shared, session, protocol: subprotocol }));
        Self { handler, watch: Watch::default(), refresher, closing: None, connection }
    }
}

impl<Fut: Future<Output = ()>> Future for Supervisor<Fut> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if this.connection.is_open() && this.closing.is_none() {
                if let Poll::Ready(end) = this.watch.as_mut().poll(this.connection.shared.core(), cx) {
                    *this.refresher = None;
                    *this.closing = this.connection.close(end);
                } else if let Some(refresher) = this.refresher {
                    refresher.poll(&this.connection.shared, cx);
                }
            }
            if let Some(closing) = this.closing
                && closing.as_mut().poll(cx).is_ready()
            {
                *this.closing = None;
                this.connection.release();
            }
            if let Some(handler) = this.handler.as_mut().as_pin_mut() {
                this.connection.shared.new_turn();
                ready!(handler.poll(cx));
                this.handler.set(None);
                // Once more: it may have dropped the socket as its last act, which is the end of the session.
                continue;
            }
            return if this.connection.is_open() { Poll::Pending } else { Poll::Ready(()) };
        }
    }
}

impl Connection {
    /// The future that closes it, unless it is closed.
    fn close(&mut self, end: End) -> Option<Boxed<()>> {
        match self.shared.take() {
            Some(transport) if end.reason != EndReason::Closed => {
                let code = self.shared.core().close_code(end);
                Some(Box::pin(close(transport, code, end.reason.as_str())))
            }
            Some(transport) if transport.has_failed() => Some(Box::pin(close_failed(transport))),
            _ => {
                self.release();
                None
            }
        }
    }

    const fn is_open(&self) -> bool {
        self.guard.is_some()
    }

    fn release(&mut self) {
        if let Some(guard) = self.guard.take() {
            drop(self.shared.take());
            drop(guard);
            let core = self.shared.core();
            telemetry::session_ended(core.id(), core.subject(), core.end_reason().map(EndReason::as_str));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
    }
}

pin_project! {
    /// Sees when a session ends.
    #[derive(Default)]
    struct Watch {
        #[pin]
        timer: Option<Sleep>,
        // The change that was seen last, and whom the session was told to wake at the next one.
        seen: Option<(u64, Waker)>,
    }
}

impl Watch {
    fn poll(self: Pin<&mut Self>, core: &SessionCore, cx: &mut Context<'_>) -> Poll<End> {
        let mut this = self.project();
        loop {
            let up_to_date = this
                .seen
                .as_ref()
                .is_some_and(|(version, waker)| *version == core.version() && waker.will_wake(cx.waker()));
            if !up_to_date {
                let (status, version) = core.status(Some(cx.waker()));
                match status {
                    Status::Ended(end) => return Poll::Ready(end),
                    Status::Active(None) => this.timer.set(None),
                    Status::Active(Some(next)) => match this.timer.as_mut().as_pin_mut() {
                        Some(timer) => timer.reset(Instant::now() + next),
                        None => this.timer.set(Some(sleep(next))),
                    },
                }
                *this.seen = Some((version, cx.waker().clone()));
            }
            let Some(timer) = this.timer.as_mut().as_pin_mut() else { return Poll::Pending };
            ready!(timer.poll(cx));
            *this.seen = None;
        }
    }
}

/// Refreshes the session as its client asks for it by messages.
struct Refresher {
    refresh: Box<dyn Fn(Asked) -> Boxed<Option<Message>> + Send>,
    under_way: Option<Boxed<Option<Message>>>,
    /// The answer is not written yet.
    answering: bool,
}

impl Refresher {
    fn new<C: Send + Sync + 'static>(session: Session<C>, protocol: RefreshProtocol) -> Self {
        let refresh = move |Asked { token, message }: Asked| -> Boxed<Option<Message>> {
            let (session, protocol) = (session.clone(), protocol.clone());
            Box::pin(async move {
                let outcome = match token {
                    Some(token) => session.refresh(token).await.map(|()| session.core().time_left()),
                    None => Err(session.refuse_malformed()),
                };
                protocol.answer(&message, outcome.as_ref().copied())
            })
        };
        Self { refresh: Box::new(refresh), under_way: None, answering: false }
    }

    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        if self.under_way.is_none() && !self.answering {
            self.under_way = shared.request().map(|request| (self.refresh)(request));
        }
        if let Some(under_way) = &mut self.under_way {
            if let Poll::Ready(answer) = under_way.as_mut().poll(cx) {
                self.under_way = None;
                self.answering = true;
                shared.answer(answer);
            } else if shared.look_ahead(cx) {
                self.under_way = None;
                shared.give_up_request();
            }
        }
        if self.answering {
            // The next request comes when the handler has read it, and then this is polled again.
            self.answering = shared.write_answer(cx).is_pending();
        }
    }
}
