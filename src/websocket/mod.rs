//! The server side of the WebSocket protocol (RFC 6455), over any byte stream.
//!
//! This module does not know about sessions, tokens or routers. An idle socket owns no buffer, a message being received
//! takes memory in proportion to the bytes that have arrived, and a sent message is freed when it is written.
//!
//! - **Reading** uses one scratch buffer per thread. A large binary payload is read directly into its message.
//! - **Writing** copies a small payload behind its header. A large payload is written from its own buffer, together
//!   with its header, if the connection supports vectored writes.
//! - **Responses** of the protocol are automatic: a pong to the newest ping, a close frame to a close frame, and a
//!   close frame with 1002, 1007 or 1009 to a client that violates the protocol.
//! - **Pings** of the server are sent on demand. The pongs to them are not received as messages.
//!
//! Extensions are not supported, so reserved bits are a protocol error. A handshake must not negotiate any.

mod decoder;
mod error;
mod frame;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod partial_message;
mod read;
mod read_ahead;
mod scratch;
#[cfg(test)]
mod tests;
mod write;
mod write_buffer;

use std::{fmt, mem, task::Waker};

use tokio::io::{AsyncRead, AsyncWrite};

pub use error::{WebSocketError, WebSocketErrorKind};

pub(crate) use read::Discarded;

use WebSocketError as Error;
use decoder::Decoder;
use read_ahead::ReadAhead;
use write_buffer::WriteBuffer;

/// What a socket accepts, and how much it buffers before it writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The maximum payload of a frame, in bytes.
    pub(crate) max_frame: usize,
    /// The maximum size of a message, in bytes, in any number of frames.
    pub(crate) max_message: usize,
    /// Whether frames without a mask are accepted.
    pub(crate) accept_unmasked: bool,
    /// How many unwritten bytes make a sender wait.
    pub(crate) write_buffer: usize,
}

/// One WebSocket.
///
/// All `poll_…` functions are cancel safe. Reading and writing may be polled by different tasks.
pub(crate) struct WebSocket<S> {
    io: S,
    state: State,
    /// The code of the close frame that reports a protocol violation. Once this is set, no message is received.
    violation: Option<u16>,
    activity: Activity,
    /// A ping was sent, and its pong has not arrived yet.
    awaits_pong: bool,
    /// Where the next frame starts is unknown.
    lost_framing: bool,
    decoder: Decoder,
    /// Boxed, because an idle socket has none.
    read_ahead: Option<Box<ReadAhead>>,
    /// How many more bytes may be decoded; see [`set_read_quota`](Self::set_read_quota).
    read_quota: Option<usize>,
    write_buffer: WriteBuffer,
    /// Each waits until the connection is writable.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Whether bytes were received and sent since [`WebSocket::take_activity`].
#[derive(Clone, Copy)]
pub(crate) struct Activity {
    pub(crate) received: bool,
    pub(crate) sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// This side has sent a close frame and waits for the client's.
    CloseSent,
    /// The last frame of this side is being written. No message is received.
    Closing,
    Closed,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_frame: 16 << 20, max_message: 16 << 20, accept_unmasked: false, write_buffer: 128 << 10 }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// A socket whose handshake is complete.
    pub(crate) const fn new(io: S, limits: Limits) -> Self {
        Self {
            io,
            state: State::Open,
            violation: None,
            activity: Activity { received: false, sent: false },
            awaits_pong: false,
            lost_framing: false,
            decoder: Decoder::new(limits),
            read_ahead: None,
            read_quota: None,
            write_buffer: WriteBuffer::new(),
            reader: None,
            writer: None,
        }
    }

    /// Sets the limits, from the next frame on.
    pub(crate) const fn set_limits(&mut self, limits: Limits) {
        self.decoder.limits = limits;
    }

    /// Sets how many more bytes may be received in all, in any frames, headers included. It also bounds the memory for
    /// them. A client that exceeds the quota is closed with 1009. `None` removes it.
    pub(crate) const fn set_read_quota(&mut self, bytes: Option<usize>) {
        self.read_quota = bytes;
    }

    /// Whether the closing handshake has begun, and something is left to do: a close frame is unwritten, or the client
    /// has not answered it.
    pub(crate) const fn is_closing(&self) -> bool {
        match self.state {
            State::Open => self.has_failed(),
            State::CloseSent => true,
            State::Closing => self.has_unwritten(),
            State::Closed => false,
        }
    }

    /// Whether the client violated the protocol. The close frame that reports it may be unwritten.
    pub(crate) const fn has_failed(&self) -> bool {
        self.violation.is_some()
    }

    /// Whether a close frame from the client can still be recognized. It cannot if framing is lost, or if the close
    /// frame itself may have been the violation.
    pub(crate) fn can_receive_close(&self) -> bool {
        !self.lost_framing && self.violation != Error::invalid_utf8().close_code()
    }

    pub(crate) const fn activity(&self) -> Activity {
        self.activity
    }

    pub(crate) const fn take_activity(&mut self) -> Activity {
        mem::replace(&mut self.activity, Activity { received: false, sent: false })
    }

    /// Whether [`poll_next`](Self::poll_next) has returned its last message.
    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Closed
    }

    /// The bytes of memory in use.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn capacity(&self) -> usize {
        let read_ahead = self.read_ahead.as_ref().map_or(0, |read_ahead| read_ahead.capacity());
        self.decoder.capacity() + read_ahead + self.write_buffer.capacity()
    }
}

// By hand: buffers may hold secrets.
impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("state", &self.state).finish_non_exhaustive()
    }
}
