//! How a session ends, and how its state is observed.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    task::Waker,
    time::Duration,
};

use super::{
    WALL_CLOCK_INTERVAL,
    recheck::Schedule,
    state::{SessionCore, State},
};
use crate::{
    lock::{atomic::AtomicBool, lock},
    session::{
        End, EndReason, SessionKind,
        registry::{Registration, Registry},
    },
    telemetry::{self, LiveSession},
};

/// The state of a session.
pub(crate) enum Status {
    /// Check again at the next change, and after this time at the latest if there is one.
    Active(Option<Duration>),
    Ended(End),
}

/// What to do about a change of the state once the lock is released.
#[must_use]
pub(super) struct Change {
    supervisor: Option<Waker>,
    /// The count of a session that has ended, and the reason. It is dropped without the lock, because a recorder may
    /// block.
    ended: Option<(LiveSession, EndReason)>,
    /// The registry of a session that has ended.
    ended_in: Option<Arc<Registry>>,
    /// The session of a connection has ended, and nothing will close that.
    is_unwatched: bool,
    /// The kind of a session whose end is worth an event.
    noted: Option<SessionKind>,
    /// What kept the token. It is dropped without the lock, because a check may have captured anything.
    _schedule: Option<Box<Schedule>>,
}

impl SessionCore {
    /// The handshake is admitted: from here on, the end of the session is an event.
    pub(crate) fn admit_handshake(&self) {
        telemetry::handshake_admitted(self.id(), self.subject(), self.config.log_subject);
        self.note_end_from(&self.of_handshake);
    }

    pub(crate) fn admit_request(&self) {
        telemetry::request_admitted(self.id(), self.subject(), self.config.log_subject);
    }

    /// Sets the flag from which on the end of the session is an event. One that has ended meanwhile is told of now.
    pub(super) fn note_end_from(&self, flag: &AtomicBool) {
        // Under the lock, so that either the end sees the flag, or this sees the end.
        let state = lock(&self.state);
        let was_noted = self.is_noted();
        flag.store(true, Ordering::Release);
        let ended = state.end.filter(|_| !was_noted).map(|end| (state.kind, end.reason));
        drop(state);
        if let Some((kind, reason)) = ended {
            self.tell_end(kind, reason);
        }
    }

    /// The session of any other request ends with its response, and that of a refused handshake never began.
    fn is_noted(&self) -> bool {
        self.guarded.load(Ordering::Acquire) || self.of_handshake.load(Ordering::Acquire)
    }

    fn tell_end(&self, kind: SessionKind, reason: EndReason) {
        let subject = (self.subject(), self.config.log_subject);
        telemetry::session_ended(self.id(), kind.as_str(), reason.as_str(), || self.age(), subject);
    }

    /// Ends the session, unless it has ended. Returns whether it did.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return false;
        }
        let earlier = self.bulk_end(&state);
        let change = self.set_end(&mut state, earlier.unwrap_or(end));
        drop(state);
        self.notify(change);
        earlier.is_none()
    }

    /// Ends the session, unless it has ended, for a bulk end that has counted it already.
    pub(in crate::session) fn end_in_bulk(&self, end: End) {
        let mut state = lock(&self.state);
        if state.end.is_none() {
            let change = self.set_end(&mut state, end);
            drop(state);
            self.notify(change);
        }
    }

    /// The end that a running bulk end has for this session.
    pub(super) fn bulk_end(&self, state: &State) -> Option<End> {
        state.registration.as_ref()?.bulk_end(self, &state.token)
    }

    pub(super) fn set_end(&self, state: &mut State, end: End) -> Change {
        state.end = Some(end);
        self.ended.store(true, Ordering::Release);
        let is_connection = state.registration.as_ref().is_some_and(Registration::is_counted);
        let is_observed = self.guarded.load(Ordering::Acquire) || self.watched.load(Ordering::Acquire);
        let is_noted = self.is_noted();
        Change {
            ended: Some((mem::take(&mut state.live), end.reason)),
            ended_in: state.registration.as_ref().map(Registration::registry),
            // Before its admission, no handler has it that could watch it.
            is_unwatched: end.reason != EndReason::Closed && is_connection && is_noted && !is_observed,
            noted: is_noted.then_some(state.kind),
            _schedule: state.schedule.take(),
            ..self.count_change(state)
        }
    }

    /// Whether the session has ended. A deadline that has passed counts only once something has called
    /// [`status`](Self::status).
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Why the session ended, if it has. Ends it if its deadline has passed.
    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        match self.status(None).0 {
            Status::Ended(end) => Some(end.reason),
            Status::Active(_) => None,
        }
    }

    /// The close code of the session's end, if it has ended.
    pub(in crate::session) fn end_code(&self) -> Option<u16> {
        match self.status(None).0 {
            Status::Ended(end) => Some(self.close_code(end)),
            Status::Active(_) => None,
        }
    }

    pub(crate) fn close_code(&self, end: End) -> u16 {
        end.code.unwrap_or_else(|| self.config.close_codes.of_end(end.reason))
    }

    /// The number of the latest change that concerns the supervisor.
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// The status, and the version it was read at. Ends the session if its deadline has passed. The supervisor is woken
    /// at the next change.
    pub(crate) fn status(&self, supervisor: Option<&Waker>) -> (Status, u32) {
        let now = self.config.now();
        let mut state = lock(&self.state);
        if let Some(waker) = supervisor {
            state.supervisor = Some(waker.clone());
        }
        let left = self.deadline(&state).time_left(now);
        let change = self.end_if_due(&mut state, left);
        let status = match state.end {
            Some(end) => Status::Ended(end),
            None => Status::Active(left.map(|(left, _)| left.min(WALL_CLOCK_INTERVAL))),
        };
        let version = self.version();
        drop(state);
        change.into_iter().for_each(|change| self.notify(change));
        (status, version)
    }

    /// Ends the session if no time is left until its deadline, or if a running bulk end matches it.
    pub(super) fn end_if_due(&self, state: &mut State, left: Option<(Duration, EndReason)>) -> Option<Change> {
        if state.end.is_some() {
            return None;
        }
        let is_due = |(left, _): &(Duration, EndReason)| left.is_zero();
        let end = self.bulk_end(state).or_else(|| left.filter(is_due).map(|(_, reason)| End { reason, code: None }))?;
        Some(self.set_end(state, end))
    }

    /// Wakes the supervisor, which then looks at its socket.
    pub(crate) fn wake_supervisor(&self) {
        let supervisor = lock(&self.state).supervisor.clone();
        if let Some(supervisor) = supervisor {
            supervisor.wake();
        }
    }

    /// Counts a change that was made under the lock.
    pub(super) fn count_change(&self, state: &State) -> Change {
        self.version.fetch_add(1, Ordering::Release);
        let supervisor = state.supervisor.clone();
        Change { supervisor, ended: None, noted: None, ended_in: None, is_unwatched: false, _schedule: None }
    }

    /// Notifies the registry, the supervisor and the waiting tasks. Call it without the lock, which they may take.
    pub(super) fn notify(&self, change: Change) {
        if let Some((live, reason)) = change.ended {
            live.end(reason.as_str());
            if let Some(kind) = change.noted {
                self.tell_end(kind, reason);
            }
        }
        if let Some(registry) = change.ended_in {
            registry.session_ended(self);
            if change.is_unwatched && !registry.warned_of_unwatched.swap(true, Ordering::Relaxed) {
                telemetry::session_unwatched(self.id());
            }
        }
        if let Some(supervisor) = change.supervisor {
            supervisor.wake();
        }
        self.changed.notify_waiters();
    }
}
