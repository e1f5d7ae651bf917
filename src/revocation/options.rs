use std::time::Duration;

use crate::ConfigError;

/// For how long revocations are kept, and what happens when a node has lost touch with the store.
///
/// ```
/// use axum_ws_auth::RevocationOptions;
/// use std::time::Duration;
///
/// let options = RevocationOptions::new().keep_for(Duration::from_secs(3600))?.max_staleness(Duration::from_secs(20))?;
/// # Ok::<(), axum_ws_auth::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RevocationOptions {
    pub(super) keep_for: Duration,
    pub(super) max_staleness: Duration,
    pub(super) admit_when_stale: bool,
}

const LEAST_STALENESS: Duration = Duration::from_secs(15);

impl RevocationOptions {
    /// Kept for a day; without touch for a minute, no new sessions.
    pub const fn new() -> Self {
        Self {
            keep_for: Duration::from_secs(24 * 3600),
            max_staleness: Duration::from_secs(60),
            admit_when_stale: false,
        }
    }

    /// Sets for how long a revocation is kept: as long as the longest life of a token that it may be about, leeway
    /// included. A token that is good for longer is good again then.
    ///
    /// Defaults to 24 hours, because access tokens are good for minutes to hours.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn keep_for(self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() {
            return Err(ConfigError::ZeroDuration("time that revocations are kept"));
        }
        Ok(Self { keep_for: time, ..self })
    }

    /// Sets how old a node's knowledge may be. Beyond that it answers handshakes and refreshes with 503; live sessions go
    /// on. Defaults to 60 seconds: a few heartbeats of a store.
    ///
    /// # Errors
    ///
    /// If it is shorter than 15 seconds: a store that has nothing to say says so every five.
    pub fn max_staleness(self, age: Duration) -> Result<Self, ConfigError> {
        if age < LEAST_STALENESS {
            return Err(ConfigError::ShortStaleness(age));
        }
        Ok(Self { max_staleness: age, ..self })
    }

    /// Admits handshakes also when the node's knowledge is too old, and counts them:
    /// [`RevocationStatus::admitted_when_stale`](super::RevocationStatus::admitted_when_stale).
    ///
    /// Insecure because a token that was revoked in the meantime is good here. When touch is regained, what it opened
    /// is ended.
    pub const fn insecure_admit_when_stale(mut self) -> Self {
        self.admit_when_stale = true;
        self
    }
}

impl Default for RevocationOptions {
    fn default() -> Self {
        Self::new()
    }
}
