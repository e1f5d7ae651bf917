use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{BoxFuture, prober::Prober, refresher::Refresher};
use crate::{
    session::{ConnectionGuard, End, EndReason, EndWatch, KeepAlive, Session},
    socket::{
        AuthenticatedSocket, RefreshProtocol, SocketParts,
        close::{close, finish_closing},
        shared::Shared,
    },
    telemetry::SessionSpan,
};

pin_project! {
    /// Runs the handler, and closes the connection when the session ends.
    ///
    /// Both are one future, and so one task. Whatever the handler waits for, this is polled when a timer fires or the
    /// session is ended elsewhere. It completes when the handler has returned *and* the connection is closed, because
    /// the handler may have moved the socket elsewhere.
    pub(crate) struct Supervisor<Fut> {
        #[pin]
        handler: Option<Fut>,
        #[pin]
        end_watch: EndWatch,
        refresher: Option<Box<Refresher>>,
        prober: Option<Box<Prober>>,
        closing: Option<BoxFuture<()>>,
        connection: Connection,
        span: SessionSpan,
    }
}

/// The connection, and what is counted for it. Both are released when this is dropped, also after a panic of the
/// handler or the end of the runtime.
struct Connection {
    shared: Arc<Shared>,
    /// `None` once the connection is closed.
    guard: Option<ConnectionGuard>,
}

impl<Fut: Future<Output = ()>> Supervisor<Fut> {
    /// Starts the handler, unless the session has already ended.
    pub(crate) fn new<C, H>(
        parts: SocketParts,
        (session, guard): (Session<C>, ConnectionGuard),
        (protocol, keep_alive): (Option<RefreshProtocol>, Option<KeepAlive>),
        handler: H,
    ) -> Self
    where
        C: Send + Sync + 'static,
        H: FnOnce(AuthenticatedSocket<C>) -> Fut,
    {
        let SocketParts { transport, subprotocol, replay } = parts;
        let mut refresher = protocol.clone().map(|protocol| Box::new(Refresher::new(session.clone(), protocol)));
        let prober = keep_alive.map(|keep_alive| Box::new(Prober::new(keep_alive, session.core())));
        let shared = Arc::new(Shared::new(Arc::clone(session.core()), transport, replay, protocol));
        let connection = Connection { shared: Arc::clone(&shared), guard: Some(guard) };
        let span = session.core().span();
        let entered = span.enter();
        let handler = session.end_reason().is_none().then(|| {
            if let Some(refresher) = &mut refresher {
                refresher.greet(&shared);
            }
            handler(AuthenticatedSocket { shared, session, protocol: subprotocol.map(Box::new) })
        });
        drop(entered);
        Self { handler, end_watch: EndWatch::default(), refresher, prober, closing: None, connection, span }
    }
}

impl<Fut: Future<Output = ()>> Future for Supervisor<Fut> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let _entered = this.span.enter();
        loop {
            if this.connection.is_open() && this.closing.is_none() {
                let shared = &this.connection.shared;
                let of_prober = this.prober.as_ref().map(|prober| prober.alarm());
                let of_refresher = this.refresher.as_ref().and_then(|refresher| refresher.alarm());
                let alarm = of_prober.into_iter().chain(of_refresher).min();
                match this.end_watch.as_mut().poll_or_alarm(shared.core(), alarm, cx) {
                    Poll::Ready(Some(end)) => {
                        *this.refresher = None;
                        *this.prober = None;
                        *this.closing = this.connection.close(end);
                    }
                    Poll::Ready(None) => {
                        if let Some(refresher) = this.refresher {
                            refresher.ring();
                        }
                        if let Some(prober) = this.prober {
                            prober.ring(shared, cx);
                        }
                        continue;
                    }
                    Poll::Pending => {
                        let refresher = this.refresher.as_mut().is_some_and(|refresher| refresher.poll(shared, cx));
                        let prober = this.prober.as_mut().is_some_and(|prober| prober.poll(shared, cx));
                        if refresher || prober {
                            continue;
                        }
                    }
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
                // The handler may have ended the session by dropping the socket.
                continue;
            }
            return if this.connection.is_open() { Poll::Pending } else { Poll::Ready(()) };
        }
    }
}

impl Connection {
    /// A future that closes the connection. `None` if it is closed already.
    fn close(&mut self, end: End) -> Option<BoxFuture<()>> {
        match self.shared.take_transport() {
            Some(transport) if end.reason != EndReason::Closed => {
                let code = self.shared.core().close_code(end);
                Some(Box::pin(close(transport, code, end.reason.as_str())))
            }
            Some(transport) if transport.is_closing() => Some(Box::pin(finish_closing(transport))),
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
            drop(self.shared.take_transport());
            drop(guard);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
    }
}
