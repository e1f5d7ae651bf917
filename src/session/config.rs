use std::{future::pending, sync::Arc, time::Duration};

use super::{
    AdmissionError, CloseCodes, KeepAlive, Permit, Registry, Sessions, deadline::Timestamp, recheck::RecheckLimit,
};
use crate::{
    revocation::{LiveSessions, Revocations},
    telemetry::{LogSubject, Meter, Throttle},
    time::TimeSource,
};

/// The session settings of a layer.
#[derive(Clone, Debug)]
pub(crate) struct SessionConfig {
    pub(crate) time: TimeSource,
    pub(crate) close_codes: CloseCodes,
    pub(crate) max_token_len: usize,
    pub(crate) max_lifetime: Option<Duration>,
    /// How many refreshes may be tried within what window of time.
    pub(crate) refresh_limit: (u32, Duration),
    /// How long the verifier may take for one.
    pub(crate) refresh_timeout: Duration,
    pub(crate) keep_alive: Option<KeepAlive>,
    /// How long a session goes on while the verifier does not answer a recheck.
    pub(crate) max_unconfirmed: Duration,
    pub(crate) recheck_limit: Arc<RecheckLimit>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) revocations: Option<Revocations>,
    pub(crate) meter: Meter,
    pub(crate) log_subject: LogSubject,
    /// Bounds the events of refused refreshes.
    pub(crate) refused_refreshes: Arc<Throttle>,
}

impl SessionConfig {
    pub(crate) fn set_sessions(&mut self, sessions: Sessions) {
        self.sessions = Some(sessions);
        self.link_revocations();
    }

    pub(crate) fn set_revocations(&mut self, revocations: Revocations) {
        self.revocations = Some(revocations);
        self.sessions.get_or_insert_default();
        self.link_revocations();
    }

    /// Has revocations end the registered sessions.
    fn link_revocations(&self) {
        if let (Some(revocations), Some(sessions)) = (&self.revocations, &self.sessions) {
            let live: Arc<dyn LiveSessions> = Arc::<Registry>::clone(&sessions.0);
            revocations.attach(&live);
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now(&self.time)
    }

    /// Whether another connection would be admitted now.
    pub(crate) fn check_capacity(&self) -> Result<(), AdmissionError> {
        self.sessions.as_ref().map_or(Ok(()), |sessions| sessions.0.check_capacity())
    }

    /// Resolves when a drain begins.
    pub(crate) async fn draining(&self) -> AdmissionError {
        match &self.sessions {
            Some(sessions) => sessions.0.draining().await,
            None => pending().await,
        }
    }

    /// What a client is told to wait that gets no place.
    #[cfg(feature = "streams")]
    pub(crate) fn retry_after(&self) -> Duration {
        self.sessions.as_ref().map_or(super::Limits::new().retry_after, |sessions| sessions.0.retry_after())
    }

    /// Whether sessions are counted across nodes.
    pub(crate) fn shares_limits(&self) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| sessions.0.shares_limits())
    }

    /// A permit for a connection. `None` without a registry.
    pub(crate) fn counted_permit(&self) -> Result<Option<Permit>, AdmissionError> {
        self.sessions.as_ref().map(|sessions| sessions.0.slot().map(Permit::Counted)).transpose()
    }

    /// A permit for a request that is not a handshake. `None` without a registry.
    pub(crate) fn uncounted_permit(&self) -> Option<Permit> {
        self.sessions.as_ref().map(|sessions| Permit::Uncounted(Arc::clone(&sessions.0)))
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            time: TimeSource::default(),
            close_codes: CloseCodes::default(),
            max_token_len: 8 * 1024,
            max_lifetime: None,
            refresh_limit: (5, Duration::from_secs(60)),
            refresh_timeout: Duration::from_secs(10),
            keep_alive: None,
            max_unconfirmed: Duration::from_secs(5 * 60),
            recheck_limit: Arc::default(),
            sessions: None,
            revocations: None,
            meter: Meter::default(),
            log_subject: LogSubject::default(),
            refused_refreshes: Arc::new(Throttle::new()),
        }
    }
}
