//! Negative entries: tokens that stay invalid.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use crate::verify::{
    VerifyError, VerifyErrorKind,
    jwt::{KeyGeneration, Refusal},
};

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
    /// The signature is bad under these keys. `None` for shared keys.
    BadSignatureUnder(Option<KeyGeneration>),
}

impl NegativeEntry {
    /// `None` if the token may become valid.
    pub(super) fn new(Refusal { error, keys }: &Refusal, now: SystemTime) -> Option<Self> {
        let condition = match error.kind() {
            VerifyErrorKind::Expired => Condition::ExpiredAt(now),
            VerifyErrorKind::BadSignature => Condition::BadSignatureUnder(keys.clone()),
            _ => return None,
        };
        Some(Self { error: error.clone(), condition, hits: AtomicU32::new(0) })
    }

    /// The error, with a `Retry-After` that doubles each time. `None` if the entry no longer applies.
    pub(super) fn refuse(
        &self,
        now: SystemTime,
        are_current: impl FnOnce(Option<&KeyGeneration>) -> bool,
    ) -> Option<VerifyError> {
        let applies = match &self.condition {
            Condition::ExpiredAt(time) => now >= *time,
            Condition::BadSignatureUnder(keys) => are_current(keys.as_ref()),
        };
        applies.then(|| {
            let hits = self.hits.fetch_add(1, Ordering::Relaxed);
            let retry_after = Duration::from_secs(2_u64.saturating_pow(hits)).min(MAX_RETRY_AFTER);
            self.error.clone().with_retry_after(retry_after)
        })
    }
}
