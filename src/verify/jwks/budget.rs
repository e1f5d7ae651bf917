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

#[cfg(test)]
mod tests {
    use super::{Budget, Duration, Instant};

    #[test]
    fn one_issuer_can_be_added_each_second() {
        let start = Instant::now();
        let mut budget = Budget::new(2, start);
        // Milliseconds, and the time to wait if there is none left.
        for (at, wait) in [
            (0, None),
            (0, None),
            (0, Some(1000)),
            (999, Some(1)),
            (1000, None),
            (1600, Some(400)),
            (2000, None),
            (2000, Some(1000)),
            // No more than the limit are saved up.
            (9700, None),
            (9700, None),
            (9700, Some(300)),
            (10_000, None),
        ] {
            let outcome = budget.check(start + Duration::from_millis(at));
            assert_eq!(outcome.err().and_then(|error| error.retry_after()), wait.map(Duration::from_millis), "{at}");
            if wait.is_none() {
                budget.spend();
            }
        }
    }
}
