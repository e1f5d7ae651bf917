//! The socket of an authenticated client, and the enforcement of its session.

mod budget;
mod close;
mod first_message;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
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

pub(crate) use close::{close, close_unread};
pub(crate) use first_message::{FirstTokenError, PendingPermit, UnauthenticatedSocket};
pub(crate) use supervisor::Supervisor;
pub(crate) use transport::Transport;

use crate::{
    session::{RefreshError, Session},
    token::Token,
};
use shared::Shared;

#[allow(unused_imports, reason = "for the docs")]
use {crate::session::SessionEnded, axum::extract::ws::WebSocket};

/// axum's [`WebSocket`] with a session. When the session ends, the socket is closed.
///
/// It is a [`Stream`] and a [`Sink`] of axum's [`Message`]. `futures_util::StreamExt::split` splits it into two halves,
/// which may move to different tasks.
///
/// At the end of the [session](Session::ended), the client receives a close frame with a code of
/// [`CloseCodes`](crate::CloseCodes) and the [reason](crate::EndReason::as_str). The connection is dropped after the
/// client's close frame, or after two seconds. This does not depend on the handler: it may wait for something else, be
/// blocked by a client that does not read, have moved the socket elsewhere, or send and receive without ever waiting.
/// (As in any async program, it must not block its thread.) The handler sees a closed connection: [`recv`](Self::recv)
/// returns `None`, and [`send`](Self::send) fails with [`SessionEnded`].
///
/// Sending and receiving take part in tokio's [cooperative scheduling](tokio::task::coop): after about three
/// milliseconds of work, the task yields once. So a client that sends without pause does not hold up other tasks.
///
/// Dropping the socket drops the connection without a close frame. A page sees code 1006, and its client usually connects
/// again. Closing the socket, with `futures_util::SinkExt::close`, tells the client that this is the end. It ends the
/// session; then the client has two seconds for its close frame.
///
/// Over HTTP/2, the connection is a stream of a shared connection. If the client has opened no window for it, hyper
/// keeps a task with up to two writes until the client resets the stream or the shared connection ends: hyper waits for
/// the window, does not notice that the socket is dropped, and offers no way to reset the stream. The session and its
/// place in the limits are released in any case. Such tasks are bounded by hyper's `max_concurrent_streams` (200 per
/// connection by default), and by the server's limits on connections and their age.
pub struct AuthenticatedSocket<C> {
    shared: Arc<Shared>,
    session: Session<C>,
    /// Boxed, because most sockets have none, and the futures of handlers hold the socket twice.
    protocol: Option<Box<HeaderValue>>,
}

/// What a socket is made of, besides its session.
pub(crate) struct SocketParts {
    pub(crate) transport: Transport,
    /// The subprotocol that the handler selected.
    pub(crate) subprotocol: Option<HeaderValue>,
    /// The first message for the handler.
    pub(crate) replay: Option<Message>,
}

impl<C> AuthenticatedSocket<C> {
    /// The claims of the token. After a [refresh](Self::refresh), those of the new token.
    #[must_use]
    pub fn claims(&self) -> Arc<C> {
        self.session.claims()
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session<C> {
        &self.session
    }

    /// The subprotocol that the handler selected. `None` if it selected none, even if the layer then selected the
    /// public marker.
    #[must_use]
    pub const fn protocol(&self) -> Option<&HeaderValue> {
        match &self.protocol {
            Some(protocol) => Some(protocol),
            None => None,
        }
    }

    /// Receives the next message. `None` once the connection is closed or the session has ended.
    ///
    /// The client's close frame is a message too. When this returns it, it is answered and the session has ended, so
    /// the socket may be dropped.
    ///
    /// # Errors
    ///
    /// If the connection failed, or the client violated the protocol. The source is a
    /// [`WebSocketError`](crate::WebSocketError). No further message is received. A violation is reported to the client
    /// by a close frame (1002, 1007 or 1009), at the next call or when the socket is dropped. Until then, the session
    /// goes on, and the handler may send messages.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no message is lost.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.shared.poll_next(cx)).await
    }

    /// Sends a message and flushes it.
    ///
    /// # Errors
    ///
    /// If the connection is closed or has failed, a ping, pong or close reason is too long for its frame, or the
    /// session has ended. In that case, the source is a [`SessionEnded`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message is queued completely or not at all. A queued message is sent by the next
    /// send or flush.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| self.shared.poll_send(cx, &mut message)).await
    }
}

impl<C: Send + Sync + 'static> AuthenticatedSocket<C> {
    /// Replaces the token of the session; see [`Session::refresh`].
    ///
    /// # Errors
    ///
    /// If the session is not refreshed. It is unchanged then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session is refreshed completely or not at all.
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
        self.shared.on_socket_dropped();
    }
}

// By hand: buffers may hold secrets.
impl<C> fmt::Debug for AuthenticatedSocket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedSocket").field("session", &self.session).finish_non_exhaustive()
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::{AuthenticatedSocket, Supervisor};

    /// Each socket has a task, which holds the supervisor. The future of its handler holds the socket, often twice.
    #[test]
    fn sockets_and_supervisors_are_small() {
        assert_eq!(size_of::<AuthenticatedSocket<()>>(), 24);
        assert!(size_of::<Supervisor<()>>() <= 216, "{}", size_of::<Supervisor<()>>());
    }
}
