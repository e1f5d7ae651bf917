//! Limits how often issuers are added.

use std::time::Duration;

use tokio::time::Instant;

use crate::verify::VerifyError;

/// One more issuer can be added after this time.
const REFILL: Duration = Duration::from_secs(1);

/// How many issuers can be added now: at first as many as a rule keeps, then one each second.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    limit: usize,
    refilled_at: Instant,
}

impl Budget {
    pub(super) const fn new(limit: usize, now: Instant) -> Self {
        Self { left: limit, limit, refilled_at: now }
    }

    /// Fails if no issuer can be added now.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), VerifyError> {
        let passed = now.saturating_duration_since(self.refilled_at);
        let refills = usize::try_from(passed.as_secs()).unwrap_or(usize::MAX);
        self.left = self.left.saturating_add(refills).min(self.limit);
        self.refilled_at += Duration::from_secs(passed.as_secs());
        if self.left > 0 {
            return Ok(());
        }
        let wait = REFILL.saturating_sub(now.saturating_duration_since(self.refilled_at));
        Err(VerifyError::unavailable(wait).with_source("too many new issuers"))
    }

    pub(super) const fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}
