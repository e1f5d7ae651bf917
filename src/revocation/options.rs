use std::time::Duration;

use crate::error::ConfigError;

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
    pub(super) clock_skew: Duration,
}

const LEAST_STALENESS: Duration = Duration::from_secs(15);
const MOST_SKEW: Duration = Duration::from_secs(3600);

impl RevocationOptions {
    /// Kept for a day; without touch for a minute, no new sessions; clocks that differ by five seconds at most.
    pub const fn new() -> Self {
        Self {
            keep_for: Duration::from_secs(24 * 3600),
            max_staleness: Duration::from_secs(60),
            admit_when_stale: false,
            clock_skew: Duration::from_secs(5),
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

    /// Sets how far the clocks of issuers may be ahead of those of the nodes. Defaults to five seconds.
    ///
    /// It concerns revocations by time: [of a subject](super::Revocations::revoke_subject), and of [all that was issued until a
    /// moment](super::Revocations::revoke_issued_until). By them, a token is revoked if its issue time (`iat`) is earlier than
    /// the moment, or later by no more than this. Without the allowance, a token that was issued just before a log-out by a
    /// clock that is ahead would stay good after it. A session that was accepted before the moment ends whatever its `iat` says.
    ///
    /// The price: a user who logs out and signs in again within this time gets a token that is refused (`revoked`) and stays
    /// refused, until the client fetches a newer one. A client that fetches a new token after a refusal notices nothing but the
    /// wait. If that must not happen, set a shorter time where the clocks agree, or revoke
    /// [by token](super::Revocations::revoke_token), which no clock has a part in.
    ///
    /// # Errors
    ///
    /// If it is longer than an hour.
    pub fn clock_skew(self, skew: Duration) -> Result<Self, ConfigError> {
        if skew > MOST_SKEW {
            return Err(ConfigError::LongClockSkew(skew));
        }
        Ok(Self { clock_skew: skew, ..self })
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
