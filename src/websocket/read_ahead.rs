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

/// Bytes stay where they are while they fill at least this fraction of their buffer: a half. Then they are copied, so
/// that memory follows bytes, whether or not anyone reads on. A byte is copied at most twice on average.
const MIN_FILLED: usize = 2;
/// The maximum capacity of a buffer that is kept until it is empty.
const MAX_KEPT: usize = if cfg!(fuzzing) { 64 } else { 1024 };

impl ReadAhead {
    /// The bytes in this range. `None` if it is empty.
    pub(super) fn new(scratch: Scratch, start: usize, end: usize) -> Option<Self> {
        let mut read_ahead = Self { buffer: Buffer::Scratch(scratch), start, end };
        if read_ahead.is_empty() {
            return None;
        }
        read_ahead.shrink();
        Some(read_ahead)
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
    pub(super) fn advance(&mut self, len: usize) {
        self.start += len;
        self.shrink();
    }

    /// Gives the buffer back if most of it is not needed any more.
    fn shrink(&mut self) {
        let (capacity, bytes) = (self.capacity(), self.bytes());
        if capacity > MAX_KEPT && bytes.len() * MIN_FILLED < capacity {
            let bytes: Box<[u8]> = (&*bytes).into();
            *self = Self { start: 0, end: bytes.len(), buffer: Buffer::Owned(bytes) };
        }
    }

    pub(super) fn capacity(&self) -> usize {
        match &self.buffer {
            Buffer::Scratch(scratch) => scratch.len(),
            Buffer::Owned(bytes) => bytes.len(),
        }
    }
}
