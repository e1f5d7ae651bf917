use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::memchr_iter;

use crate::verify::{VerifyError, VerifyErrorKind};

/// A JWS in compact serialization (RFC 7515 §7.1), split into its parts.
pub(super) struct Compact<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    /// The signing input: `header.payload`.
    pub(super) signed: &'a [u8],
}

impl<'a> Compact<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, VerifyError> {
        let mut dots = memchr_iter(b'.', token.as_bytes());
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(malformed());
        };
        let part = |range| token.get(range).ok_or_else(malformed);
        Ok(Self {
            header: part(0..first)?,
            payload: part(first + 1..second)?,
            signature: part(second + 1..token.len())?,
            signed: part(0..second)?.as_bytes(),
        })
    }
}

/// A buffer for one decoded part. Parts of up to 512 bytes stay on the stack.
pub(super) struct DecodeBuffer {
    stack: [u8; 512],
    heap: Vec<u8>,
}

impl DecodeBuffer {
    pub(super) const fn new() -> Self {
        Self { stack: [0; 512], heap: Vec::new() }
    }

    /// Decodes canonical base64url without padding. Overwrites what was decoded before.
    pub(super) fn decode(&mut self, part: &str) -> Result<&[u8], VerifyError> {
        let decoded = if part.len() <= self.stack.len() {
            let len = URL_SAFE_NO_PAD.decode_slice(part, &mut self.stack).map_err(|_| malformed())?;
            self.stack.get(..len)
        } else {
            self.heap.clear();
            URL_SAFE_NO_PAD.decode_vec(part, &mut self.heap).map_err(|_| malformed())?;
            Some(&*self.heap)
        };
        decoded.ok_or_else(malformed)
    }
}

pub(super) const fn malformed() -> VerifyError {
    VerifyError::new(VerifyErrorKind::Malformed)
}
