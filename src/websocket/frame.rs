//! Frame headers (RFC 6455 §5.2) and masks (§5.3).

use super::{Error, Limits};

/// The maximum length of a header.
pub(super) const MAX_HEADER: usize = 14;
/// The maximum length of a header without a mask.
pub(super) const MAX_UNMASKED_HEADER: usize = 10;
/// The maximum payload of a control frame (RFC 6455 §5.5).
pub(super) const MAX_CONTROL: usize = 125;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpCode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A frame whose header is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) is_final: bool,
    pub(super) opcode: OpCode,
    pub(super) mask: Mask,
    /// How many bytes of the payload are missing.
    pub(super) remaining: usize,
}

/// The masking key (RFC 6455 §5.3), rotated for the next byte. Zero if the frame has no mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask(u32);

impl OpCode {
    const fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Frame {
    /// Parses a header at the start of these bytes. Returns the frame and the length of the header, or `None` if it is
    /// incomplete. A violation is an error as soon as the bytes show it.
    pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Option<(Self, usize)>, Error> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else {
            return bytes.first().map_or(Ok(None), |&first| parse_first_byte(first).map(|_| None));
        };
        let (is_final, opcode) = parse_first_byte(first)?;
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Error::protocol("a control frame is longer than 125 bytes"));
        }
        if !is_masked && !limits.accept_unmasked {
            return Err(Error::protocol("a frame has no mask"));
        }
        let (len, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        // The encoding must be minimal, and the highest bit zero.
        if (short == 126 && len < 126) || (short == 127 && !(0x1_0000..1 << 63).contains(&len)) {
            return Err(Error::protocol("a length is not minimally encoded"));
        }
        let remaining = usize::try_from(len).map_err(|_| Error::too_large())?;
        if remaining > limits.max_frame && !opcode.is_control() {
            return Err(Error::too_large());
        }
        let (mask, rest) = match rest.split_first_chunk() {
            _ if !is_masked => (Mask(0), rest),
            Some((mask, rest)) => (Mask(u32::from_le_bytes(*mask)), rest),
            None => return Ok(None),
        };
        Ok(Some((Self { is_final, opcode, mask, remaining }, bytes.len() - rest.len())))
    }
}

fn parse_first_byte(first: u8) -> Result<(bool, OpCode), Error> {
    if first & 0x70 != 0 {
        return Err(Error::protocol("a reserved bit is set"));
    }
    let opcode = OpCode::from_first_byte(first).ok_or_else(|| Error::protocol("a reserved opcode is used"))?;
    let is_final = first & 0x80 != 0;
    if opcode.is_control() && !is_final {
        return Err(Error::protocol("a control frame is fragmented"));
    }
    Ok((is_final, opcode))
}

/// Writes the header of a frame that is a whole message. A server must not mask it (RFC 6455 §5.1).
pub(super) fn write_header(out: &mut Vec<u8>, opcode: OpCode, len: usize) {
    out.push(0x80 | opcode as u8);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

// The compiler vectorizes these loops.
impl Mask {
    /// How many bytes [`append`](Self::append) unmasks at a time.
    const BLOCK: usize = 128;

    /// Unmasks the bytes in place.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut();
        for word in words {
            *word = (u32::from_le_bytes(*word) ^ self.0).to_le_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0.to_le_bytes()) {
            *byte ^= key;
        }
        self.rotate(rest.len());
    }

    /// Unmasks the bytes and appends them, in one pass.
    pub(super) fn append(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        let mut key = [0; Self::BLOCK];
        for word in key.as_chunks_mut().0 {
            *word = self.0.to_le_bytes();
        }
        for block in bytes.chunks(Self::BLOCK) {
            to.extend(block.iter().zip(&key).map(|(byte, key)| byte ^ key));
        }
        self.rotate(bytes.len());
    }

    const fn rotate(&mut self, bytes: usize) {
        self.0 = self.0.rotate_right(match bytes % 4 {
            0 => 0,
            1 => 8,
            2 => 16,
            _ => 24,
        });
    }
}
