//! The socket of an authenticated client, and what keeps it honest.

mod budget;
mod close;
mod first_message;
mod refresh_protocol;
mod shared;
mod supervisor;
mod transport;

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Error, extract::ws::Message};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use http::HeaderValue;

pub use first_message::{FirstMessage, FirstToken};
pub use refresh_protocol::{RefreshProtocol, RefreshRequest};
pub use shared::SessionEnded;

pub(crate) use close::{close, close_unread};
pub(crate) use first_message::{Candidate, NoToken, PendingPermit};
pub(crate) use supervisor::Supervisor;
pub(crate) use transport::Transport;

use crate::{
    session::{RefreshError, Session},
    token::Token,
};
use close::close_failed;
use shared::Shared;

#[allow(unused_imports, reason = "for the docs")]
use axum::extract::ws::WebSocket;

/// axum's [`WebSocket`] with the session of the client, which ends when the session does.
///
/// It is a [`Stream`] and a [`Sink`] of axum's [`Message`]; `futures_util::StreamExt::split` makes two halves of it,
/// which may go into tasks of their own.
///
/// At the end of the [session](Session::ended) the client is sent a close frame with a code of
/// [`CloseCodes`](crate::CloseCodes) and the [reason](crate::EndReason::as_str), and its connection is dropped when it
/// has answered, or after two seconds. What the handler does meanwhile makes no difference: it may wait for something
/// else or for a client that does not read, have moved the socket elsewhere, or send and receive without ever waiting.
/// (It must not block its thread, as nothing in an async program may.) To the handler it looks as if the client had
/// closed: [`recv`](Self::recv) returns `None`, and [`send`](Self::send) fails with [`SessionEnded`].
///
/// Sending and receiving take part in tokio's [cooperative scheduling](tokio::task::coop): after about three milliseconds of
/// work, the task yields once. So a client that sends without pause does not hold up other tasks.
///
/// Dropping the socket drops the connection.
///
/// Over HTTP/2 the connection is a stream of a shared one. If its client has given it no window, hyper keeps a task with up
/// to two writes for it, until the client resets it or the shared connection ends: hyper waits for the window and does not
/// see that this side was dropped, and there is no way to reset the stream from here. The session and its place are free
/// all the same. What bounds these tasks is hyper's `max_concurrent_streams` (200 for each connection by default), and a
/// limit of the server's for connections and their age.
pub struct AuthenticatedSocket<C> {
    shared: Arc<Shared>,
    session: Session<C>,
    protocol: Option<HeaderValue>,
}

/// A WebSocket that was just opened.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// What the handler selected.
    pub(crate) subprotocol: Option<HeaderValue>,
    /// What the handler is to receive first.
    pub(crate) replay: Option<Message>,
}

impl<C> AuthenticatedSocket<C> {
    /// The claims of the token; after a [refresh](Self::refresh), those of the new one.
    #[must_use]
    pub fn claims(&self) -> Arc<C> {
        self.session.claims()
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session<C> {
        &self.session
    }

    /// The subprotocol that the handler selected. `None` if it selected none, also where the layer then named the
    /// public marker in the answer.
    #[must_use]
    pub const fn protocol(&self) -> Option<&HeaderValue> {
        self.protocol.as_ref()
    }

    /// Receives the next message; `None` once the connection is closed or the session has ended.
    ///
    /// A client's close frame comes as a message too, and is answered by then: the socket may be dropped.
    ///
    /// # Errors
    ///
    /// If the connection broke, or the client broke the protocol: a [`WebSocketError`](crate::WebSocketError) within the
    /// error. Nothing more is received then. A client that broke the protocol is told by a close frame (1002, 1007 or 1009)
    /// at the next call, or when the socket is dropped. Until then the handler may send something else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no message.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.shared.poll_next(cx)).await
    }

    /// Sends a message and flushes it.
    ///
    /// # Errors
    ///
    /// If the connection is closed or broken, a ping, pong or close reason is too long for its frame, or the session has ended,
    /// which is a [`SessionEnded`] within the error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may have been queued or not, and never in part. What was queued is sent by
    /// the next send or flush.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| self.shared.poll_send(cx, &mut message)).await
    }
}

impl<C: Send + Sync + 'static> AuthenticatedSocket<C> {
    /// Has the session stand on a new token; see [`Session::refresh`].
    ///
    /// # Errors
    ///
    /// If it is not refreshed, for whatever reason. Nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session is refreshed or it is not.
    pub async fn refresh(&self, token: Token) -> Result<(), RefreshError> {
        self.session.refresh(token).await
    }
}

impl<C> Stream for AuthenticatedSocket<C> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.shared.poll_next(cx)
    }
}

impl<C> FusedStream for AuthenticatedSocket<C> {
    fn is_terminated(&self) -> bool {
        self.shared.is_terminated()
    }
}

impl<C> Sink<Message> for AuthenticatedSocket<C> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.shared.start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.poll_close(cx)
    }
}

impl<C> Drop for AuthenticatedSocket<C> {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

// By hand: what the connection has buffered is nobody's business.
impl<C> fmt::Debug for AuthenticatedSocket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedSocket").field("session", &self.session).finish_non_exhaustive()
    }
}
