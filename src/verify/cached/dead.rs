//! Tokens that will not become good again.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use crate::{VerifyError, VerifyErrorKind};

const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A token that was found dead.
pub(super) struct Dead {
    error: VerifyError,
    found_at: SystemTime,
    /// How often the keys had changed by then.
    changes: u64,
    /// How often it came again.
    again: AtomicU32,
}

impl Dead {
    /// `None` for a token that may be good another time.
    pub(super) fn new(error: &VerifyError, found_at: SystemTime, changes: u64) -> Option<Self> {
        let is_dead = matches!(error.kind(), VerifyErrorKind::Expired | VerifyErrorKind::BadSignature);
        is_dead.then(|| Self { error: error.clone(), found_at, changes, again: AtomicU32::new(0) })
    }

    /// Refuses it once more, and tells it to wait for longer each time. `None` if what it was refused for may be over.
    pub(super) fn refuse(&self, now: SystemTime, changes: u64) -> Option<VerifyError> {
        if changes != self.changes || now < self.found_at {
            return None;
        }
        let again = self.again.fetch_add(1, Ordering::Relaxed);
        let wait = Duration::from_secs(2_u64.saturating_pow(again)).min(LONGEST_WAIT);
        Some(self.error.clone().with_retry_after(wait))
    }
}
