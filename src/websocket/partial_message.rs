//! A message that is being received.

use axum::{body::Bytes, extract::ws::Message};

use super::{Error, frame::Mask};

/// Text is unmasked, validated and copied in blocks of this size, which stay in the L1 cache.
const TEXT_BLOCK: usize = 2048;
/// A binary message of at most this size is unmasked in place and then copied.
const MAX_UNMASKED_IN_PLACE: usize = 256;
/// How many times the received bytes are reserved in addition. What a header announces is never reserved on its own.
const RESERVE_FACTOR: usize = 3;
/// The minimum to reserve.
const MIN_RESERVE: usize = 128;

#[derive(Debug)]
pub(super) enum PartialMessage {
    Text(PartialText),
    Binary(Vec<u8>),
}

/// Text that is validated as it arrives, so that invalid UTF-8 fails at once.
#[derive(Debug, Default)]
pub(super) struct PartialText {
    valid: String,
    /// The start of a character that is not complete.
    incomplete: IncompleteChar,
}

#[derive(Clone, Copy, Debug, Default)]
struct IncompleteChar {
    bytes: [u8; 4],
    len: usize,
}

impl PartialMessage {
    pub(super) fn new(is_text: bool) -> Self {
        if is_text { Self::Text(PartialText::default()) } else { Self::Binary(Vec::new()) }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.valid.len() + text.incomplete.len,
            Self::Binary(bytes) => bytes.len(),
        }
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Text(text) => text.valid.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }

    /// Appends received bytes. `remaining` is how many bytes of the frame are missing.
    pub(super) fn push(&mut self, bytes: &mut [u8], mask: &mut Mask, remaining: usize) -> Result<(), Error> {
        match self {
            Self::Text(text) => {
                let (len, capacity) = (text.valid.len(), text.valid.capacity());
                if capacity - len < bytes.len() {
                    text.valid.reserve_exact(additional_capacity(len, bytes.len(), remaining));
                }
                for block in bytes.chunks_mut(TEXT_BLOCK) {
                    mask.apply(block);
                    text.push(block)?;
                }
            }
            Self::Binary(all) => {
                if all.capacity() - all.len() < bytes.len() {
                    all.reserve_exact(additional_capacity(all.len(), bytes.len(), remaining));
                }
                mask.append(bytes, all);
            }
        }
        Ok(())
    }

    /// The complete message.
    pub(super) fn finish(self) -> Result<Message, Error> {
        match self {
            Self::Binary(bytes) => Ok(Message::Binary(bytes.into())),
            Self::Text(text) if text.incomplete.len == 0 => Ok(Message::Text(text.valid.into())),
            Self::Text(_) => Err(Error::invalid_utf8()),
        }
    }
}

/// Decodes the payload of a message that arrived at once.
pub(super) fn decode_whole(is_text: bool, bytes: &mut [u8], mask: &mut Mask) -> Result<Message, Error> {
    if is_text && bytes.len() > TEXT_BLOCK {
        let mut partial = PartialMessage::new(is_text);
        partial.push(bytes, mask, 0)?;
        return partial.finish();
    }
    if !is_text && bytes.len() > MAX_UNMASKED_IN_PLACE {
        let mut all = Vec::with_capacity(bytes.len());
        mask.append(bytes, &mut all);
        return Ok(Message::Binary(all.into()));
    }
    mask.apply(bytes);
    if is_text {
        let text = str::from_utf8(bytes).map_err(|_| Error::invalid_utf8())?;
        Ok(Message::Text(text.into()))
    } else {
        Ok(Message::Binary(Bytes::copy_from_slice(bytes)))
    }
}

/// How much to reserve behind `len` bytes for `received` new ones and a part of the `remaining` ones of the frame.
pub(super) fn additional_capacity(len: usize, received: usize, remaining: usize) -> usize {
    received + remaining.min((len + received).saturating_mul(RESERVE_FACTOR).max(MIN_RESERVE))
}

impl PartialText {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while self.incomplete.len > 0
            && let Some((&next, rest)) = bytes.split_first()
        {
            bytes = rest;
            self.continue_char(next)?;
        }
        match str::from_utf8(bytes) {
            Ok(text) => self.valid.push_str(text),
            // A character is cut off at the end. The next bytes may complete it.
            Err(error) if error.error_len().is_none() => {
                let (valid, cut_off) = bytes.split_at_checked(error.valid_up_to()).ok_or_else(Error::invalid_utf8)?;
                self.valid.push_str(str::from_utf8(valid).map_err(|_| Error::invalid_utf8())?);
                for &byte in cut_off {
                    self.incomplete.push(byte)?;
                }
            }
            Err(_) => return Err(Error::invalid_utf8()),
        }
        Ok(())
    }

    fn continue_char(&mut self, next: u8) -> Result<(), Error> {
        self.incomplete.push(next)?;
        match str::from_utf8(self.incomplete.bytes()) {
            Ok(character) => {
                self.valid.push_str(character);
                self.incomplete = IncompleteChar::default();
            }
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(Error::invalid_utf8()),
        }
        Ok(())
    }
}

impl IncompleteChar {
    fn push(&mut self, byte: u8) -> Result<(), Error> {
        // A character has at most four bytes.
        *self.bytes.get_mut(self.len).ok_or_else(Error::invalid_utf8)? = byte;
        self.len += 1;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
