//! Which key a token is verified with.

use super::{
    super::{VerifyError, VerifyErrorKind as Kind},
    JwtKey,
    header::Header,
};

/// Verifies with those of the keys that the token may have been signed with.
pub(super) fn check_signature(
    keys: &[JwtKey],
    header: &Header,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let algorithm = header.algorithm()?;
    let key_id = header.key_id();
    let mut named = keys.iter().filter(|key| key.answers_to(key_id)).peekable();
    if named.peek().is_none() {
        return Err(VerifyError::new(Kind::UnknownKey));
    }
    let mut usable = named.filter(|key| key.is_for(algorithm)).peekable();
    if usable.peek().is_none() {
        return Err(VerifyError::new(Kind::WrongAlgorithm));
    }
    if usable.any(|key| key.verifies(signed, signature)) { Ok(()) } else { Err(VerifyError::new(Kind::BadSignature)) }
}
