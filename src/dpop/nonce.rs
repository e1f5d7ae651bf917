use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{error::ConfigError, verify::jwt::MacKey};

/// How long a client may use a nonce.
const LIFETIME: Duration = Duration::from_secs(300);
/// By how much the clocks of two nodes may differ.
const SKEW: Duration = Duration::from_secs(60);

/// Makes nonces (RFC 9449 §9), and knows them again without having kept them: each is the time, and a code over it.
#[derive(Clone)]
pub(super) struct Nonces(MacKey);

impl Nonces {
    pub(super) fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        MacKey::new(secret).map(Self)
    }

    pub(super) fn random() -> Result<Self, ConfigError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(|_| ConfigError::NoRandomNumbers)?;
        Self::new(&*secret)
    }

    /// `None` if there can be none, which a working clock and backend rule out.
    pub(super) fn make(&self, now: SystemTime) -> Option<String> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs().to_be_bytes();
        let mut nonce = seconds.to_vec();
        nonce.extend_from_slice(&self.0.sign(&seconds)?);
        Some(URL_SAFE_NO_PAD.encode(nonce))
    }

    pub(super) fn is_current(&self, nonce: &str, now: SystemTime) -> bool {
        self.time_of(nonce).is_some_and(|made| match now.duration_since(made) {
            Ok(age) => age <= LIFETIME,
            Err(ahead) => ahead.duration() <= SKEW,
        })
    }

    /// When the nonce was made. `None` if it is not one of these.
    fn time_of(&self, nonce: &str) -> Option<SystemTime> {
        // Eight bytes, and the code of 32.
        let bytes: [u8; 40] = URL_SAFE_NO_PAD.decode(nonce).ok()?.try_into().ok()?;
        let (seconds, mac) = bytes.split_first_chunk()?;
        if !self.0.verifies(seconds, mac) {
            return None;
        }
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_be_bytes(*seconds)))
    }
}
