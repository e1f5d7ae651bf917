//! Decodes bytes into messages, without I/O.

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message},
};

use super::{
    Error, Limits,
    frame::{Frame, MAX_HEADER, OpCode},
    partial_message::{PartialMessage, additional_capacity, decode_whole},
};

/// Decodes what a client sends, in chunks of any length.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) limits: Limits,
    /// The start of an incomplete header.
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// See [`discard`](Self::discard).
    is_discarding: bool,
    /// The current frame.
    frame: Option<Frame>,
    /// The message that the data frames so far belong to. Boxed, because an idle socket has none.
    message: Option<Box<PartialMessage>>,
    /// The start of an incomplete control payload. A control frame may come between the frames of a message.
    #[allow(clippy::box_collection, reason = "it is rare, and a vector is three times as large")]
    control: Option<Box<Vec<u8>>>,
}

/// A binary payload with at least this many missing bytes is read directly into its message. With fewer, a read into
/// the scratch buffer also takes in the next frames.
const MIN_DIRECT_READ: usize = if cfg!(fuzzing) { 256 } else { 32 * 1024 };

impl Decoder {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            header: [0; MAX_HEADER],
            header_len: 0,
            is_discarding: false,
            frame: None,
            message: None,
            control: None,
        }
    }

    /// Decodes up to the end of the next message, or all bytes. Returns how many bytes were consumed, on an error too.
    ///
    /// The bytes are unmasked in place.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> (usize, Result<Option<Message>, Error>) {
        let mut consumed = 0;
        let decoded = self.decode_frames(bytes, &mut consumed);
        (consumed, decoded)
    }

    fn decode_frames(&mut self, bytes: &mut [u8], consumed: &mut usize) -> Result<Option<Message>, Error> {
        loop {
            if self.frame.is_none() {
                let (len, is_complete) = self.decode_header(bytes.get(*consumed..).unwrap_or_default())?;
                *consumed += len;
                if !is_complete {
                    return Ok(None);
                }
            }
            let rest = bytes.get_mut(*consumed..).unwrap_or_default();
            let len = rest.len().min(self.remaining());
            *consumed += len;
            let message = self.decode_payload(rest.get_mut(..len).unwrap_or_default())?;
            if message.is_some() || self.frame.is_some() {
                return Ok(message);
            }
        }
    }

    /// Discards all messages from here on, of any size. The next message returned is a close frame, without its
    /// content.
    pub(super) fn discard(&mut self) {
        self.limits = Limits { max_frame: usize::MAX, max_message: usize::MAX, accept_unmasked: true, ..self.limits };
        (self.message, self.control) = (None, None);
        self.is_discarding = true;
    }

    /// How many bytes of the current frame are missing.
    pub(super) fn remaining(&self) -> usize {
        self.frame.map_or(0, |frame| frame.remaining)
    }

    /// The bytes of memory in use.
    #[cfg(any(fuzzing, test))]
    pub(super) fn capacity(&self) -> usize {
        self.control.as_ref().map_or(0, |control| control.capacity())
            + self.message.as_ref().map_or(0, |message| message.capacity())
    }

    /// Returns how many bytes were consumed, and whether the header is complete.
    fn decode_header(&mut self, bytes: &[u8]) -> Result<(usize, bool), Error> {
        let before = usize::from(self.header_len);
        let parsed = if before == 0 {
            Frame::parse(bytes, &self.limits)?
        } else {
            let len = self.append_to_header(bytes);
            Frame::parse(self.header.get(..len).unwrap_or_default(), &self.limits)?
        };
        let Some((frame, len)) = parsed else {
            // At most `MAX_HEADER`.
            self.header_len = u8::try_from(self.append_to_header(bytes)).unwrap_or(u8::MAX);
            return Ok((bytes.len(), false));
        };
        self.start_frame(frame)?;
        self.header_len = 0;
        Ok((len - before, true))
    }

    /// Copies bytes behind the start of a header. Returns the length with them.
    fn append_to_header(&mut self, bytes: &[u8]) -> usize {
        let before = usize::from(self.header_len);
        for (slot, byte) in self.header.iter_mut().skip(before).zip(bytes) {
            *slot = *byte;
        }
        (before + bytes.len()).min(MAX_HEADER)
    }

    fn start_frame(&mut self, frame: Frame) -> Result<(), Error> {
        if !frame.opcode.is_control() && !self.is_discarding {
            match (frame.opcode, &self.message) {
                (OpCode::Continuation, None) => return Err(Error::protocol("a continuation without a message")),
                (OpCode::Text | OpCode::Binary, Some(_)) => {
                    return Err(Error::protocol("a message starts inside another"));
                }
                _ => {}
            }
            let received = self.message.as_ref().map_or(0, |message| message.len());
            if received.saturating_add(frame.remaining) > self.limits.max_message {
                return Err(Error::too_large());
            }
        }
        self.frame = Some(frame);
        Ok(())
    }

    /// Decodes bytes of the current frame.
    fn decode_payload(&mut self, bytes: &mut [u8]) -> Result<Option<Message>, Error> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        frame.remaining = frame.remaining.saturating_sub(bytes.len());
        let Frame { is_final, opcode, remaining, .. } = *frame;
        if self.is_discarding {
            if remaining == 0 {
                self.frame = None;
            }
            return Ok((remaining == 0 && opcode == OpCode::Close).then_some(Message::Close(None)));
        }
        if opcode.is_control() {
            frame.mask.apply(bytes);
            if remaining > 0 {
                self.control.get_or_insert_default().extend_from_slice(bytes);
                return Ok(None);
            }
            self.frame = None;
            let payload = match self.control.take() {
                None => bytes.to_vec(),
                Some(mut payload) => {
                    payload.extend_from_slice(bytes);
                    *payload
                }
            };
            return control_message(opcode, payload).map(Some);
        }
        let is_text = opcode == OpCode::Text;
        if remaining == 0 && is_final && self.message.is_none() {
            // The usual case: a message in one frame, complete in these bytes.
            let message = decode_whole(is_text, bytes, &mut frame.mask)?;
            self.frame = None;
            return Ok(Some(message));
        }
        let message = self.message.get_or_insert_with(|| Box::new(PartialMessage::new(is_text)));
        message.push(bytes, &mut frame.mask, remaining)?;
        self.end_frame()
    }

    /// Room for the missing bytes of a large binary payload, and how many may be read. As much is reserved as
    /// [`additional_capacity`] allows.
    pub(super) fn direct_read_buffer(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let (Some(frame), Some(PartialMessage::Binary(bytes))) = (&self.frame, self.message.as_deref_mut()) else {
            return None;
        };
        if bytes.capacity() == bytes.len() {
            bytes.reserve_exact(additional_capacity(bytes.len(), 0, frame.remaining));
        }
        let len = (bytes.capacity() - bytes.len()).min(frame.remaining);
        (len >= MIN_DIRECT_READ).then_some((bytes, len))
    }

    /// Decodes the last `len` bytes of the message, which were read into
    /// [`direct_read_buffer`](Self::direct_read_buffer).
    pub(super) fn decode_direct_read(&mut self, len: usize) -> Result<Option<Message>, Error> {
        let (Some(frame), Some(PartialMessage::Binary(bytes))) = (&mut self.frame, self.message.as_deref_mut()) else {
            return Ok(None);
        };
        let start = bytes.len().saturating_sub(len);
        frame.mask.apply(bytes.get_mut(start..).unwrap_or_default());
        frame.remaining = frame.remaining.saturating_sub(len);
        self.end_frame()
    }

    /// Ends the current data frame if it is complete. Returns the message if that is complete too.
    fn end_frame(&mut self) -> Result<Option<Message>, Error> {
        let Some(frame) = self.frame.take_if(|frame| frame.remaining == 0) else { return Ok(None) };
        if !frame.is_final {
            return Ok(None);
        }
        self.message.take().map(|message| message.finish()).transpose()
    }
}

fn control_message(opcode: OpCode, payload: Vec<u8>) -> Result<Message, Error> {
    Ok(match opcode {
        OpCode::Ping => Message::Ping(payload.into()),
        OpCode::Pong => Message::Pong(payload.into()),
        _ => Message::Close(close_frame(&payload)?),
    })
}

/// RFC 6455 §5.5.1 and §7.4.
fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame>, Error> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(Error::protocol("a close frame of one byte"));
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Error::protocol("a close code that must not be sent"));
    }
    let reason = str::from_utf8(reason).map_err(|_| Error::invalid_utf8())?;
    Ok(Some(CloseFrame { code, reason: reason.into() }))
}

/// The payload of a close frame.
pub(super) fn close_payload(frame: Option<&CloseFrame>) -> Bytes {
    let payload = frame.map(|frame| [&frame.code.to_be_bytes(), frame.reason.as_bytes()].concat());
    payload.unwrap_or_default().into()
}
