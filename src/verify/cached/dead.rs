//! Tokens that will not become good again.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use crate::verify::{VerifyError, VerifyErrorKind};

const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A token that was found dead.
pub(super) struct Dead {
    error: VerifyError,
    cause: Cause,
    /// How often it came again.
    again: AtomicU32,
}

/// What it died of, with what must be as it was then.
enum Cause {
    /// By then.
    Expired(SystemTime),
    /// By the keys that there were after so many changes.
    BadSignature(u64),
}

impl Dead {
    /// `None` for a token that may be good another time.
    pub(super) fn new(error: &VerifyError, now: SystemTime, changes: Option<u64>) -> Option<Self> {
        let cause = match error.kind() {
            VerifyErrorKind::Expired => Cause::Expired(now),
            VerifyErrorKind::BadSignature => Cause::BadSignature(changes?),
            _ => return None,
        };
        Some(Self { error: error.clone(), cause, again: AtomicU32::new(0) })
    }

    /// Refuses it once more, and tells it to wait for longer each time. `None` if what it was refused for may be over.
    pub(super) fn refuse(&self, now: SystemTime, changes: Option<u64>) -> Option<VerifyError> {
        let is_dead = match self.cause {
            Cause::Expired(by) => now >= by,
            Cause::BadSignature(then) => changes == Some(then),
        };
        is_dead.then(|| {
            let again = self.again.fetch_add(1, Ordering::Relaxed);
            let wait = Duration::from_secs(2_u64.saturating_pow(again)).min(LONGEST_WAIT);
            self.error.clone().with_retry_after(wait)
        })
    }
}
