//! The socket of an authenticated client.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Error,
    extract::ws::{Message, WebSocket},
};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use http::HeaderValue;

use crate::Session;

/// axum's [`WebSocket`] with the session of the client.
///
/// It is a [`Stream`] and a [`Sink`] of axum's [`Message`]; `futures_util::StreamExt::split` makes two halves of it.
pub struct AuthenticatedSocket<C> {
    socket: WebSocket,
    session: Session<C>,
}

impl<C> AuthenticatedSocket<C> {
    pub(crate) const fn new(socket: WebSocket, session: Session<C>) -> Self {
        Self { socket, session }
    }

    /// The claims of the token.
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
    pub fn protocol(&self) -> Option<&HeaderValue> {
        self.socket.protocol()
    }

    /// Receives the next message; `None` once the connection is closed.
    ///
    /// A client's close frame comes as a message too, and is answered by then: the socket may be dropped.
    ///
    /// # Errors
    ///
    /// If the connection broke, or the client broke the protocol.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no message.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Sends a message and flushes it.
    ///
    /// # Errors
    ///
    /// If the connection is closed or broken, or the message is too large for the write buffer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may have been queued or not. What was queued is sent by the next send or
    /// flush.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut WebSocket> {
        Pin::new(&mut self.get_mut().socket)
    }
}

impl<C> Stream for AuthenticatedSocket<C> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.as_mut().inner().poll_next(cx);
        if let Poll::Ready(Some(Ok(Message::Close(_)))) = polled {
            // The answer to a close frame is queued until the next read. Most handlers do not read again but drop the
            // socket, and to the client the connection would have broken. What cannot be written at once is not worth
            // waiting for.
            let _ = self.inner().poll_flush(cx);
        }
        polled
    }
}

impl<C> FusedStream for AuthenticatedSocket<C> {
    fn is_terminated(&self) -> bool {
        self.socket.is_terminated()
    }
}

impl<C> Sink<Message> for AuthenticatedSocket<C> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner().poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.inner().start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner().poll_close(cx)
    }
}

// By hand: what the connection has buffered is nobody's business.
impl<C> fmt::Debug for AuthenticatedSocket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedSocket").field("session", &self.session).finish_non_exhaustive()
    }
}
