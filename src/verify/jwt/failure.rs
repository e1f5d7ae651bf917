//! Why a token could not be verified with the known keys.

#[cfg(feature = "jwks")]
use std::sync::Arc;

use super::rules::KeyGeneration;
use crate::verify::VerifyError;
#[cfg(feature = "jwks")]
use crate::verify::jwks::{Freshness, Issuer};

pub(super) enum Failure {
    Refused(Refusal),
    #[cfg(feature = "jwks")]
    UnknownKey(UnknownKey),
}

/// A token that is refused.
pub(crate) struct Refusal {
    pub(crate) error: VerifyError,
    /// The issuer's keys that refused it. `None` if no key of an issuer did.
    pub(crate) keys: Option<KeyGeneration>,
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        Self { error, keys: None }
    }
}

impl<T: Into<Refusal>> From<T> for Failure {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

/// The token's key is not among the known keys, but the issuer may have published it since.
#[cfg(feature = "jwks")]
pub(super) struct UnknownKey {
    pub(super) issuer: Arc<Issuer>,
    /// The generation of the keys that were tried. `None` if there were none.
    pub(super) generation: Option<u64>,
    /// If the issuer has not published it.
    pub(super) error: VerifyError,
}

#[cfg(feature = "jwks")]
impl UnknownKey {
    /// Waits for keys that are worth trying. Fails if the keys already tried were current.
    pub(super) async fn wait_for_keys(self, tried: Freshness) -> Result<Freshness, VerifyError> {
        if tried == Freshness::Current && self.generation.is_some() {
            return Err(self.error);
        }
        self.issuer.wait_for_keys(self.generation).await
    }
}
