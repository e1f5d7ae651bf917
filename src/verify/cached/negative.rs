//! Negative entries: tokens that stay invalid.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use crate::verify::{VerifyError, VerifyErrorKind};

const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// A refused token.
pub(super) struct NegativeEntry {
    error: VerifyError,
    condition: Condition,
    /// How often the token was refused from the cache.
    hits: AtomicU32,
}

/// The condition under which the entry applies.
enum Condition {
    /// The token has expired, as of this time.
    ExpiredAt(SystemTime),
    /// The signature is bad under this version of the keys.
    BadSignatureUnder(u64),
}

impl NegativeEntry {
    /// `None` if the token may become valid.
    pub(super) fn new(error: &VerifyError, now: SystemTime, key_version: Option<u64>) -> Option<Self> {
        let condition = match error.kind() {
            VerifyErrorKind::Expired => Condition::ExpiredAt(now),
            VerifyErrorKind::BadSignature => Condition::BadSignatureUnder(key_version?),
            _ => return None,
        };
        Some(Self { error: error.clone(), condition, hits: AtomicU32::new(0) })
    }

    /// The error, with a `Retry-After` that doubles each time. `None` if the entry no longer applies.
    pub(super) fn refuse(&self, now: SystemTime, key_version: Option<u64>) -> Option<VerifyError> {
        let applies = match self.condition {
            Condition::ExpiredAt(time) => now >= time,
            Condition::BadSignatureUnder(version) => key_version == Some(version),
        };
        applies.then(|| {
            let hits = self.hits.fetch_add(1, Ordering::Relaxed);
            let retry_after = Duration::from_secs(2_u64.saturating_pow(hits)).min(MAX_RETRY_AFTER);
            self.error.clone().with_retry_after(retry_after)
        })
    }
}
