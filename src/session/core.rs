//! The life of one session, whatever the type of its claims.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use super::{
    End, EndReason, RefreshError,
    config::SessionConfig,
    deadline::{Deadline, Moment},
    refresh::{Attempts, RefreshErrorKind},
    registry::{Registration, Registry},
};
use crate::{
    id::{Scope, ScopedId, SessionId},
    lock::lock,
    telemetry,
};

/// How long the wall clock may go unread: it may have been set, and the machine may have slept.
pub(super) const WALL_CLOCK_READ: Duration = Duration::from_secs(60);

/// What is shared by the handles of a session, the registry and the supervisor of its socket.
pub(crate) struct SessionCore {
    id: SessionId,
    pub(super) subject: Option<Arc<str>>,
    pub(super) issuer: Option<Arc<str>>,
    pub(super) config: Arc<SessionConfig>,
    accepted: Moment,
    /// Counts the changes of `state` that a supervisor must see, so that it need not lock to see that there is none.
    version: AtomicU64,
    ended: AtomicBool,
    leased: AtomicBool,
    /// Somebody has looked whether it has ended, or waits for that.
    pub(super) watched: AtomicBool,
    state: Mutex<State>,
    /// Tells those who wait in [`SessionCore::ended`] and its like of the same changes.
    pub(super) changed: Notify,
}

struct State {
    token_ends: Option<Moment>,
    token: TokenFacts,
    end: Option<End>,
    supervisor: Option<Waker>,
    registration: Option<Registration>,
    attempts: Attempts,
}

/// What a supervisor sees.
pub(crate) enum Status {
    Ended(End),
    /// Look again at the next change, and after this time if there is one.
    Active(Option<Duration>),
}

/// What a session begins with.
pub(super) struct Facts {
    pub(super) subject: Option<Arc<str>>,
    pub(super) issuer: Option<Arc<str>>,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) token: TokenFacts,
}

/// What is known of the token that a session stands on; another one after a refresh.
#[derive(Clone)]
pub(super) struct TokenFacts {
    pub(super) id: Option<Arc<str>>,
    pub(super) issued_at: Option<SystemTime>,
    /// Since when the session depends on it: it was issued before that, whatever it says itself.
    pub(super) since: SystemTime,
}

impl SessionCore {
    pub(super) fn new(facts: Facts, verified: Moment, config: Arc<SessionConfig>) -> Arc<Self> {
        let state = State {
            token_ends: facts.expires_at.and_then(|at| verified.until(at)),
            token: facts.token,
            end: None,
            supervisor: None,
            registration: None,
            attempts: Attempts::new(),
        };
        Arc::new(Self {
            id: SessionId::next(),
            subject: facts.subject,
            issuer: facts.issuer,
            config,
            accepted: verified,
            version: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            leased: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    pub(crate) const fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Whose session it is, for look-ups.
    pub(super) fn holder(&self) -> Option<(Scope<'_>, &str)> {
        Some((self.scope(), self.subject()?))
    }

    pub(super) fn scoped_subject(&self) -> Option<ScopedId> {
        Some(ScopedId::stated(self.issuer.clone(), self.subject.clone()?))
    }

    fn scope(&self) -> Scope<'_> {
        Scope::stated(self.issuer.as_deref())
    }

    /// Whether an id in this scope may be one of this session's issuer.
    pub(super) fn is_in(&self, scope: Scope<'_>) -> bool {
        scope == Scope::Any || scope == self.scope()
    }

    pub(super) const fn connected_at(&self) -> SystemTime {
        self.accepted.wall
    }

    pub(super) fn deadline(&self) -> Option<SystemTime> {
        self.deadline_in(&lock(&self.state)).wall()
    }

    /// The greatest age is not kept but reckoned, because there are many sessions.
    fn deadline_in(&self, state: &State) -> Deadline {
        Deadline::new(state.token_ends, self.config.max_lifetime, self.accepted)
    }

    /// What holds at one moment: the deadline, the token, and what is read meanwhile.
    pub(super) fn at_once<T>(&self, read: impl FnOnce() -> T) -> (Option<SystemTime>, TokenFacts, T) {
        let state = lock(&self.state);
        (self.deadline_in(&state).wall(), state.token.clone(), read())
    }

    pub(super) fn token(&self) -> TokenFacts {
        lock(&self.state).token.clone()
    }

    pub(super) fn registry(&self) -> Option<Arc<Registry>> {
        lock(&self.state).registration.as_ref().map(Registration::registry)
    }

    /// Whether it holds a connection that is counted.
    pub(super) fn is_counted(&self) -> bool {
        lock(&self.state).registration.as_ref().is_some_and(Registration::is_counted)
    }

    /// How long there is to go, if there is an end to it.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let now = self.config.now();
        self.deadline_in(&lock(&self.state)).left(now).map(|(left, _)| left)
    }

    /// The close code and the reason, for a close frame.
    pub(crate) fn close_code(&self, end: End) -> u16 {
        end.code.unwrap_or_else(|| self.config.close_codes.of_end(end.reason))
    }

    /// The close code, once the session has ended.
    pub(super) fn close_code_of_end(&self) -> Option<u16> {
        match self.status(None).0 {
            Status::Ended(end) => Some(self.close_code(end)),
            Status::Active(_) => None,
        }
    }

    /// Ends the session, unless it has ended. Says whether it did.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return false;
        }
        let earlier = self.ordered(&state);
        let news = self.end_in(&mut state, earlier.unwrap_or(end));
        drop(state);
        self.tell(news);
        earlier.is_none()
    }

    /// Ends the session by an order that is being carried out. It was counted when the order was given.
    pub(super) fn end_by_order(&self, end: End) {
        let mut state = lock(&self.state);
        if state.end.is_none() {
            let news = self.end_in(&mut state, end);
            drop(state);
            self.tell(news);
        }
    }

    fn ordered(&self, state: &State) -> Option<End> {
        state.registration.as_ref()?.ordered(self, state.token.id.as_deref())
    }

    fn end_in(&self, state: &mut State, end: End) -> Change {
        state.end = Some(end);
        self.ended.store(true, Ordering::Release);
        let holds_a_connection = state.registration.as_ref().is_some_and(Registration::is_counted);
        let is_seen = self.leased.load(Ordering::Acquire) || self.watched.load(Ordering::Acquire);
        Change {
            retire_from: state.registration.as_ref().map(Registration::registry),
            is_unwatched: end.reason != EndReason::Closed && holds_a_connection && !is_seen,
            ..self.change(state)
        }
    }

    /// Whether the session has ended, a deadline that nobody has looked at since it came excepted.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn guard(self: &Arc<Self>) -> ConnectionGuard {
        self.leased.store(true, Ordering::Release);
        ConnectionGuard(Arc::clone(self))
    }

    pub(super) fn release_unless_leased(&self) {
        if !self.leased.load(Ordering::Acquire) {
            self.release();
        }
    }

    /// The connection is over, or there never was one: what it held is free again.
    fn release(&self) {
        self.end(End { reason: EndReason::Closed, code: None });
        // Bound first, so that the lock is not held while it is dropped.
        let registration = lock(&self.state).registration.take();
        drop(registration);
    }

    /// Warns if the handler has dropped the session of a handshake that was accepted just now.
    pub(crate) fn warn_if_dropped(&self) {
        // What is leased has its supervisor, and what was ended by an order before that was held until then.
        if self.leased.load(Ordering::Acquire) || !self.has_ended() {
            return;
        }
        let is_closed = lock(&self.state).end.is_some_and(|end| end.reason == EndReason::Closed);
        if is_closed
            && let Some(sessions) = &self.config.sessions
            && !sessions.0.warned_of_dropped.swap(true, Ordering::Relaxed)
        {
            telemetry::session_dropped(self.id);
        }
    }

    /// Hands over what keeps the session registered. It is dropped with the connection.
    pub(super) fn hold(&self, registration: Registration) {
        lock(&self.state).registration = Some(registration);
    }

    /// Why the session ended, if it has. A deadline that has come ends it here.
    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        match self.status(None).0 {
            Status::Ended(end) => Some(end.reason),
            Status::Active(_) => None,
        }
    }

    /// Which change a supervisor saw last.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Looks whether the session lives, and has the supervisor woken at the next change. Returns the version that was
    /// seen.
    pub(crate) fn status(&self, supervisor: Option<&Waker>) -> (Status, u64) {
        let now = self.config.now();
        let mut state = lock(&self.state);
        if let Some(waker) = supervisor {
            state.supervisor = Some(waker.clone());
        }
        let news = self.end_if_due(&mut state, now);
        let sight = match (state.end, self.deadline_in(&state).left(now)) {
            (Some(end), _) => Status::Ended(end),
            (None, left) => Status::Active(left.map(|(left, _)| left.min(WALL_CLOCK_READ))),
        };
        let version = self.version();
        drop(state);
        news.into_iter().for_each(|news| self.tell(news));
        (sight, version)
    }

    /// Ends the session if its deadline has come, or an order is about it that is still being carried out.
    fn end_if_due(&self, state: &mut State, now: Moment) -> Option<Change> {
        if state.end.is_none()
            && let Some(end) = self.ordered(state)
        {
            return Some(self.end_in(state, end));
        }
        match self.deadline_in(state).left(now) {
            Some((Duration::ZERO, reason)) if state.end.is_none() => {
                Some(self.end_in(state, End { reason, code: None }))
            }
            _ => None,
        }
    }

    /// Has the supervisor look at its socket.
    pub(crate) fn wake_supervisor(&self) {
        let supervisor = lock(&self.state).supervisor.clone();
        if let Some(supervisor) = supervisor {
            supervisor.wake();
        }
    }

    /// Begins a refresh: one at a time, and not too many.
    pub(super) fn begin_refresh(&self) -> Result<Refreshing<'_>, RefreshError> {
        if self.end_reason().is_some() {
            return Err(RefreshError::of(RefreshErrorKind::SessionEnded));
        }
        lock(&self.state).attempts.begin(self.config.refresh_limit)?;
        Ok(Refreshing(self))
    }

    /// Moves the deadline, and runs `swap` at the same moment: not after the end, nor after a deadline that has come.
    pub(super) fn renew<T>(
        &self,
        expires_at: Option<SystemTime>,
        token: TokenFacts,
        verified: Moment,
        swap: impl FnOnce() -> T,
    ) -> Result<T, RefreshError> {
        let now = self.config.now();
        let mut state = lock(&self.state);
        let (news, swapped) = match self.end_if_due(&mut state, now) {
            Some(news) => (Some(news), None),
            None if state.end.is_some() => (None, None),
            None => {
                state.token_ends = expires_at.and_then(|at| verified.until(at));
                state.token = token;
                (Some(self.change(&state)), Some(swap()))
            }
        };
        drop(state);
        news.into_iter().for_each(|news| self.tell(news));
        swapped.ok_or_else(|| RefreshError::of(RefreshErrorKind::SessionEnded))
    }

    /// Counts a change that was made under the lock.
    fn change(&self, state: &State) -> Change {
        self.version.fetch_add(1, Ordering::Release);
        Change { supervisor: state.supervisor.clone(), retire_from: None, is_unwatched: false }
    }

    /// Tells of a change when the lock is released: whoever is told may lock it.
    fn tell(&self, news: Change) {
        if let Some(registry) = news.retire_from {
            registry.retire(self);
            if news.is_unwatched && !registry.warned_of_unwatched.swap(true, Ordering::Relaxed) {
                telemetry::session_unwatched(self.id);
            }
        }
        if let Some(supervisor) = news.supervisor {
            supervisor.wake();
        }
        self.changed.notify_waiters();
    }
}

/// What the session lasts as long as: its connection, or the upgrade that may come to be one.
pub(crate) struct ConnectionGuard(Arc<SessionCore>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Who has yet to be told of a change.
struct Change {
    supervisor: Option<Waker>,
    /// Of an end.
    retire_from: Option<Arc<Registry>>,
    /// Of the end of a connection that nobody will close.
    is_unwatched: bool,
}

/// A refresh under way. Dropped, it makes room for the next one.
pub(super) struct Refreshing<'a>(&'a SessionCore);

impl Drop for Refreshing<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).attempts.finish();
    }
}

impl fmt::Debug for SessionCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCore").field("id", &self.id).field("subject", &self.subject).finish_non_exhaustive()
    }
}
