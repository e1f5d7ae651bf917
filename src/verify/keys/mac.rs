//! Message authentication codes, for what this server hands out and gets back.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey};

use super::{JwtKey, provider};
use crate::error::ConfigError;

/// A secret for HMAC with SHA-256.
#[derive(Clone)]
pub(crate) struct MacKey {
    signing: Arc<EncodingKey>,
    verifying: JwtKey,
}

impl MacKey {
    /// # Errors
    ///
    /// As for [`JwtKey::secret`].
    pub(crate) fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self { signing: Arc::new(EncodingKey::from_secret(secret)), verifying: JwtKey::secret(secret)? })
    }

    /// `None` if the backend fails, which HMAC has no reason to.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signer = (provider()?.signer_factory)(&Algorithm::HS256, &self.signing).ok()?;
        signer.try_sign(message).ok()
    }

    /// Compares in constant time.
    pub(crate) fn verifies(&self, message: &[u8], mac: &[u8]) -> bool {
        self.verifying.verifies(message, mac)
    }
}
