use std::{sync::Arc, time::Duration};

use super::{CloseCodes, Registry, Sessions, deadline::Moment};
use crate::{
    revocation::{LiveSessions, Revocations},
    time::TimeSource,
};

/// What a layer lays down for its sessions.
#[derive(Clone, Debug)]
pub(crate) struct SessionConfig {
    pub(crate) time: TimeSource,
    pub(crate) close_codes: CloseCodes,
    pub(crate) max_token_len: usize,
    pub(crate) max_lifetime: Option<Duration>,
    /// How many refreshes may be tried in how long a time.
    pub(crate) refresh_limit: (u32, Duration),
    /// How long the verifier may take for one.
    pub(crate) refresh_timeout: Duration,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) revocations: Option<Revocations>,
}

impl SessionConfig {
    pub(crate) fn set_sessions(&mut self, sessions: Sessions) {
        self.sessions = Some(sessions);
        self.have_revoked_sessions_end();
    }

    pub(crate) fn set_revocations(&mut self, revocations: Revocations) {
        self.revocations = Some(revocations);
        self.sessions.get_or_insert_default();
        self.have_revoked_sessions_end();
    }

    fn have_revoked_sessions_end(&self) {
        if let (Some(revocations), Some(sessions)) = (&self.revocations, &self.sessions) {
            let live: Arc<dyn LiveSessions> = Arc::<Registry>::clone(&sessions.0);
            revocations.attach(&live);
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::now(&self.time)
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
            sessions: None,
            revocations: None,
        }
    }
}
