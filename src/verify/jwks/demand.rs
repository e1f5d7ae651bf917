//! What is asked of the task that fetches the keys of an issuer, and what was found out.

use std::mem;

use tokio::time::Instant;

use super::KeysError;
use crate::verify::VerifyError;

/// Nothing is remembered of a key that the issuer did not have. Its id may be one that the issuer uses next, and that
/// somebody has guessed: only an attempt that began after a token came says that the token's key does not exist.
pub(super) struct Demand {
    /// How many attempts have begun.
    begun: u64,
    /// Which of them was the last to bring the issuer's keys.
    succeeded: u64,
    /// An attempt is wanted now.
    wanted: bool,
    under_way: bool,
    /// When an attempt may be wanted again.
    not_before: Instant,
    /// When there will be an attempt if nobody wants one.
    pub(super) next: Instant,
    last_error: Option<KeysError>,
}

/// An attempt that was asked for.
pub(super) struct Asked {
    /// The first one that begins after this moment. If it succeeds, it has all keys that the issuer has by now.
    pub(super) attempt: u64,
    /// Whether the task must be woken for it.
    pub(super) wake: bool,
}

impl Demand {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            begun: 0,
            succeeded: 0,
            wanted: false,
            // The first one is on its way before anybody can ask.
            under_way: true,
            not_before: now,
            next: now,
            last_error: None,
        }
    }

    /// Asks for the issuer's keys, or says from when on that is possible.
    pub(super) fn ask(&mut self, now: Instant) -> Result<Asked, VerifyError> {
        let wake = !self.under_way && !self.wanted;
        if wake {
            self.check_allowed(now)?;
        }
        self.wanted |= wake;
        Ok(Asked { attempt: self.begun + 1, wake })
    }

    /// Whether this attempt, or one that began later, has brought the issuer's keys.
    pub(super) const fn has_succeeded(&self, attempt: u64) -> bool {
        self.succeeded >= attempt
    }

    /// Whether an attempt may be wanted now.
    pub(super) fn check_allowed(&self, now: Instant) -> Result<(), VerifyError> {
        if now < self.not_before { Err(self.unavailable(now)) } else { Ok(()) }
    }

    /// Nobody knows before the next attempt.
    pub(super) fn unavailable(&self, now: Instant) -> VerifyError {
        let next = self.next.min(self.not_before.max(now));
        let error = VerifyError::unavailable(next.saturating_duration_since(now));
        match &self.last_error {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }

    /// When the next attempt is due.
    pub(super) fn due(&self) -> Instant {
        if self.wanted { self.not_before.min(self.next) } else { self.next }
    }

    /// An attempt begins. Returns whether somebody waits for it.
    pub(super) const fn begin(&mut self) -> bool {
        self.under_way = true;
        self.begun += 1;
        mem::replace(&mut self.wanted, false)
    }

    /// The attempt has brought the issuer's keys, whatever else went wrong.
    pub(super) fn succeeded(&mut self, flaw: Option<KeysError>) {
        self.succeeded = self.begun;
        self.last_error = flaw;
        self.under_way = false;
    }

    /// The attempt has brought nothing.
    pub(super) fn failed(&mut self, error: KeysError) {
        self.last_error = Some(error);
        self.under_way = false;
    }

    /// Sets when the next attempt is made by itself, and from when on one may be wanted: never earlier than it was.
    pub(super) fn schedule(&mut self, next: Instant, not_before: Option<Instant>) {
        self.next = next;
        self.not_before = self.not_before.max(not_before.unwrap_or(self.not_before));
    }

    pub(super) fn last_error(&self) -> Option<KeysError> {
        self.last_error.clone()
    }
}
