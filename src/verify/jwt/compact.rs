use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::memchr_iter;

use super::super::{VerifyError, VerifyErrorKind};

/// A JWS in compact form (RFC 7515 §7.1), cut into its parts.
pub(super) struct Compact<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    /// What is signed: the header and the payload with the dot between them.
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

/// Where a part is decoded: on the stack, if it is as long as most are.
pub(super) struct Memory {
    usual: [u8; 512],
    longer: Vec<u8>,
}

impl Memory {
    pub(super) const fn new() -> Self {
        Self { usual: [0; 512], longer: Vec::new() }
    }

    /// Decodes base64url without padding, in its one canonical form, in place of what was there.
    pub(super) fn decode(&mut self, part: &str) -> Result<&[u8], VerifyError> {
        let decoded = if part.len() <= self.usual.len() {
            let len = URL_SAFE_NO_PAD.decode_slice(part, &mut self.usual).map_err(|_| malformed())?;
            self.usual.get(..len)
        } else {
            self.longer.clear();
            URL_SAFE_NO_PAD.decode_vec(part, &mut self.longer).map_err(|_| malformed())?;
            Some(&*self.longer)
        };
        decoded.ok_or_else(malformed)
    }
}

pub(super) const fn malformed() -> VerifyError {
    VerifyError::new(VerifyErrorKind::Malformed)
}
