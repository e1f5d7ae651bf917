use super::scratch::Scratch;

/// Bytes that arrived with a message and are not decoded yet.
#[derive(Debug)]
pub(super) struct ReadAhead {
    buffer: Buffer,
    start: usize,
    end: usize,
}

#[derive(Debug)]
enum Buffer {
    Scratch(Scratch),
    Own(Box<[u8]>),
}

/// The scratch is kept where at least this part of it is in use. Of less there is a copy.
const WORTH_KEEPING: usize = 4;

impl ReadAhead {
    /// The bytes of the scratch in this range, if there are any.
    pub(super) fn new(scratch: Scratch, start: usize, end: usize) -> Option<Self> {
        let rest = scratch.get(start..end).filter(|rest| !rest.is_empty())?;
        if rest.len() * WORTH_KEEPING >= scratch.len() {
            return Some(Self { buffer: Buffer::Scratch(scratch), start, end });
        }
        let rest: Box<[u8]> = rest.into();
        Some(Self { start: 0, end: rest.len(), buffer: Buffer::Own(rest) })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let buffer = match &mut self.buffer {
            Buffer::Scratch(scratch) => scratch,
            Buffer::Own(own) => &mut **own,
        };
        buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// So many bytes were decoded.
    pub(super) const fn advance(&mut self, len: usize) {
        self.start += len;
    }

    #[cfg(fuzzing)]
    pub(super) fn capacity(&self) -> usize {
        match &self.buffer {
            Buffer::Scratch(scratch) => scratch.len(),
            Buffer::Own(own) => own.len(),
        }
    }
}
