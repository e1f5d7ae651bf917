//! The server's side of the WebSocket protocol (RFC 6455), over any byte stream.
//!
//! It knows nothing of sessions, tokens or routers. Its rule is that memory follows bytes: between messages a socket owns no
//! buffer, a message takes what has arrived of it, and what is sent is freed when it is written.
//!
//! - **Reading** goes through a scratch buffer of the thread. A large binary payload is read straight into its message.
//! - **Writing** copies small payloads behind their headers. A large one is written from where it is, beside its header,
//!   where the connection can write two pieces at once.
//! - **Answers** are sent by themselves: a pong to the newest ping, a close frame to a close frame, and one with 1002, 1007 or
//!   1009 to a client that breaks the protocol.
//!
//! There are no extensions, so a reserved bit is a fault. A handshake must not accept any.

mod decoder;
mod error;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod outbox;
mod partial;
mod read;
mod read_ahead;
mod scratch;
#[cfg(test)]
mod tests;
mod write;

use std::{fmt, task::Waker};

use tokio::io::{AsyncRead, AsyncWrite};

pub use error::{WebSocketError, WebSocketErrorKind};

pub(crate) use read::Skipped;

use WebSocketError as Error;
use decoder::Decoder;
use outbox::Outbox;
use read_ahead::ReadAhead;

/// What a socket accepts, and how much it gathers before it writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes of a frame's payload.
    pub(crate) max_frame: usize,
    /// The most bytes of a message, in however many frames.
    pub(crate) max_message: usize,
    /// Whether frames without a mask are accepted.
    pub(crate) accept_unmasked: bool,
    /// How many bytes wait to be written before a sender has to wait.
    pub(crate) write_buffer: usize,
}

/// One WebSocket.
///
/// All `poll_…` functions are cancel safe. Reading and writing may be polled by different tasks.
pub(crate) struct WebSocket<S> {
    io: S,
    state: State,
    decoder: Decoder,
    /// The client broke the protocol, and this is the code that tells it so. Nothing more is read.
    failed: Option<u16>,
    /// Not even frames can be told apart any more.
    is_unintelligible: bool,
    read_ahead: Option<Box<ReadAhead>>,
    /// How many more bytes may be decoded; see [`ration`](Self::ration).
    ration: Option<usize>,
    outbox: Outbox,
    /// Each waits until something can be written.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// This side has sent a close frame, and waits for the other's.
    Closing,
    /// The last frame of this side is to be written, and then nothing more happens.
    Ending,
    Done,
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
            decoder: Decoder::new(limits),
            failed: None,
            is_unintelligible: false,
            read_ahead: None,
            ration: None,
            outbox: Outbox::new(),
            reader: None,
            writer: None,
        }
    }

    /// Sets other limits, from the next frame on.
    pub(crate) const fn set_limits(&mut self, limits: Limits) {
        self.decoder.limits = limits;
    }

    /// Sets how many bytes in all may be read from here on, of whatever frames. No more than that is held in memory. Beyond
    /// it, the client is told that its message is too large. `None` takes the ration away.
    pub(crate) const fn ration(&mut self, bytes: Option<usize>) {
        self.ration = bytes;
    }

    /// Whether the client broke the protocol. The close frame that tells it so may not be written yet.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether there is no close frame of the client to wait for: frames cannot be told apart any more, or it may have been the
    /// fault itself.
    pub(crate) fn awaits_no_close(&self) -> bool {
        self.is_unintelligible || self.failed == Error::invalid_utf8().close_code()
    }

    /// Whether [`poll_next`](Self::poll_next) has returned its last message.
    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes of memory are held.
    #[cfg(fuzzing)]
    pub(crate) fn capacity(&self) -> usize {
        let read_ahead = self.read_ahead.as_ref().map_or(0, |ahead| ahead.capacity());
        self.decoder.capacity() + read_ahead + self.outbox.capacity()
    }
}

// By hand: what is buffered is nobody's business.
impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("state", &self.state).finish_non_exhaustive()
    }
}
