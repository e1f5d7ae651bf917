//! Receiving.

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
    write_buffer::PING_PAYLOAD,
};

/// What was read and discarded.
pub(crate) enum Discarded {
    /// Some bytes, and how many bytes of the current frame are missing.
    Bytes { len: usize, remaining: usize },
    /// The client's close frame, or the end of the stream.
    End,
}

/// The result of one read.
enum Read {
    Message(Message),
    Incomplete,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Receives a message, and writes pending responses. `None` after the closing handshake.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if let (State::Open, Some(code)) = (self.state, self.violation) {
                self.write_buffer.set_close(Bytes::copy_from_slice(&code.to_be_bytes()));
                self.state = State::Closing;
            }
            match self.state {
                State::Closed => return Poll::Ready(None),
                State::CloseSent if self.has_failed() => self.state = State::Closing,
                State::Closing => {
                    // If the write fails, the client is gone.
                    let _ = ready!(self.poll_write(cx, Side::Reader));
                    self.state = State::Closed;
                }
                State::Open | State::CloseSent => {
                    if self.write_buffer.has_response()
                        && let Poll::Ready(Err(error)) = self.poll_write(cx, Side::Reader)
                    {
                        return Poll::Ready(Some(Err(self.fail(error))));
                    }
                    match ready!(self.poll_message(cx)) {
                        Ok(Some(message)) => {
                            if self.is_own_pong(&message) {
                                continue;
                            }
                            self.respond_to(&message);
                            return Poll::Ready(Some(Ok(message)));
                        }
                        Ok(None) => self.state = State::Closed,
                        Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
                    }
                }
            }
        }
    }

    /// The next message. `None` if the stream ends after a close frame of this side.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        loop {
            if let Some(message) = self.decode_read_ahead()? {
                return Poll::Ready(Ok(Some(message)));
            }
            let read = if self.read_quota.is_none() && self.decoder.direct_read_buffer().is_some() {
                self.poll_read_direct(cx)
            } else {
                self.poll_read_scratch(cx)
            };
            match ready!(read)? {
                Read::Message(message) => return Poll::Ready(Ok(Some(message))),
                Read::Incomplete => {}
                Read::End if self.state == State::CloseSent => return Poll::Ready(Ok(None)),
                Read::End => return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            }
        }
    }

    fn decode_read_ahead(&mut self) -> Result<Option<Message>, Error> {
        let Some(read_ahead) = &mut self.read_ahead else { return Ok(None) };
        let (consumed, decoded) = decode(&mut self.decoder, &mut self.read_quota, read_ahead.bytes());
        read_ahead.advance(consumed);
        if read_ahead.is_empty() {
            self.read_ahead = None;
        }
        decoded
    }

    /// Reads into the scratch buffer of the thread.
    fn poll_read_scratch(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, Error>> {
        let mut scratch = Scratch::take();
        let max = self.read_quota.map_or(scratch.len(), |quota| scratch.len().min(quota));
        if max == 0 {
            return Poll::Ready(Err(Error::too_large()));
        }
        let mut buffer = ReadBuf::new(scratch.get_mut(..max).unwrap_or_default());
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled_mut();
        let len = bytes.len();
        if len == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        self.activity.received = true;
        let (consumed, decoded) = decode(&mut self.decoder, &mut self.read_quota, bytes);
        self.read_ahead = ReadAhead::new(scratch, consumed, len).map(Box::new);
        Poll::Ready(Ok(decoded?.map_or(Read::Incomplete, Read::Message)))
    }

    /// Reads into a large message.
    fn poll_read_direct(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, Error>> {
        let Some((bytes, max)) = self.decoder.direct_read_buffer() else { return Poll::Ready(Ok(Read::Incomplete)) };
        let mut buffer = bytes.limit(max);
        let len = ready!(pin!(self.io.read_buf(&mut buffer)).poll(cx))?;
        if len == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        self.activity.received = true;
        let message = self.decoder.decode_direct_read(len)?;
        Poll::Ready(Ok(message.map_or(Read::Incomplete, Read::Message)))
    }

    /// Whether this is the pong to the ping of [`ping`](Self::ping): one for each, so that a client cannot keep the
    /// reader busy with them.
    fn is_own_pong(&mut self, message: &Message) -> bool {
        let is_own = self.awaits_pong && matches!(message, Message::Pong(payload) if *payload == PING_PAYLOAD);
        self.awaits_pong &= !is_own;
        is_own
    }

    /// Prepares the response of the protocol to a message.
    fn respond_to(&mut self, message: &Message) {
        match message {
            Message::Ping(payload) if self.state == State::Open => self.write_buffer.set_pong(payload.clone()),
            Message::Close(frame) => {
                if self.state == State::Open {
                    // An echo of the client's (RFC 6455 §5.5.1).
                    self.write_buffer.set_close(close_payload(frame.as_ref()));
                }
                self.state = State::Closing;
                self.stop_decoding();
            }
            _ => {}
        }
    }

    /// Stops receiving. The next [`poll_next`](Self::poll_next) reports a violation to the client. Until then, other
    /// messages can be sent.
    fn fail(&mut self, error: Error) -> Error {
        match error.close_code() {
            Some(code) if self.state == State::Open => self.violation = Some(code),
            _ => self.state = State::Closed,
        }
        match error.kind() {
            // The end of the frame is still known.
            WebSocketErrorKind::TooLarge | WebSocketErrorKind::InvalidUtf8 => self.decoder.discard(),
            _ => self.stop_decoding(),
        }
        error
    }

    fn stop_decoding(&mut self) {
        self.lost_framing = true;
        self.decoder = Decoder::new(self.decoder.limits);
        self.read_ahead = None;
    }

    /// Reads and discards bytes, up to the client's close frame if framing is intact. For use after the last message.
    ///
    /// A connection that is dropped with unread bytes is reset, and a reset may overtake a close frame.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Discarded>> {
        if !self.lost_framing {
            self.decoder.discard();
        }
        if let Some(mut read_ahead) = self.read_ahead.take() {
            return Poll::Ready(Ok(self.discard(read_ahead.bytes())));
        }
        let mut scratch = Scratch::take();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled_mut();
        Poll::Ready(Ok(if bytes.is_empty() { Discarded::End } else { self.discard(bytes) }))
    }

    fn discard(&mut self, bytes: &mut [u8]) -> Discarded {
        if !self.lost_framing {
            match self.decoder.decode(bytes).1 {
                Ok(Some(_)) => return Discarded::End,
                Ok(None) => {}
                Err(_) => self.stop_decoding(),
            }
        }
        Discarded::Bytes { len: bytes.len(), remaining: self.decoder.remaining() }
    }
}

/// Decodes within the quota. Returns how many bytes were consumed.
fn decode(
    decoder: &mut Decoder,
    quota: &mut Option<usize>,
    bytes: &mut [u8],
) -> (usize, Result<Option<Message>, Error>) {
    let max = quota.map_or(bytes.len(), |quota| quota.min(bytes.len()));
    let (consumed, decoded) = decoder.decode(bytes.get_mut(..max).unwrap_or_default());
    if let Some(quota) = quota {
        *quota -= consumed;
        if *quota == 0 && matches!(decoded, Ok(None)) {
            return (consumed, Err(Error::too_large()));
        }
    }
    (consumed, decoded)
}
