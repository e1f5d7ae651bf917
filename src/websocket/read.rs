use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use axum::{body::Bytes, extract::ws::Message};
use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    Error, State, WebSocket, WebSocketErrorKind,
    decoder::{Decoder, close_payload},
    read_ahead::ReadAhead,
    scratch::Scratch,
    write::Side,
};

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

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
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
            match ready!(read)? {
                Read::Message(message) => return Poll::Ready(Ok(Some(message))),
                Read::More => {}
                Read::End if self.state == State::Closing => return Poll::Ready(Ok(None)),
                Read::End => return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            }
        }
    }

    fn decode_ahead(&mut self) -> Result<Option<Message>, Error> {
        let Some(ahead) = &mut self.read_ahead else { return Ok(None) };
        let (taken, decoded) = decode(&mut self.decoder, &mut self.ration, ahead.bytes());
        ahead.advance(taken);
        if ahead.is_empty() {
            self.read_ahead = None;
        }
        decoded
    }

    /// Through the scratch of the thread.
    fn poll_read_scratch(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, Error>> {
        let mut scratch = Scratch::take();
        let most = self.ration.map_or(scratch.len(), |ration| scratch.len().min(ration));
        if most == 0 {
            return Poll::Ready(Err(Error::too_large()));
        }
        let mut buffer = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled_mut();
        let len = bytes.len();
        if len == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        let (taken, decoded) = decode(&mut self.decoder, &mut self.ration, bytes);
        self.read_ahead = ReadAhead::new(scratch, taken, len).map(Box::new);
        Poll::Ready(Ok(decoded?.map_or(Read::More, Read::Message)))
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
        self.read_ahead = None;
    }

    /// Reads and drops what arrives, up to the client's close frame if frames can still be told apart. For use when nothing
    /// more is received.
    ///
    /// A connection that is dropped while bytes are unread is reset, and a reset may overtake a close frame that was sent.
    pub(crate) fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Skipped>> {
        if !self.is_unintelligible {
            self.decoder.skip();
        }
        if let Some(mut ahead) = self.read_ahead.take() {
            return Poll::Ready(Ok(self.skip(ahead.bytes())));
        }
        let mut scratch = Scratch::take();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled_mut();
        Poll::Ready(Ok(if bytes.is_empty() { Skipped::End } else { self.skip(bytes) }))
    }

    fn skip(&mut self, bytes: &mut [u8]) -> Skipped {
        if !self.is_unintelligible {
            match self.decoder.decode(bytes).1 {
                Ok(Some(_)) => return Skipped::End,
                Ok(None) => {}
                Err(_) => self.unread(),
            }
        }
        Skipped::Bytes { skipped: bytes.len(), announced: self.decoder.left() }
    }
}

/// Decodes, within the ration. Returns how many bytes were taken.
fn decode(
    decoder: &mut Decoder,
    ration: &mut Option<usize>,
    bytes: &mut [u8],
) -> (usize, Result<Option<Message>, Error>) {
    let most = ration.map_or(bytes.len(), |ration| ration.min(bytes.len()));
    let (taken, message) = decoder.decode(bytes.get_mut(..most).unwrap_or_default());
    if let Some(ration) = ration {
        *ration -= taken;
        if *ration == 0 && matches!(message, Ok(None)) {
            return (taken, Err(Error::too_large()));
        }
    }
    (taken, message)
}
