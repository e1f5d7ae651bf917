//! The signature check with a set of keys.

use super::header::Header;
use crate::verify::{VerifyError, VerifyErrorKind as Kind, keys::JwtKey};

/// How many keys are tried for one token, so that forging one costs the server no more than that many signatures.
/// Issuers publish fewer of one kind, and name them in their tokens.
const MAX_TRIED: usize = 16;

/// Verifies the signature with the keys that match the token's key id and algorithm.
pub(super) fn check_signature<'a>(
    keys: impl Iterator<Item = &'a JwtKey> + Clone,
    header: &Header,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let algorithm = header.algorithm()?;
    let key_id = header.key_id();
    let mut matching = keys.clone().filter(|key| key.matches_id(key_id)).peekable();
    if matching.peek().is_none() {
        return Err(header.unknown_key(keys));
    }
    let mut usable = matching.filter(|key| key.is_for(algorithm)).take(MAX_TRIED).peekable();
    if usable.peek().is_none() {
        return Err(header.wrong_algorithm(keys));
    }
    if usable.any(|key| key.verifies(signed, signature)) { Ok(()) } else { Err(VerifyError::new(Kind::BadSignature)) }
}
