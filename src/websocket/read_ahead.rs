//! Bytes that arrived behind a message.

use super::scratch::Scratch;

/// Bytes that were read together with a message and are not decoded yet.
pub(super) struct ReadAhead {
    buffer: Buffer,
    start: usize,
    end: usize,
}

enum Buffer {
    Scratch(Scratch),
    Owned(Box<[u8]>),
}

/// The bytes stay in the scratch buffer if they fill at least this fraction of it: a quarter. Otherwise they are
/// copied, so that memory follows bytes.
const MIN_FILLED: usize = 4;

impl ReadAhead {
    /// The bytes in this range. `None` if it is empty.
    pub(super) fn new(scratch: Scratch, start: usize, end: usize) -> Option<Self> {
        let bytes = scratch.get(start..end).filter(|bytes| !bytes.is_empty())?;
        if bytes.len() * MIN_FILLED >= scratch.len() {
            return Some(Self { buffer: Buffer::Scratch(scratch), start, end });
        }
        let bytes: Box<[u8]> = bytes.into();
        Some(Self { start: 0, end: bytes.len(), buffer: Buffer::Owned(bytes) })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let buffer = match &mut self.buffer {
            Buffer::Scratch(scratch) => scratch,
            Buffer::Owned(bytes) => &mut **bytes,
        };
        buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Removes bytes from the front.
    pub(super) const fn advance(&mut self, len: usize) {
        self.start += len;
    }

    #[cfg(fuzzing)]
    pub(super) fn capacity(&self) -> usize {
        match &self.buffer {
            Buffer::Scratch(scratch) => scratch.len(),
            Buffer::Owned(bytes) => bytes.len(),
        }
    }
}
