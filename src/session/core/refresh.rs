//! Counts attempts to refresh a session, and replaces its token.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{NewRecheck, RecheckBy, SessionCore, TokenInfo, recheck::Schedule};
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

/// The moment at which a new token is given to the verifier.
#[derive(Clone, Copy)]
pub(in crate::session) struct RefreshStart {
    pub(in crate::session) at: Timestamp,
    rechecks_on_demand: u32,
}

impl SessionCore {
    /// Begins a refresh, unless one is in progress or there were too many.
    pub(in crate::session) fn begin_refresh(&self) -> Result<Attempt<'_>, RefreshError> {
        if self.end_reason().is_some() {
            return Err(RefreshError::of(RefreshErrorKind::SessionEnded));
        }
        lock(&self.state).attempts.begin(self.config.refresh_limit)?;
        Ok(Attempt(self))
    }

    pub(in crate::session) fn refresh_start(&self) -> RefreshStart {
        RefreshStart { at: self.config.now(), rechecks_on_demand: lock(&self.state).rechecks_on_demand }
    }

    /// How many times the token was replaced. A recheck replaces the claims alone.
    pub(in crate::session) fn refresh_count(&self) -> u32 {
        lock(&self.state).refreshes
    }

    /// Replaces the token and what rechecks it, moves the deadline, and runs `swap`, all under one lock. Fails if the
    /// session has ended or its deadline has passed.
    ///
    /// If a recheck was asked for since the start, the verifier's answer may be older than what that is about. So one
    /// follows now, even if the verifier wants none for this token.
    pub(in crate::session) fn renew<T>(
        &self,
        expires_at: Option<SystemTime>,
        (token, by, period): (TokenInfo, Arc<RecheckBy>, Option<Duration>),
        start: RefreshStart,
        swap: impl FnOnce() -> T,
    ) -> Result<T, RefreshError> {
        let now = self.config.now();
        let mut new = Some(Schedule::new(NewRecheck { by, period: period.unwrap_or(Duration::MAX) }, start.at));
        let mut old = None;
        let mut state = lock(&self.state);
        let left = self.deadline(&state).time_left(now);
        let (change, swapped) = match self.end_if_due(&mut state, left) {
            Some(change) => (Some(change), None),
            None if state.end.is_some() => (None, None),
            None => {
                state.token_expiry = expires_at.and_then(|at| start.at.at_wall_time(at));
                state.token = token;
                state.refreshes = state.refreshes.wrapping_add(1);
                old = state.schedule.take();
                let is_on_demand = state.rechecks_on_demand != start.rechecks_on_demand;
                if period.is_some() || is_on_demand {
                    state.schedule = new.take();
                }
                if let Some(schedule) = state.schedule.as_mut().filter(|_| is_on_demand) {
                    schedule.next = Some(now);
                }
                (Some(self.count_change(&state)), Some(swap()))
            }
        };
        drop(state);
        drop((new, old));
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
