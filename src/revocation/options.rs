use std::time::Duration;

use crate::error::ConfigError;

/// How long revocations are kept, and what a node does when it is out of touch with the store.
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

const MIN_STALENESS: Duration = Duration::from_secs(15);
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(3600);

impl RevocationOptions {
    /// Keeps revocations for a day, admits nobody after a minute out of touch, and allows for clocks that differ by
    /// five seconds.
    pub const fn new() -> Self {
        Self {
            keep_for: Duration::from_secs(24 * 3600),
            max_staleness: Duration::from_secs(60),
            admit_when_stale: false,
            clock_skew: Duration::from_secs(5),
        }
    }

    /// Sets how long a revocation is kept: at least the longest lifetime of a token, including leeway. A token that
    /// outlives its revocation is valid again.
    ///
    /// Defaults to 24 hours, because access tokens live for minutes to hours.
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

    /// Sets how long a node may be out of touch with the store. Beyond that it answers handshakes and refreshes with
    /// 503; live sessions go on. Defaults to 60 seconds, which is several heartbeats of a store.
    ///
    /// # Errors
    ///
    /// If it is shorter than 15 seconds, because heartbeats are five seconds apart.
    pub fn max_staleness(self, age: Duration) -> Result<Self, ConfigError> {
        if age < MIN_STALENESS {
            return Err(ConfigError::ShortStaleness(age));
        }
        Ok(Self { max_staleness: age, ..self })
    }

    /// Sets how far the clocks of issuers may be ahead of those of the nodes. Defaults to five seconds.
    ///
    /// This matters for revocations by time: [of a subject](super::Revocations::revoke_subject), and of [everything
    /// issued until a time](super::Revocations::revoke_issued_until). They revoke a token if its issue time (`iat`) is
    /// earlier, or later by no more than this. Otherwise a token that was issued just before a log-out, by a clock that
    /// is ahead, would stay valid. A session that was accepted before ends whatever its `iat` is.
    ///
    /// The cost: a user who logs out and signs in again within this time gets a token that is refused (`revoked`) and
    /// stays refused, until the client fetches a newer one. A client that does so after a refusal notices only a delay.
    /// To avoid that, set a shorter time if the clocks agree, or revoke [by token](super::Revocations::revoke_token),
    /// which uses no clock.
    ///
    /// # Errors
    ///
    /// If it is longer than an hour.
    pub fn clock_skew(self, skew: Duration) -> Result<Self, ConfigError> {
        if skew > MAX_CLOCK_SKEW {
            return Err(ConfigError::LongClockSkew(skew));
        }
        Ok(Self { clock_skew: skew, ..self })
    }

    /// Admits handshakes and refreshes even if the node is out of touch with the store for too long, and counts them:
    /// [`RevocationStatus::admitted_when_stale`](super::RevocationStatus::admitted_when_stale).
    ///
    /// Insecure because the node accepts tokens that were revoked in the meantime. Their sessions end when it is in
    /// touch again.
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
