//! When a session is verified again, and by what.

use std::{
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use super::{
    SessionCore, WALL_CLOCK_INTERVAL,
    state::{NewRecheck, State},
};
use crate::{
    lock::lock,
    session::{End, EndReason, SessionKind, deadline::Timestamp},
    token::Token,
    verify::Check,
};

/// What says whether the token of a session is still valid.
pub(crate) enum RecheckBy {
    /// The verifier. The session has to keep the token for it.
    Token(Token),
    Check(Check),
}

/// The next recheck of a session.
pub(super) struct Schedule {
    /// A recheck that began with another one is about an earlier token.
    by: Arc<RecheckBy>,
    period: Duration,
    /// `None` while a recheck is running, and if there is none but on demand.
    pub(super) next: Option<Timestamp>,
    /// Set while a recheck is due: when the session ends unless it is confirmed.
    confirm_by: Option<Timestamp>,
    /// How many times in a row there was no answer.
    failures: u32,
}

/// What the task that rechecks a session does next.
pub(in crate::session) enum NextRecheck {
    /// Wait for a change, and for this time at most if there is one.
    Wait(Option<Duration>),
    /// Ask now, and get an answer within this time if there is one.
    Ask(Arc<RecheckBy>, Option<Duration>),
    /// The session has ended, or is not rechecked any more.
    Stop,
}

/// A verifier that wants a shorter period gets this one.
const MIN_PERIOD: Duration = Duration::from_secs(1);
/// The pauses after rechecks without an answer: the first one, which doubles each time, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

impl Schedule {
    pub(super) fn new(new: NewRecheck, now: Timestamp) -> Box<Self> {
        let NewRecheck { by, period } = new;
        let period = period.max(MIN_PERIOD);
        // Between three quarters of the period and all of it.
        let next = now.checked_add(period.saturating_sub(random_share(period / 4)));
        Box::new(Self { by, period, next, confirm_by: None, failures: 0 })
    }
}

impl State {
    fn schedule_of(&mut self, by: &Arc<RecheckBy>) -> Option<&mut Box<Schedule>> {
        self.schedule.as_mut().filter(|schedule| Arc::ptr_eq(&schedule.by, by))
    }
}

impl SessionCore {
    pub(in crate::session) fn has_recheck(&self) -> bool {
        lock(&self.state).schedule.is_some()
    }

    /// Whether a task must be started to recheck the session. It then counts as started.
    pub(in crate::session) fn needs_recheck_task(&self) -> bool {
        let mut state = lock(&self.state);
        let needs = state.schedule.is_some() && !state.has_recheck_task && self.is_connection(&state);
        state.has_recheck_task |= needs;
        needs
    }

    /// Whether the session is that of a connection, or of a handshake that is being admitted.
    fn is_connection(&self, state: &State) -> bool {
        state.kind != SessionKind::Request || self.guarded.load(Ordering::Acquire)
    }

    pub(in crate::session) fn next_recheck(&self) -> NextRecheck {
        let now = self.config.now();
        let mut state = lock(&self.state);
        let Some(schedule) = &mut state.schedule else {
            state.has_recheck_task = false;
            return NextRecheck::Stop;
        };
        let wait = schedule.next.map(|next| next.time_left(now));
        if wait == Some(Duration::ZERO) && schedule.confirm_by.is_none() {
            schedule.confirm_by = now.checked_add(self.config.max_unconfirmed);
        }
        let confirm_within = schedule.confirm_by.map(|confirm_by| confirm_by.time_left(now));
        match wait {
            _ if confirm_within == Some(Duration::ZERO) => {
                let end = End { reason: EndReason::Unconfirmed, code: None };
                let end = self.bulk_end(&state).unwrap_or(end);
                let change = self.set_end(&mut state, end);
                state.has_recheck_task = false;
                drop(state);
                self.notify(change);
                NextRecheck::Stop
            }
            Some(Duration::ZERO) => NextRecheck::Ask(Arc::clone(&schedule.by), confirm_within),
            wait => {
                let wait = wait.into_iter().chain(confirm_within).min();
                NextRecheck::Wait(wait.map(|wait| wait.min(WALL_CLOCK_INTERVAL)))
            }
        }
    }

    /// Begins a recheck. `None` if the session has ended or has another token by now.
    pub(in crate::session) fn begin_recheck(&self, by: &Arc<RecheckBy>) -> Option<Timestamp> {
        let now = self.config.now();
        lock(&self.state).schedule_of(by)?.next = None;
        Some(now)
    }

    /// Resolves when a recheck is pointless: the session has ended, or has another token.
    pub(in crate::session) async fn recheck_is_obsolete(&self, by: &Arc<RecheckBy>) {
        self.wait_until(|| lock(&self.state).schedule_of(by).is_none()).await;
    }

    /// The verifier accepts the token again: replaces the deadline and the next recheck, and runs `swap`, all under one
    /// lock. `None` if the session has ended or has another token by now.
    pub(in crate::session) fn confirm<T>(
        &self,
        by: &Arc<RecheckBy>,
        (now, expires_at): (Timestamp, Option<SystemTime>),
        new: Option<NewRecheck>,
        swap: impl FnOnce() -> T,
    ) -> Option<T> {
        self.apply_recheck(by, now, |state| {
            state.token_expiry = expires_at.and_then(|at| now.at_wall_time(at));
            (new, swap())
        })
    }

    /// The check accepts the session again.
    pub(in crate::session) fn confirm_by_check(
        &self,
        by: &Arc<RecheckBy>,
        (now, expires_at): (Timestamp, Option<SystemTime>),
        period: Option<Duration>,
    ) {
        self.apply_recheck(by, now, |state| {
            if let Some(at) = expires_at {
                state.token_expiry = now.at_wall_time(at);
            }
            let period = period.or_else(|| state.schedule.as_ref().map(|schedule| schedule.period));
            (period.map(|period| NewRecheck { by: Arc::clone(by), period }), ())
        });
    }

    fn apply_recheck<T>(
        &self,
        by: &Arc<RecheckBy>,
        now: Timestamp,
        apply: impl FnOnce(&mut State) -> (Option<NewRecheck>, T),
    ) -> Option<T> {
        let mut state = lock(&self.state);
        let asked_meanwhile = state.schedule_of(by)?.next;
        let left = self.deadline(&state).time_left(self.config.now());
        if let Some(change) = self.end_if_due(&mut state, left) {
            drop(state);
            self.notify(change);
            return None;
        }
        let (new, output) = apply(&mut state);
        // Asked for meanwhile, one more recheck follows even if this was to be the last one.
        let on_demand = asked_meanwhile.map(|_| NewRecheck { by: Arc::clone(by), period: Duration::MAX });
        let mut new = new.or(on_demand).map(|new| Schedule::new(new, now));
        if let (Some(new), Some(next)) = (&mut new, asked_meanwhile) {
            new.next = Some(next);
        }
        let old = mem::replace(&mut state.schedule, new);
        let change = self.count_change(&state);
        // Release the lock first: what a check has captured may block or re-enter when it is dropped.
        drop(state);
        drop(old);
        self.notify(change);
        Some(output)
    }

    /// There was no answer: tries again after a pause, and not before this time if the verifier named one.
    pub(in crate::session) fn recheck_failed(&self, by: &Arc<RecheckBy>, retry_after: Option<Duration>) {
        let now = self.config.now();
        let mut state = lock(&self.state);
        let Some(schedule) = state.schedule_of(by) else { return };
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(schedule.failures));
        let pause = doubled.min(MAX_PAUSE).max(retry_after.unwrap_or_default());
        schedule.failures = schedule.failures.saturating_add(1);
        if schedule.next.is_none() {
            schedule.next = now.checked_add(pause.saturating_add(random_share(pause / 2)));
        }
    }

    /// The verifier refuses the token: ends the session, unless it has another token by now. Returns whether it did.
    pub(in crate::session) fn end_by_recheck(&self, by: &Arc<RecheckBy>, end: End) -> bool {
        let mut state = lock(&self.state);
        if state.schedule_of(by).is_none() {
            return false;
        }
        let end = self.bulk_end(&state).unwrap_or(end);
        let change = self.set_end(&mut state, end);
        drop(state);
        self.notify(change);
        true
    }

    /// Has the session rechecked now, or as soon as it is admitted. Returns whether it is rechecked at all: a plain
    /// request is only if its response shows that it is a connection.
    pub(in crate::session) fn recheck_now(&self) -> bool {
        let now = self.config.now();
        let mut state = lock(&self.state);
        let is_connection = self.is_connection(&state);
        let Some(schedule) = &mut state.schedule else { return false };
        // Without a task yet, the one that will be started finds this.
        schedule.next = Some(now);
        state.rechecks_on_demand = state.rechecks_on_demand.wrapping_add(1);
        drop(state);
        self.changed.notify_waiters();
        is_connection
    }
}

/// At most this time, at random, and not nothing: timers are late by up to a millisecond.
fn random_share(time: Duration) -> Duration {
    const STEPS: u32 = 1024;
    let random = u32::try_from(RandomState::new().hash_one(()) % u64::from(STEPS)).unwrap_or_default();
    (time / STEPS).saturating_mul(random + 1)
}
