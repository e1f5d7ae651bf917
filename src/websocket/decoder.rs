//! From bytes to messages. It does no I/O.

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message},
};

use super::{
    Error, Limits,
    frame::{Frame, MAX_HEADER, OpCode},
    partial::{Partial, room},
};

/// Takes in what a client sends, in pieces of any length.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) limits: Limits,
    /// The beginning of a header.
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// Frames are followed and not kept; see [`skip`](Self::skip).
    is_skipping: bool,
    frame: Option<Frame>,
    /// The message that the data frames so far belong to. Boxed, because an idle socket has none.
    message: Option<Box<Partial>>,
    /// The beginning of a control frame's payload, which may come between those.
    #[allow(clippy::box_collection, reason = "it is rare, and a vector is three times as large")]
    control: Option<Box<Vec<u8>>>,
}

/// From this many missing bytes on, a binary payload is read straight into its message. For fewer, a read through the scratch
/// takes in what follows as well.
const DIRECT: usize = if cfg!(fuzzing) { 256 } else { 32 * 1024 };

impl Decoder {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            header: [0; MAX_HEADER],
            header_len: 0,
            is_skipping: false,
            frame: None,
            message: None,
            control: None,
        }
    }

    /// Takes bytes in until there is a message or they are used up. Returns how many it took, also where it fails.
    ///
    /// The bytes are unmasked where they are.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> (usize, Result<Option<Message>, Error>) {
        let mut taken = 0;
        let decoded = self.decode_from(bytes, &mut taken);
        (taken, decoded)
    }

    fn decode_from(&mut self, bytes: &mut [u8], taken: &mut usize) -> Result<Option<Message>, Error> {
        loop {
            if self.frame.is_none() {
                let (len, is_complete) = self.decode_header(bytes.get(*taken..).unwrap_or_default())?;
                *taken += len;
                if !is_complete {
                    return Ok(None);
                }
            }
            let rest = bytes.get_mut(*taken..).unwrap_or_default();
            let len = rest.len().min(self.left());
            *taken += len;
            let message = self.decode_payload(rest.get_mut(..len).unwrap_or_default())?;
            if message.is_some() || self.frame.is_some() {
                return Ok(message);
            }
        }
    }

    /// From here on no message is kept, and none is too large: the next one returned is a close frame, without its content.
    pub(super) fn skip(&mut self) {
        self.limits = Limits { max_frame: usize::MAX, max_message: usize::MAX, accept_unmasked: true, ..self.limits };
        (self.message, self.control) = (None, None);
        self.is_skipping = true;
    }

    /// How many bytes of the present frame are still to come.
    pub(super) fn left(&self) -> usize {
        self.frame.map_or(0, |frame| frame.left)
    }

    /// How many bytes of memory are held.
    #[cfg(fuzzing)]
    pub(super) fn capacity(&self) -> usize {
        self.control.as_ref().map_or(0, |control| control.capacity())
            + self.message.as_ref().map_or(0, |message| message.capacity())
    }

    /// Returns how many bytes it took, and whether the header is complete.
    fn decode_header(&mut self, bytes: &[u8]) -> Result<(usize, bool), Error> {
        let before = usize::from(self.header_len);
        let parsed = if before == 0 {
            Frame::parse(bytes, &self.limits)?
        } else {
            let len = self.keep_header(bytes);
            Frame::parse(self.header.get(..len).unwrap_or_default(), &self.limits)?
        };
        let Some((frame, len)) = parsed else {
            // At most `MAX_HEADER`.
            self.header_len = u8::try_from(self.keep_header(bytes)).unwrap_or(u8::MAX);
            return Ok((bytes.len(), false));
        };
        self.begin(frame)?;
        self.header_len = 0;
        Ok((len - before, true))
    }

    /// Copies bytes behind the beginning of a header. Returns how many there are then.
    fn keep_header(&mut self, bytes: &[u8]) -> usize {
        let before = usize::from(self.header_len);
        for (slot, byte) in self.header.iter_mut().skip(before).zip(bytes) {
            *slot = *byte;
        }
        (before + bytes.len()).min(MAX_HEADER)
    }

    fn begin(&mut self, frame: Frame) -> Result<(), Error> {
        if !frame.opcode.is_control() && !self.is_skipping {
            match (frame.opcode, &self.message) {
                (OpCode::Continuation, None) => return Err(Error::protocol("a continuation of no message")),
                (OpCode::Text | OpCode::Binary, Some(_)) => {
                    return Err(Error::protocol("a message begins within another"));
                }
                _ => {}
            }
            let so_far = self.message.as_ref().map_or(0, |message| message.len());
            if so_far.saturating_add(frame.left) > self.limits.max_message {
                return Err(Error::too_large());
            }
        }
        self.frame = Some(frame);
        Ok(())
    }

    /// Takes in bytes of the present frame.
    fn decode_payload(&mut self, bytes: &mut [u8]) -> Result<Option<Message>, Error> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        frame.left = frame.left.saturating_sub(bytes.len());
        let Frame { is_final, opcode, left, .. } = *frame;
        if self.is_skipping {
            if left == 0 {
                self.frame = None;
            }
            return Ok((left == 0 && opcode == OpCode::Close).then_some(Message::Close(None)));
        }
        if opcode.is_control() {
            frame.mask.apply(bytes);
            if left > 0 {
                self.control.get_or_insert_default().extend_from_slice(bytes);
                return Ok(None);
            }
            self.frame = None;
            let payload = match self.control.take() {
                None => bytes.to_vec(),
                Some(mut begun) => {
                    begun.extend_from_slice(bytes);
                    *begun
                }
            };
            return control(opcode, payload).map(Some);
        }
        let is_text = opcode == OpCode::Text;
        if left == 0 && is_final && self.message.is_none() {
            // By far the most messages: one frame, which is all there.
            let message = Partial::whole(is_text, bytes, &mut frame.mask)?;
            self.frame = None;
            return Ok(Some(message));
        }
        let message =
            self.message.get_or_insert_with(|| Box::new(if is_text { Partial::text() } else { Partial::binary() }));
        message.push(bytes, &mut frame.mask, left)?;
        if left > 0 {
            return Ok(None);
        }
        self.frame = None;
        if is_final { self.finish() } else { Ok(None) }
    }

    fn finish(&mut self) -> Result<Option<Message>, Error> {
        self.message.take().map(|message| message.finish()).transpose()
    }

    /// Room for bytes of a large binary payload that are still to come, as far as what has come allows it.
    pub(super) fn direct(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let (Some(frame), Some(Partial::Binary(bytes))) = (&self.frame, self.message.as_deref_mut()) else {
            return None;
        };
        if frame.opcode.is_control() || frame.left < DIRECT {
            return None;
        }
        if bytes.capacity() == bytes.len() {
            let room = room(bytes.len(), 0, frame.left);
            // For less, the scratch takes more at once.
            if room < DIRECT {
                return None;
            }
            bytes.reserve_exact(room);
        }
        let most = (bytes.capacity() - bytes.len()).min(frame.left);
        if most < DIRECT {
            return None;
        }
        Some((bytes, most))
    }

    /// Takes in what was read into [`direct`](Self::direct): the last `len` bytes there.
    pub(super) fn direct_read(&mut self, len: usize) -> Result<Option<Message>, Error> {
        let (Some(frame), Some(Partial::Binary(bytes))) = (&mut self.frame, self.message.as_deref_mut()) else {
            return Ok(None);
        };
        let before = bytes.len().saturating_sub(len);
        frame.mask.apply(bytes.get_mut(before..).unwrap_or_default());
        frame.left = frame.left.saturating_sub(len);
        if frame.left > 0 {
            return Ok(None);
        }
        let is_final = frame.is_final;
        self.frame = None;
        if is_final { self.finish() } else { Ok(None) }
    }
}

fn control(opcode: OpCode, payload: Vec<u8>) -> Result<Message, Error> {
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
        return Err(Error::protocol("a close code that may not be sent"));
    }
    let reason = str::from_utf8(reason).map_err(|_| Error::invalid_utf8())?;
    Ok(Some(CloseFrame { code, reason: reason.into() }))
}

/// The payload of a close frame.
pub(super) fn close_payload(frame: Option<&CloseFrame>) -> Bytes {
    let payload = frame.map(|frame| [&frame.code.to_be_bytes(), frame.reason.as_bytes()].concat());
    payload.unwrap_or_default().into()
}
