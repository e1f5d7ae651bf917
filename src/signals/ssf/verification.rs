//! Checks that a stream works: the transmitter echoes a state (Shared Signals Framework 1.0 §8.1.4).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    error::{SecurityEventError, SecurityEventErrorKind},
    status::Health,
};
use crate::token::equal;

/// The verifications of one receiver.
pub(super) struct Verifications {
    /// Derived from the configuration, so that every node recognizes the states of all: the answer may reach another
    /// node.
    key: [u8; 32],
    /// The state that was echoed last.
    answered: watch::Sender<String>,
}

const NONCE_LEN: usize = 16;

impl Verifications {
    pub(super) fn new(configuration: &[&[u8]]) -> Self {
        let mut key = Sha256::new();
        for part in configuration {
            key.update(part.len().to_be_bytes());
            key.update(part);
        }
        Self { key: key.finalize().into(), answered: watch::Sender::default() }
    }

    /// A new random state. `None` without random numbers.
    pub(super) fn new_state(&self) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        Some(self.state_of(&nonce))
    }

    fn state_of(&self, nonce: &[u8]) -> String {
        let tag = Sha256::new().chain_update(self.key).chain_update(nonce).finalize();
        let tag = tag.get(..NONCE_LEN).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([nonce, tag].concat())
    }

    fn is_own(&self, state: &str) -> bool {
        let decoded = if state.len() <= 64 { URL_SAFE_NO_PAD.decode(state).unwrap_or_default() } else { Vec::new() };
        decoded.get(..NONCE_LEN).is_some_and(|nonce| equal(self.state_of(nonce).as_bytes(), state.as_bytes()))
    }

    /// A verification event has arrived. A transmitter sends one without a state of its own accord.
    pub(super) fn answered(&self, state: Option<&str>, health: &Health) -> Result<(), SecurityEventError> {
        if let Some(state) = state {
            if !self.is_own(state) {
                return Err(SecurityEventError::new(
                    SecurityEventErrorKind::InvalidState,
                    "this verification was not requested",
                ));
            }
            self.answered.send_replace(state.to_owned());
        }
        health.note_verified();
        Ok(())
    }

    /// Waits until this state is echoed. Call [`watch`](Self::watch) before the request.
    pub(super) async fn wait_for(mut answers: watch::Receiver<String>, state: &str) {
        // Fails only if the receiver of events is gone.
        let _ = answers.wait_for(|answered| answered == state).await;
    }

    pub(super) fn watch(&self) -> watch::Receiver<String> {
        self.answered.subscribe()
    }
}
