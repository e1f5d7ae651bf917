//! A message while it arrives.

use axum::{body::Bytes, extract::ws::Message};

use super::{Error, frame::Mask};

/// Text is unmasked, checked and copied a block at a time: a block of this size stays in the nearest cache.
const BLOCK: usize = 2048;
/// Up to this length a binary message is unmasked where it was read and then copied.
const SMALL: usize = 256;
/// Memory is reserved for what has arrived and for this many times as much, never for what a header claims.
const AHEAD: usize = 3;
/// Less is not worth an allocation of its own.
const LEAST_ROOM: usize = 128;

#[derive(Debug)]
pub(super) enum Partial {
    Text(Text),
    Binary(Vec<u8>),
}

/// Text that is checked as it arrives, so that a fault ends the connection at once.
#[derive(Debug, Default)]
pub(super) struct Text {
    whole: String,
    /// The beginning of a character whose rest is still to come.
    cut: Cut,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    bytes: [u8; 4],
    len: usize,
}

impl Partial {
    pub(super) const fn binary() -> Self {
        Self::Binary(Vec::new())
    }

    pub(super) fn text() -> Self {
        Self::Text(Text::default())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.len() + text.cut.len,
            Self::Binary(bytes) => bytes.len(),
        }
    }

    #[cfg(fuzzing)]
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }

    /// Adds bytes that arrived. `left` is how many of the frame are still to come.
    pub(super) fn push(&mut self, bytes: &mut [u8], mask: &mut Mask, left: usize) -> Result<(), Error> {
        match self {
            Self::Text(text) => {
                if text.whole.capacity() - text.whole.len() < bytes.len() {
                    text.whole.reserve_exact(room(text.whole.len(), bytes.len(), left));
                }
            }
            Self::Binary(all) => {
                if all.capacity() - all.len() < bytes.len() {
                    all.reserve_exact(room(all.len(), bytes.len(), left));
                }
            }
        }
        match self {
            Self::Text(text) => {
                for block in bytes.chunks_mut(BLOCK) {
                    mask.apply(block);
                    text.push(block)?;
                }
            }
            Self::Binary(all) => mask.append(bytes, all),
        }
        Ok(())
    }

    /// The whole message.
    pub(super) fn finish(self) -> Result<Message, Error> {
        match self {
            Self::Binary(bytes) => Ok(Message::Binary(bytes.into())),
            Self::Text(text) if text.cut.len == 0 => Ok(Message::Text(text.whole.into())),
            Self::Text(_) => Err(Error::invalid_utf8()),
        }
    }

    /// A message that arrived in one piece.
    pub(super) fn whole(is_text: bool, bytes: &mut [u8], mask: &mut Mask) -> Result<Message, Error> {
        if is_text && bytes.len() > BLOCK {
            let mut partial = Self::text();
            partial.push(bytes, mask, 0)?;
            return partial.finish();
        }
        if !is_text && bytes.len() > SMALL {
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
}

/// How much to reserve where `len` bytes are there, `here` more have arrived, and `left` are to come.
pub(super) fn room(len: usize, here: usize, left: usize) -> usize {
    here + left.min((len + here).saturating_mul(AHEAD).max(LEAST_ROOM))
}

impl Text {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while self.cut.len > 0
            && let Some((&next, rest)) = bytes.split_first()
        {
            bytes = rest;
            self.complete(next)?;
        }
        match str::from_utf8(bytes) {
            Ok(text) => self.whole.push_str(text),
            // A character is cut off at the end, and may still be completed.
            Err(error) if error.error_len().is_none() => {
                let (valid, cut) = bytes.split_at_checked(error.valid_up_to()).ok_or_else(Error::invalid_utf8)?;
                self.whole.push_str(str::from_utf8(valid).map_err(|_| Error::invalid_utf8())?);
                for &byte in cut {
                    self.cut.push(byte)?;
                }
            }
            Err(_) => return Err(Error::invalid_utf8()),
        }
        Ok(())
    }

    fn complete(&mut self, next: u8) -> Result<(), Error> {
        self.cut.push(next)?;
        match str::from_utf8(self.cut.bytes()) {
            Ok(character) => {
                self.whole.push_str(character);
                self.cut = Cut::default();
            }
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(Error::invalid_utf8()),
        }
        Ok(())
    }
}

impl Cut {
    fn push(&mut self, byte: u8) -> Result<(), Error> {
        // No character has more than four bytes.
        *self.bytes.get_mut(self.len).ok_or_else(Error::invalid_utf8)? = byte;
        self.len += 1;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
