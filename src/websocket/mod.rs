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
mod outbox;
mod partial;
mod scratch;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message},
};
use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

pub use error::{WebSocketError, WebSocketErrorKind};

use WebSocketError as Error;
use decoder::{Decoder, close_payload};
use outbox::Outbox;

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
    /// Read and not decoded: what came behind a message.
    ahead: Vec<u8>,
    ahead_taken: usize,
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

/// Who polls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Reader,
    Writer,
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
            ahead: Vec::new(),
            ahead_taken: 0,
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

    /// Whether [`poll_next`](Self::poll_next) has returned its last message.
    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Done
    }

    /// Receives a message, and writes the answers that are due. `None` after the closing handshake.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if let (State::Open, Some(code)) = (self.state, self.failed) {
                self.outbox.close(Bytes::copy_from_slice(&code.to_be_bytes()));
                self.state = State::Ending;
            }
            match self.state {
                State::Done => return Poll::Ready(None),
                State::Closing if self.has_failed() => self.state = State::Ending,
                State::Ending => {
                    // Who cannot be reached needs no answer.
                    let _ = ready!(self.poll_write(cx, Side::Reader));
                    self.state = State::Done;
                }
                State::Open | State::Closing => {
                    if self.outbox.has_answer()
                        && let Poll::Ready(Err(error)) = self.poll_write(cx, Side::Reader)
                    {
                        return Poll::Ready(Some(Err(self.fail(error))));
                    }
                    match ready!(self.poll_decode(cx)) {
                        Ok(Some(message)) => {
                            self.answer(&message);
                            return Poll::Ready(Some(Ok(message)));
                        }
                        Ok(None) => self.state = State::Done,
                        Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
                    }
                }
            }
        }
    }

    /// The next message, or `None` at the end of a connection that this side has closed.
    fn poll_decode(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        loop {
            if let Some(message) = self.decode_ahead()? {
                return Poll::Ready(Ok(Some(message)));
            }
            let read = if self.ration.is_none() && self.decoder.direct().is_some() {
                self.poll_read_direct(cx)
            } else {
                self.poll_read_scratch(cx)
            };
            let Poll::Ready(read) = read else {
                self.ahead = Vec::new();
                return Poll::Pending;
            };
            match read? {
                Read::Message(message) => return Poll::Ready(Ok(Some(message))),
                Read::More => {}
                Read::End if self.state == State::Closing => return Poll::Ready(Ok(None)),
                Read::End => return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            }
        }
    }

    fn decode_ahead(&mut self) -> Result<Option<Message>, Error> {
        if self.ahead.is_empty() {
            return Ok(None);
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        let rest = ahead.get_mut(self.ahead_taken..).unwrap_or_default();
        let decoded = decode(&mut self.decoder, &mut self.ration, rest);
        self.ahead_taken += self.decoder.taken();
        if self.ahead_taken >= ahead.len() {
            self.ahead_taken = 0;
            // Its memory is kept for as long as there is something to read.
            ahead.clear();
        }
        self.ahead = ahead;
        decoded
    }

    /// Through the scratch of the thread.
    fn poll_read_scratch(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, Error>> {
        scratch::with(|scratch| {
            let most = self.ration.map_or(scratch.len(), |ration| scratch.len().min(ration));
            if most == 0 {
                return Poll::Ready(Err(Error::too_large()));
            }
            let mut buffer = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled_mut();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Read::End));
            }
            let decoded = decode(&mut self.decoder, &mut self.ration, bytes);
            self.ahead.extend_from_slice(bytes.get(self.decoder.taken()..).unwrap_or_default());
            Poll::Ready(Ok(decoded?.map_or(Read::More, Read::Message)))
        })
    }

    /// Straight into a large message.
    fn poll_read_direct(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, Error>> {
        let Some((bytes, most)) = self.decoder.direct() else { return Poll::Ready(Ok(Read::More)) };
        let mut room = bytes.limit(most);
        let len = ready!(pin!(self.io.read_buf(&mut room)).poll(cx))?;
        if len == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        let message = self.decoder.direct_read(len)?;
        Poll::Ready(Ok(message.map_or(Read::More, Read::Message)))
    }

    /// Prepares what the protocol answers to a message.
    fn answer(&mut self, message: &Message) {
        match message {
            Message::Ping(payload) if self.state == State::Open => self.outbox.pong(payload.clone()),
            Message::Close(frame) => {
                if self.state == State::Open {
                    // The same as came (RFC 6455 §5.5.1).
                    self.outbox.close(close_payload(frame.as_ref()));
                }
                self.state = State::Ending;
                self.unread();
            }
            _ => {}
        }
    }

    /// Nothing more is received. A client that broke the protocol is told so by the next [`poll_next`](Self::poll_next), unless
    /// something else is sent before.
    fn fail(&mut self, error: Error) -> Error {
        match error.close_code() {
            Some(code) if self.state == State::Open => self.failed = Some(code),
            _ => self.state = State::Done,
        }
        match error.kind() {
            // Where frames begin and end is still known.
            WebSocketErrorKind::TooLarge | WebSocketErrorKind::InvalidUtf8 => self.decoder.skip(),
            _ => self.unread(),
        }
        error
    }

    /// Nothing more is decoded.
    fn unread(&mut self) {
        self.is_unintelligible = true;
        self.decoder = Decoder::new(self.decoder.limits);
        (self.ahead, self.ahead_taken) = (Vec::new(), 0);
    }

    /// Whether another message may be sent. Writes, if too much waits to be written.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state != State::Open {
            return Poll::Ready(Err(Error::closed()));
        }
        while self.outbox.len() >= self.decoder.limits.write_buffer.max(1) {
            ready!(self.poll_write_some(cx, Side::Writer))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a message to be written by [`poll_flush`](Self::poll_flush).
    pub(crate) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        if self.state != State::Open {
            return Err(Error::closed());
        }
        let is_close = matches!(message, Message::Close(_));
        self.outbox.push(message, self.io.is_write_vectored())?;
        if is_close {
            self.state = State::Closing;
        }
        Ok(())
    }

    /// Writes everything.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Side::Writer)
    }

    /// Sends a close frame unless one was sent, writes everything, and ends the writing side of the connection.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state == State::Open {
            self.outbox.close(close_payload(Some(&CloseFrame { code: 1000, reason: "".into() })));
            self.state = State::Closing;
        }
        ready!(self.poll_write(cx, Side::Writer))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(Error::from)
    }

    /// Reads and drops what arrives, up to the client's close frame if frames can still be told apart. For use when nothing
    /// more is received.
    ///
    /// A connection that is dropped while bytes are unread is reset, and a reset may overtake a close frame that was sent.
    pub(crate) fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Skipped>> {
        if !self.is_unintelligible {
            self.decoder.skip();
        }
        if !self.ahead.is_empty() {
            let mut ahead = std::mem::take(&mut self.ahead);
            return Poll::Ready(Ok(self.skip(ahead.get_mut(self.ahead_taken..).unwrap_or_default())));
        }
        scratch::with(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled_mut();
            Poll::Ready(Ok(if bytes.is_empty() { Skipped::End } else { self.skip(bytes) }))
        })
    }

    fn skip(&mut self, bytes: &mut [u8]) -> Skipped {
        if !self.is_unintelligible {
            match self.decoder.decode(bytes) {
                Ok((_, Some(_))) => return Skipped::End,
                Ok((_, None)) => {}
                Err(_) => self.unread(),
            }
        }
        Skipped::Bytes { skipped: bytes.len(), announced: self.decoder.left() }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<Result<(), Error>> {
        loop {
            self.outbox.encode_answers();
            if self.outbox.is_empty() {
                break;
            }
            ready!(self.poll_write_some(cx, side))?;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.outbox.settle();
        // The other side may wait for the same.
        let (own, other) = self.waiting(side);
        *own = None;
        if let Some(other) = other.take() {
            other.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<io::Result<()>> {
        // The connection has room for one waker, and both sides may wait to write.
        let (_, other) = self.waiting(side);
        let both = other.as_ref().filter(|other| !other.will_wake(cx.waker()));
        let both = both.map(|other| Waker::from(Arc::new(Both(other.clone(), cx.waker().clone()))));
        let mut writing = Context::from_waker(both.as_ref().unwrap_or(cx.waker()));
        let io = Pin::new(&mut self.io);
        let polled = match self.outbox.pieces() {
            Some(pieces) => io.poll_write_vectored(&mut writing, &pieces),
            None => io.poll_write(&mut writing, self.outbox.piece()),
        };
        let Poll::Ready(len) = polled else {
            let (own, _) = self.waiting(side);
            match own {
                Some(own) => own.clone_from(cx.waker()),
                None => *own = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        match len? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            len => {
                self.outbox.advance(len);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// The wakers of this side and the other.
    const fn waiting(&mut self, side: Side) -> (&mut Option<Waker>, &mut Option<Waker>) {
        match side {
            Side::Reader => (&mut self.reader, &mut self.writer),
            Side::Writer => (&mut self.writer, &mut self.reader),
        }
    }
}

/// What was read and dropped.
pub(crate) enum Skipped {
    /// So many bytes, and so many are still to come of the present frame.
    Bytes { skipped: usize, announced: usize },
    /// The client's close frame, or the end of the connection.
    End,
}

/// What came of a read.
enum Read {
    Message(Message),
    More,
    End,
}

/// Decodes, within the ration.
fn decode(decoder: &mut Decoder, ration: &mut Option<usize>, bytes: &mut [u8]) -> Result<Option<Message>, Error> {
    let most = ration.map_or(bytes.len(), |ration| ration.min(bytes.len()));
    let (taken, message) = decoder.decode(bytes.get_mut(..most).unwrap_or_default())?;
    if let Some(ration) = ration {
        *ration -= taken;
        if message.is_none() && *ration == 0 {
            return Err(Error::too_large());
        }
    }
    Ok(message)
}

struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}

// By hand: what is buffered is nobody's business.
impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("state", &self.state).finish_non_exhaustive()
    }
}
