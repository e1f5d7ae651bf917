//! Counts attempts to refresh a session, and replaces its token.

use std::{
    mem,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{NewRecheck, SessionCore, TokenInfo, recheck::Schedule};
use crate::{
    lock::lock,
    session::{RefreshError, RefreshErrorKind, deadline::Timestamp},
};

/// The attempts to refresh a session within the current window of time.
pub(super) struct Attempts {
    in_progress: bool,
    window_start: Option<Instant>,
    count: u32,
}

/// An attempt in progress. No other can begin until it is dropped.
pub(in crate::session) struct Attempt<'a>(&'a SessionCore);

impl SessionCore {
    /// Begins a refresh, unless one is in progress or there were too many.
    pub(in crate::session) fn begin_refresh(&self) -> Result<Attempt<'_>, RefreshError> {
        if self.end_reason().is_some() {
            return Err(RefreshError::of(RefreshErrorKind::SessionEnded));
        }
        lock(&self.state).attempts.begin(self.config.refresh_limit)?;
        Ok(Attempt(self))
    }

    /// How many times the token was replaced. A recheck replaces the claims alone.
    pub(in crate::session) fn refresh_count(&self) -> u32 {
        lock(&self.state).refreshes
    }

    /// Replaces the token and what rechecks it, moves the deadline, and runs `swap`, all under one lock. Fails if the
    /// session has ended or its deadline has passed.
    pub(in crate::session) fn renew<T>(
        &self,
        expires_at: Option<SystemTime>,
        (token, recheck): (TokenInfo, Option<NewRecheck>),
        verified: Timestamp,
        swap: impl FnOnce() -> T,
    ) -> Result<T, RefreshError> {
        let now = self.config.now();
        let mut schedule = recheck.map(|recheck| Schedule::new(recheck, verified));
        let mut state = lock(&self.state);
        let left = self.deadline(&state).time_left(now);
        let (change, swapped) = match self.end_if_due(&mut state, left) {
            Some(change) => (Some(change), None),
            None if state.end.is_some() => (None, None),
            None => {
                state.token_expiry = expires_at.and_then(|at| verified.at_wall_time(at));
                state.token = token;
                state.refreshes = state.refreshes.wrapping_add(1);
                mem::swap(&mut state.schedule, &mut schedule);
                (Some(self.count_change(&state)), Some(swap()))
            }
        };
        drop(state);
        drop(schedule);
        change.into_iter().for_each(|change| self.notify(change));
        swapped.ok_or_else(|| RefreshError::of(RefreshErrorKind::SessionEnded))
    }
}

impl Attempts {
    pub(super) const fn new() -> Self {
        Self { in_progress: false, window_start: None, count: 0 }
    }

    fn begin(&mut self, (max, window): (u32, Duration)) -> Result<(), RefreshError> {
        if self.in_progress {
            return Err(RefreshError::of(RefreshErrorKind::InProgress));
        }
        let now = Instant::now();
        let start = *self.window_start.get_or_insert(now);
        let left = window.saturating_sub(now.saturating_duration_since(start));
        if left.is_zero() {
            self.window_start = Some(now);
            self.count = 0;
        }
        if self.count >= max {
            return Err(RefreshError::too_many_attempts((max > 0).then_some(left)));
        }
        self.count += 1;
        self.in_progress = true;
        Ok(())
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).attempts.in_progress = false;
    }
}
