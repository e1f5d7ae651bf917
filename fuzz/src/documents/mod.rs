//! References for the documents of identity providers: what the specifications say of them, read plainly.

pub mod jwk;
pub mod object;
pub mod refused;
pub mod revocations;
pub mod runtime;
pub mod subject;
pub mod token;
pub mod url_rule;

/// Splits the input at its first zero byte.
pub fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == 0)?;
    Some((&data[..end], &data[end + 1..]))
}
