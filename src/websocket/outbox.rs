//! What is to be written.

use std::{io::IoSlice, mem};

use axum::{body::Bytes, extract::ws::Message};
use bytes::Buf;

use super::{
    Error,
    decoder::close_payload,
    frame::{MAX_CONTROL, OpCode, write_header},
    scratch::{give_back, spare},
};

/// Whole frames, the first one perhaps written in part. It owns no memory while it is empty. What is rare is boxed, because it
/// is there for every socket.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Encoded frames, and the header of `payload`.
    encoded: Vec<u8>,
    /// How much of that is written.
    written: usize,
    /// A large payload, written from where it is.
    payload: Option<Box<Bytes>>,
    /// The answer to the newest ping. RFC 6455 §5.5.3 lets a server leave out the others, and a client that pings without
    /// reading must not cost memory.
    pong: Option<Box<Bytes>>,
    /// Goes behind everything else.
    close: Option<Box<Bytes>>,
    /// An answer was encoded and is not written yet.
    answering: bool,
}

/// A payload of this size is not copied, where the connection can write two pieces at once.
const LARGE: usize = 16 * 1024;
/// An answer to a ping waits until no more than this is to be written.
const ROOM_FOR_PONG: usize = 1024;
/// What takes one piece at a time copies it. Over HTTP/2, hyper keeps that copy for as long as the client gives no window, even
/// when the connection is dropped here.
const LARGEST_PIECE: usize = 16 * 1024;
/// The longest header of a frame without a mask.
const HEADER: usize = 10;

impl Outbox {
    pub(super) const fn new() -> Self {
        Self { encoded: Vec::new(), written: 0, payload: None, pong: None, close: None, answering: false }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.encoded.is_empty() && self.payload.is_none() && self.pong.is_none() && self.close.is_none()
    }

    /// Whether there is an answer that nobody but the reader writes.
    pub(super) const fn has_answer(&self) -> bool {
        self.answering || self.pong.is_some() || self.close.is_some()
    }

    /// How many bytes are to be written.
    pub(super) fn len(&self) -> usize {
        self.encoded.len() - self.written + self.payload_len()
    }

    fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }

    /// Adds a message. `is_vectored` says whether the connection can write two pieces at once.
    pub(super) fn push(&mut self, message: Message, is_vectored: bool) -> Result<(), Error> {
        match message {
            Message::Text(text) => self.frame(OpCode::Text, text.into(), is_vectored),
            Message::Binary(bytes) => self.frame(OpCode::Binary, bytes, is_vectored),
            Message::Ping(bytes) => self.control(OpCode::Ping, bytes)?,
            Message::Pong(bytes) => self.control(OpCode::Pong, bytes)?,
            Message::Close(frame) => {
                self.control(OpCode::Close, close_payload(frame.as_ref()))?;
                // RFC 6455 §5.5.1: no frame follows a close frame.
                self.pong = None;
            }
        }
        Ok(())
    }

    fn control(&mut self, opcode: OpCode, payload: Bytes) -> Result<(), Error> {
        if payload.len() > MAX_CONTROL {
            return Err(Error::long_control_frame());
        }
        self.frame(opcode, payload, false);
        Ok(())
    }

    fn frame(&mut self, opcode: OpCode, payload: Bytes, is_vectored: bool) {
        if let Some(before) = self.payload.take() {
            // Frames are written in order, so a payload that waits goes before this one.
            self.encoded.extend_from_slice(&before);
        }
        let is_copied = payload.len() < LARGE || !is_vectored;
        let len = HEADER + if is_copied { payload.len() } else { 0 };
        // Most often there is one frame, and what it takes is known.
        if self.encoded.is_empty() {
            self.encoded = spare(len);
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

    /// Answers a ping, instead of the one before if that has no answer yet.
    pub(super) fn pong(&mut self, payload: Bytes) {
        self.pong = Some(Box::new(payload));
    }

    /// Ends with this close frame.
    pub(super) fn close(&mut self, payload: Bytes) {
        self.pong = None;
        self.close = Some(Box::new(payload));
    }

    /// Encodes the answers that there is room for.
    pub(super) fn encode_answers(&mut self) {
        if self.len() < ROOM_FOR_PONG
            && let Some(pong) = self.pong.take()
        {
            self.frame(OpCode::Pong, *pong, false);
            self.answering = true;
        }
        if self.payload.is_none()
            && let Some(close) = self.close.take()
        {
            self.frame(OpCode::Close, *close, false);
            self.answering = true;
        }
    }

    /// What is written next, where it is written in one piece.
    pub(super) fn piece(&self) -> &[u8] {
        let rest = self.encoded();
        rest.get(..LARGEST_PIECE).unwrap_or(rest)
    }

    fn encoded(&self) -> &[u8] {
        self.encoded.get(self.written..).unwrap_or_default()
    }

    /// Both pieces, if there are two.
    pub(super) fn pieces(&self) -> Option<[IoSlice<'_>; 2]> {
        self.payload.as_ref().map(|payload| [IoSlice::new(self.encoded()), IoSlice::new(payload)])
    }

    /// So many bytes were written.
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
            give_back(mem::take(&mut self.encoded));
            self.written = 0;
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn capacity(&self) -> usize {
        self.encoded.capacity() + self.payload_len()
    }

    /// Everything is written.
    pub(super) fn settle(&mut self) {
        self.answering = false;
    }
}
