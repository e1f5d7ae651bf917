//! When an issuer's keys are fetched, and how the last fetch ended.

use std::mem;

use tokio::time::Instant;

use super::KeysError;
use crate::verify::VerifyError;

/// The fetches of one issuer's keys.
///
/// Unknown key ids are not cached, because an attacker can guess an id that the issuer uses next. Only a successful
/// fetch that began after a token arrived proves that the token's key does not exist.
pub(super) struct FetchSchedule {
    /// How many fetches have begun.
    begun: u64,
    /// The number of the last successful fetch.
    succeeded: u64,
    /// Whether a fetch is requested that has not begun.
    requested: bool,
    in_progress: bool,
    /// The earliest time for a requested fetch.
    not_before: Instant,
    /// The time of the next fetch if none is requested.
    pub(super) next: Instant,
    last_error: Option<KeysError>,
}

/// A fetch to wait for.
pub(super) struct FetchRequest {
    /// The number of the next fetch to begin. If it succeeds, it brings all keys that the issuer has published by now.
    pub(super) fetch: u64,
    /// Whether the background task must be woken.
    pub(super) wake: bool,
}

impl FetchSchedule {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            begun: 0,
            succeeded: 0,
            requested: false,
            // The task starts the first fetch without a request.
            in_progress: true,
            not_before: now,
            next: now,
            last_error: None,
        }
    }

    /// Requests a fetch. Fails during the cool-down or backoff.
    pub(super) fn request(&mut self, now: Instant) -> Result<FetchRequest, VerifyError> {
        let wake = !self.in_progress && !self.requested;
        if wake {
            self.check_allowed(now)?;
        }
        self.requested |= wake;
        Ok(FetchRequest { fetch: self.begun + 1, wake })
    }

    /// Whether this fetch or a later one succeeded.
    pub(super) const fn has_succeeded(&self, fetch: u64) -> bool {
        self.succeeded >= fetch
    }

    /// Fails if no fetch can be requested now.
    pub(super) fn check_allowed(&self, now: Instant) -> Result<(), VerifyError> {
        if now < self.not_before { Err(self.unavailable(now)) } else { Ok(()) }
    }

    /// The error for a token whose key is unknown until the next fetch.
    pub(super) fn unavailable(&self, now: Instant) -> VerifyError {
        let next = self.next.min(self.not_before.max(now));
        let error = VerifyError::unavailable(next.saturating_duration_since(now));
        match &self.last_error {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }

    /// When the next fetch is due.
    pub(super) fn due(&self) -> Instant {
        if self.requested { self.not_before.min(self.next) } else { self.next }
    }

    /// Begins a fetch. Returns whether it was requested.
    pub(super) const fn begin(&mut self) -> bool {
        self.in_progress = true;
        self.begun += 1;
        mem::replace(&mut self.requested, false)
    }

    /// Ends a fetch that brought the issuer's keys, perhaps with a discovery document that could not be refreshed.
    pub(super) fn succeed(&mut self, discovery_error: Option<KeysError>) {
        self.succeeded = self.begun;
        self.last_error = discovery_error;
        self.in_progress = false;
    }

    /// Ends a fetch that failed.
    pub(super) fn fail(&mut self, error: KeysError) {
        self.last_error = Some(error);
        self.in_progress = false;
    }

    /// Sets the time of the next fetch, and the earliest time for a requested one, which never moves backward.
    pub(super) fn set_next(&mut self, next: Instant, not_before: Option<Instant>) {
        self.next = next;
        self.not_before = self.not_before.max(not_before.unwrap_or(self.not_before));
    }

    pub(super) fn last_error(&self) -> Option<KeysError> {
        self.last_error.clone()
    }
}
