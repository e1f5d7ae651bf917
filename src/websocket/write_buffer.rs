//! What is to be written.

use std::{io::IoSlice, mem};

use axum::{body::Bytes, extract::ws::Message};
use bytes::Buf;

use super::{
    Error,
    decoder::close_payload,
    frame::{MAX_CONTROL, MAX_UNMASKED_HEADER, OpCode, write_header},
    scratch::{return_vec, take_vec},
};

/// Whole frames, of which the first may be written in part. An empty buffer owns no memory. What is rare is boxed,
/// because every socket has this.
#[derive(Debug)]
pub(super) struct WriteBuffer {
    /// Encoded frames, and then the header of `payload`.
    encoded: Vec<u8>,
    /// How many bytes of `encoded` are written.
    written: usize,
    /// A large payload, written from its own buffer.
    payload: Option<Box<Bytes>>,
    /// The response to the newest ping. RFC 6455 §5.5.3 lets a server omit the others. A client that sends pings and
    /// does not read must not cost memory.
    pong: Option<Box<Bytes>>,
    /// A ping of this side. There is only one: a client that does not read must not cost memory.
    has_ping: bool,
    /// Written behind everything else.
    close: Option<Box<Bytes>>,
    /// A ping, pong or close frame is encoded and not flushed yet.
    has_unflushed_response: bool,
}

/// A payload of at least this size is not copied, if the connection supports vectored writes.
const MIN_VECTORED: usize = 16 * 1024;
/// The payload of a ping, by which its pong is recognized. Applications often use an empty one.
pub(super) const PING_PAYLOAD: &[u8] = b"keep-alive";
/// A ping or pong waits until fewer bytes than this are unwritten.
const MAX_BEFORE_PONG: usize = 1024;
/// The maximum length of a write that is not vectored. Over HTTP/2, hyper copies it, and keeps the copy until the
/// client opens its window, even if the connection is dropped here.
const MAX_WRITE: usize = 16 * 1024;

impl WriteBuffer {
    pub(super) const fn new() -> Self {
        Self {
            encoded: Vec::new(),
            written: 0,
            payload: None,
            pong: None,
            has_ping: false,
            close: None,
            has_unflushed_response: false,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.encoded.is_empty()
            && self.payload.is_none()
            && self.pong.is_none()
            && !self.has_ping
            && self.close.is_none()
    }

    /// Whether there is a response that only the reader writes.
    pub(super) const fn has_response(&self) -> bool {
        self.has_unflushed_response || self.pong.is_some() || self.has_ping || self.close.is_some()
    }

    /// How many encoded bytes are unwritten.
    pub(super) fn len(&self) -> usize {
        self.encoded.len() - self.written + self.payload_len()
    }

    fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }

    /// Adds a message. `is_vectored` says whether the connection supports vectored writes.
    pub(super) fn push(&mut self, message: Message, is_vectored: bool) -> Result<(), Error> {
        match message {
            Message::Text(text) => self.push_frame(OpCode::Text, text.into(), is_vectored),
            Message::Binary(bytes) => self.push_frame(OpCode::Binary, bytes, is_vectored),
            Message::Ping(bytes) => self.push_control(OpCode::Ping, bytes)?,
            Message::Pong(bytes) => self.push_control(OpCode::Pong, bytes)?,
            Message::Close(frame) => {
                self.push_control(OpCode::Close, close_payload(frame.as_ref()))?;
                // RFC 6455 §5.5.1: no frame follows a close frame.
                self.pong = None;
                self.has_ping = false;
            }
        }
        Ok(())
    }

    fn push_control(&mut self, opcode: OpCode, payload: Bytes) -> Result<(), Error> {
        if payload.len() > MAX_CONTROL {
            return Err(Error::long_control_frame());
        }
        self.push_frame(opcode, payload, false);
        Ok(())
    }

    fn push_frame(&mut self, opcode: OpCode, payload: Bytes, is_vectored: bool) {
        if let Some(before) = self.payload.take() {
            // It precedes this frame.
            self.encoded.extend_from_slice(&before);
        }
        let is_copied = payload.len() < MIN_VECTORED || !is_vectored;
        let len = MAX_UNMASKED_HEADER + if is_copied { payload.len() } else { 0 };
        if self.encoded.is_empty() {
            self.encoded = take_vec(len);
        } else {
            self.encoded.reserve(len);
        }
        write_header(&mut self.encoded, opcode, payload.len());
        if is_copied {
            self.encoded.extend_from_slice(&payload);
        } else {
            self.payload = Some(Box::new(payload));
        }
    }

    /// Sets the response to a ping. It replaces the response to an earlier one.
    pub(super) fn set_pong(&mut self, payload: Bytes) {
        self.pong = Some(Box::new(payload));
    }

    pub(super) const fn set_ping(&mut self) {
        self.has_ping = true;
    }

    /// Sets the close frame, which is the last frame.
    pub(super) fn set_close(&mut self, payload: Bytes) {
        self.pong = None;
        self.has_ping = false;
        self.close = Some(Box::new(payload));
    }

    /// Encodes the responses for which there is room.
    pub(super) fn encode_responses(&mut self) {
        if self.len() < MAX_BEFORE_PONG
            && let Some(pong) = self.pong.take()
        {
            self.push_frame(OpCode::Pong, *pong, false);
            self.has_unflushed_response = true;
        }
        if self.has_ping && self.len() < MAX_BEFORE_PONG {
            self.has_ping = false;
            self.push_frame(OpCode::Ping, Bytes::from_static(PING_PAYLOAD), false);
            self.has_unflushed_response = true;
        }
        if self.payload.is_none()
            && let Some(close) = self.close.take()
        {
            self.push_frame(OpCode::Close, *close, false);
            self.has_unflushed_response = true;
        }
    }

    /// The next bytes for a write that is not vectored.
    pub(super) fn next_slice(&self) -> &[u8] {
        let encoded = self.unwritten();
        encoded.get(..MAX_WRITE).unwrap_or(encoded)
    }

    /// The next bytes for a vectored write, if there is a large payload.
    pub(super) fn next_slices(&self) -> Option<[IoSlice<'_>; 2]> {
        self.payload.as_ref().map(|payload| [IoSlice::new(self.unwritten()), IoSlice::new(payload)])
    }

    fn unwritten(&self) -> &[u8] {
        self.encoded.get(self.written..).unwrap_or_default()
    }

    /// Removes bytes that were written.
    pub(super) fn advance(&mut self, len: usize) {
        let of_encoded = len.min(self.encoded.len() - self.written);
        self.written += of_encoded;
        if let Some(payload) = &mut self.payload {
            payload.advance((len - of_encoded).min(payload.len()));
            if payload.is_empty() {
                self.payload = None;
            }
        }
        if self.written == self.encoded.len() {
            return_vec(mem::take(&mut self.encoded));
            self.written = 0;
        }
    }

    /// Everything is written and flushed.
    pub(super) fn set_flushed(&mut self) {
        self.has_unflushed_response = false;
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn capacity(&self) -> usize {
        self.encoded.capacity() + self.payload_len()
    }
}
