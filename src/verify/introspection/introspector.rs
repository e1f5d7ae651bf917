//! Answers about tokens: from the cache, or from the provider.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{
    alarm::Alarm,
    answer::Answer,
    cache::{AnswerCache, Freshness, Times},
    failure::{Failure, Reason},
    provider::Provider,
    turns::{LastFailure, Turns},
};
use crate::verify::{VerifyError, cached::TokenHash};

/// Asks the provider about each token as seldom as possible.
pub(super) struct Introspector {
    pub(super) provider: Provider,
    /// The endpoint or the issuer, for logs.
    pub(super) name: String,
    pub(super) cache: AnswerCache,
    pub(super) handshakes: Turns,
    /// Apart from those of handshakes, which may be waiting for a permit.
    pub(super) rechecks: Turns,
    /// How many requests of handshakes may be in progress.
    pub(super) permits: Semaphore,
    /// How long an answer is waited for.
    pub(super) timeout: Duration,
    pub(super) alarm: Alarm,
}

impl Introspector {
    /// The answer about a token. Concurrent handshakes with the same token share one request, and so do concurrent rechecks.
    ///
    /// # Cancel safety
    ///
    /// If the caller that sent the request is dropped, the next one sends another.
    pub(super) async fn answer(
        &self,
        token: &str,
        freshness: Freshness,
        now: SystemTime,
    ) -> Result<Answer, VerifyError> {
        let hash = self.cache.hash(token);
        if let Some(answer) = self.cache.get(hash, freshness) {
            return Ok(answer);
        }
        let deadline = Instant::now() + self.timeout;
        let turns = match freshness {
            Freshness::Current(_) => &self.handshakes,
            Freshness::AskedSince(_) => &self.rechecks,
        };
        let place = turns.queue(hash);
        let turn = timeout_at(deadline, place.turn()).await;
        let mut last_failure = turn.map_err(|_| self.report(Failure::new(Reason::TimedOut)))?;
        if let Some(answer) = self.cache.get(hash, freshness) {
            return Ok(answer);
        }
        if let Some(LastFailure { at, failure }) = &*last_failure
            && *at > freshness.begin()
        {
            return Err(failure.clone().into());
        }
        let asking = timeout_at(deadline, self.ask(hash, token, freshness, now)).await;
        let outcome = asking.unwrap_or_else(|_| Err(Failure::new(Reason::TimedOut)));
        outcome.map_err(|failure| {
            *last_failure = Some(LastFailure { at: self.cache.tick(), failure: failure.clone() });
            self.report(failure)
        })
    }

    async fn ask(
        &self,
        hash: TokenHash,
        token: &str,
        freshness: Freshness,
        now: SystemTime,
    ) -> Result<Answer, Failure> {
        // Rechecks do not wait behind a flood of handshakes, which could end live sessions. The layer bounds them.
        let _permit = match freshness {
            Freshness::Current(_) => Some(self.permits.acquire().await),
            Freshness::AskedSince(_) => None,
        };
        let (asked, asked_at) = (self.cache.tick(), Instant::now());
        let answer = self.provider.ask(token, now).await?;
        Ok(self.cache.store(hash, Times { asked, asked_at, answered: self.cache.tick() }, answer))
    }

    pub(super) fn report(&self, failure: Failure) -> VerifyError {
        self.alarm.report(&self.name, &failure);
        failure.into()
    }
}

// By hand: a client need not be `Debug`, and tokens are secret.
impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (active, inactive) = self.cache.len();
        f.debug_struct("Introspector")
            .field("endpoint", &self.name)
            .field("auth", &self.provider.auth)
            .field("active", &active)
            .field("inactive", &inactive)
            .finish_non_exhaustive()
    }
}
