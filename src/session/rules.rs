use std::time::Duration;

use super::{CloseCodes, Sessions, deadline::Moment};
use crate::TimeSource;

/// What a layer lays down for its sessions.
#[derive(Clone, Debug)]
pub(crate) struct SessionRules {
    pub(crate) time: TimeSource,
    pub(crate) close_codes: CloseCodes,
    pub(crate) max_token_len: usize,
    pub(crate) max_lifetime: Option<Duration>,
    /// How many refreshes may be tried in how long a time.
    pub(crate) refresh_limit: (u32, Duration),
    pub(crate) sessions: Option<Sessions>,
}

impl SessionRules {
    pub(super) fn now(&self) -> Moment {
        Moment::now(&self.time)
    }
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            time: TimeSource::default(),
            close_codes: CloseCodes::default(),
            max_token_len: 8 * 1024,
            max_lifetime: None,
            refresh_limit: (5, Duration::from_secs(60)),
            sessions: None,
        }
    }
}
