use std::{
    fmt,
    sync::{Arc, Weak},
    task::Waker,
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use super::{
    demands::Demands,
    recheck::{RecheckBy, Schedule},
    refresh::Attempts,
};
use crate::{
    address_limits::Visit,
    id::{Scope, ScopedId, SessionId},
    lock::{
        Mutex,
        atomic::{AtomicBool, AtomicU32},
        lock,
    },
    session::{
        End, KeepAlive, SessionKind, SessionMeta,
        any::AnySession,
        config::SessionConfig,
        deadline::{Deadline, Timestamp},
        registry::{Registration, Registry},
    },
    telemetry::{LiveSession, SessionSpan},
    verify::Verified,
};

/// One session, shared by its handles, its watchers, the registry and the supervisor of its socket.
pub(crate) struct SessionCore {
    id: SessionId,
    pub(in crate::session) subject: Option<Arc<str>>,
    pub(in crate::session) issuer: Option<Arc<str>>,
    /// See [`Verified::confirmation`](crate::verify::Verified).
    pub(in crate::session) confirmation: Option<Arc<str>>,
    pub(in crate::session) meta: SessionMeta,
    pub(in crate::session) config: Arc<SessionConfig>,
    pub(super) connected: Timestamp,
    /// Counts the changes of `state` that concern the supervisor, which can then skip the lock if there is none. It may
    /// wrap around.
    pub(super) version: AtomicU32,
    pub(super) ended: AtomicBool,
    /// A handshake was admitted.
    pub(in crate::session) of_handshake: AtomicBool,
    /// A [`ConnectionGuard`](super::ConnectionGuard) was taken: the session lasts as long as that.
    pub(super) guarded: AtomicBool,
    /// The application has waited for the end, or has asked for it.
    pub(in crate::session) watched: AtomicBool,
    pub(super) state: Mutex<State>,
    /// Wakes the tasks that wait for such a change.
    pub(in crate::session) changed: Notify,
    any: Weak<dyn AnySession>,
}

/// What changes during a session.
pub(super) struct State {
    pub(super) token_expiry: Option<Timestamp>,
    pub(super) token: TokenInfo,
    pub(super) end: Option<End>,
    pub(super) supervisor: Option<Waker>,
    pub(super) registration: Option<Registration>,
    /// The place among the connections of the client's address. Boxed, because most layers have no such limits.
    pub(super) visit: Option<Box<Visit>>,
    pub(super) attempts: Attempts,
    pub(super) kind: SessionKind,
    /// Counts the session in the metrics, once it is admitted.
    pub(super) live: LiveSession,
    /// How many times the token was replaced.
    pub(super) refreshes: u32,
    /// How many times it was to be rechecked on demand. Both may wrap around.
    pub(super) rechecks_on_demand: u32,
    /// Boxed, because most sessions have none. `None` once the session has ended: nothing keeps its token then.
    pub(super) schedule: Option<Box<Schedule>>,
    /// Boxed as well.
    pub(super) demands: Option<Box<Demands>>,
    /// A task rechecks the session, or is about to see that it need not.
    pub(super) has_recheck_task: bool,
}

/// What the verifier said about a new session.
pub(in crate::session) struct NewSession {
    pub(in crate::session) subject: Option<Arc<str>>,
    pub(in crate::session) issuer: Option<Arc<str>>,
    pub(in crate::session) confirmation: Option<Arc<str>>,
    pub(in crate::session) expires_at: Option<SystemTime>,
    pub(in crate::session) token: TokenInfo,
    pub(in crate::session) kind: SessionKind,
    pub(in crate::session) meta: SessionMeta,
    pub(in crate::session) recheck: Option<NewRecheck>,
}

/// What the verifier said about the next recheck.
pub(in crate::session) struct NewRecheck {
    pub(in crate::session) by: Arc<RecheckBy>,
    pub(in crate::session) period: Duration,
}

/// What revocations need to know of a session's current token.
#[derive(Clone)]
pub(in crate::session) struct TokenInfo {
    pub(in crate::session) id: Option<Arc<str>>,
    pub(in crate::session) provider_session: Option<Arc<str>>,
    pub(in crate::session) issued_at: Option<SystemTime>,
    /// When the session began to use it. It was issued before that, whatever its `iat` says.
    pub(in crate::session) since: SystemTime,
}

impl TokenInfo {
    /// Of a token that was given to the verifier at this time.
    pub(in crate::session) fn of<C>(verified: &Verified<C>, since: SystemTime) -> Self {
        Self {
            id: verified.token_id.clone(),
            provider_session: verified.provider_session.clone(),
            issued_at: verified.issued_at,
            since,
        }
    }
}

impl SessionCore {
    pub(in crate::session) fn new(
        new: NewSession,
        verified: Timestamp,
        config: Arc<SessionConfig>,
        any: Weak<dyn AnySession>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: config.sessions.as_ref().map_or_else(SessionId::next, |sessions| SessionId::next_of(sessions.0.node())),
            subject: new.subject,
            issuer: new.issuer,
            confirmation: new.confirmation,
            meta: new.meta,
            config,
            connected: verified,
            version: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            of_handshake: AtomicBool::new(false),
            guarded: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            state: Mutex::new(State {
                token_expiry: new.expires_at.and_then(|at| verified.at_wall_time(at)),
                token: new.token,
                end: None,
                supervisor: None,
                registration: None,
                visit: None,
                attempts: Attempts::new(),
                kind: new.kind,
                live: LiveSession::default(),
                refreshes: 0,
                schedule: new.recheck.map(|recheck| Schedule::new(recheck, verified)),
                rechecks_on_demand: 0,
                demands: None,
                has_recheck_task: false,
            }),
            changed: Notify::new(),
            any,
        })
    }

    /// The session with its claims, as long as something holds it.
    pub(in crate::session) fn any(&self) -> Option<Arc<dyn AnySession>> {
        self.any.upgrade()
    }

    pub(crate) const fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    pub(in crate::session) fn scoped_subject(&self) -> Option<ScopedId> {
        Some(ScopedId::from_claims(self.issuer.clone(), self.subject.clone()?))
    }

    /// The same, borrowed: a key for look-ups.
    pub(in crate::session) fn subject_key(&self) -> Option<(Scope<'_>, &str)> {
        Some((self.scope(), self.subject()?))
    }

    fn scope(&self) -> Scope<'_> {
        Scope::from_claim(self.issuer.as_deref())
    }

    /// Whether this scope includes the session's issuer.
    pub(in crate::session) fn is_in(&self, scope: Scope<'_>) -> bool {
        scope == Scope::Any || scope == self.scope()
    }

    pub(in crate::session) fn kind(&self) -> SessionKind {
        lock(&self.state).kind
    }

    /// How the layer keeps connections alive.
    pub(crate) fn keep_alive(&self) -> Option<KeepAlive> {
        self.config.keep_alive
    }

    pub(in crate::session) const fn connected_at(&self) -> SystemTime {
        self.connected.wall
    }

    /// How long the session has lasted.
    pub(super) fn age(&self) -> Duration {
        self.connected.elapsed()
    }

    /// The span in which its handler runs.
    pub(crate) fn span(&self) -> SessionSpan {
        SessionSpan::new(self.id, self.subject(), self.config.log_subject)
    }

    pub(in crate::session) fn expires_at(&self) -> Option<SystemTime> {
        self.deadline(&lock(&self.state)).wall_time()
    }

    /// How long the session has left, if it has a deadline.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let now = self.config.now();
        self.deadline(&lock(&self.state)).time_left(now).map(|(left, _)| left)
    }

    /// When the session ends, and how long that is from now.
    pub(crate) fn expiry(&self) -> Option<(SystemTime, Duration)> {
        let now = self.config.now();
        let deadline = self.deadline(&lock(&self.state));
        Some((deadline.wall_time()?, deadline.time_left(now)?.0))
    }

    /// Computed rather than stored, because there are many sessions.
    pub(super) fn deadline(&self, state: &State) -> Deadline {
        Deadline::new(state.token_expiry, self.config.max_lifetime, self.connected)
    }

    pub(in crate::session) fn token(&self) -> TokenInfo {
        lock(&self.state).token.clone()
    }

    /// The deadline, the token, and the result of `read`, all from one moment.
    pub(in crate::session) fn snapshot<T>(&self, read: impl FnOnce() -> T) -> (Option<SystemTime>, TokenInfo, T) {
        let state = lock(&self.state);
        (self.deadline(&state).wall_time(), state.token.clone(), read())
    }

    /// Sets what keeps the session registered. It is dropped with the connection.
    pub(in crate::session) fn set_registration(&self, registration: Registration) {
        lock(&self.state).registration = Some(registration);
    }

    pub(in crate::session) fn registry(&self) -> Option<Arc<Registry>> {
        lock(&self.state).registration.as_ref().map(Registration::registry)
    }

    /// Whether the session counts as a connection.
    pub(crate) fn is_counted(&self) -> bool {
        lock(&self.state).registration.as_ref().is_some_and(Registration::is_counted)
    }
}

impl fmt::Debug for SessionCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCore").field("id", &self.id).field("subject", &self.subject).finish_non_exhaustive()
    }
}
