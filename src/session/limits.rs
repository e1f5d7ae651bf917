use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    error::ConfigError,
    store::{AtLimit, DynLimitStore, LimitStore},
};

/// Limits on the number of sessions; see [`Sessions::with_limits`](super::Sessions::with_limits).
///
/// A session counts from the verification of its token until its connection is dropped. There are no limits by default.
/// Each process counts its own sessions, unless [`across_nodes`](Self::across_nodes) is set.
///
/// ```
/// use axum_ws_auth::{AtLimit, Limits, Sessions};
///
/// let limits = Limits::new().total(50_000)?.per_subject(5, AtLimit::EvictOldest)?;
/// let sessions = Sessions::with_limits(limits);
/// assert_eq!(sessions.count(), 0);
/// # Ok::<(), axum_ws_auth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Limits {
    pub(super) total: usize,
    pub(super) per_subject: Option<(NonZeroUsize, AtLimit)>,
    pub(super) retry_after: Duration,
    pub(super) store: Option<SharedStore>,
    pub(super) lease_lifetime: Duration,
}

/// Counts the sessions of each subject across nodes.
#[derive(Clone)]
pub(super) struct SharedStore(pub(super) Arc<dyn DynLimitStore>);

const MIN_LEASE_LIFETIME: Duration = Duration::from_secs(3);

impl Limits {
    /// No limits.
    pub const fn new() -> Self {
        Self {
            total: usize::MAX,
            per_subject: None,
            retry_after: Duration::from_secs(5),
            store: None,
            lease_lifetime: Duration::from_secs(60),
        }
    }

    /// Sets the maximum number of sessions in total. Handshakes and streams beyond that are answered with 503.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn total(self, sessions: usize) -> Result<Self, ConfigError> {
        let total = NonZeroUsize::new(sessions).ok_or(ConfigError::ZeroLimit("sessions"))?;
        Ok(Self { total: total.get(), ..self })
    }

    /// Sets the maximum number of sessions per subject, and what happens when a subject opens another.
    ///
    /// A subject is the `sub` of a token together with its issuer, so users of two issuers never count against each
    /// other. Sessions that have ended and are being closed do not count here. Sessions without a subject are not
    /// limited.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn per_subject(self, sessions: usize, at_limit: AtLimit) -> Result<Self, ConfigError> {
        let sessions = NonZeroUsize::new(sessions).ok_or(ConfigError::ZeroLimit("sessions of a subject"))?;
        Ok(Self { per_subject: Some((sessions, at_limit)), ..self })
    }

    /// Shares the sessions of each subject between all nodes that use this store: its [limit](Self::per_subject) covers
    /// them all, and [`Sessions::of_subject`](super::Sessions::of_subject) lists them all. Which session is the oldest
    /// is then decided across nodes too. The limit of sessions in [total](Self::total) stays per node.
    ///
    /// A session takes a lease in the store when it begins, and releases it when it ends. Its node renews the lease. If
    /// the node crashes, the lease expires after [`lease_lifetime`](Self::lease_lifetime). A session that another node
    /// evicted ends with [`EndReason::TooManySessions`](crate::EndReason::TooManySessions), within a moment.
    ///
    /// If the store is unavailable, each node counts its own sessions until it recovers: no handshake is refused for
    /// that, and none waits longer than two seconds. A subject may then exceed its limit, as it may after the store has
    /// lost data. Its sessions stay, and count when it opens the next one.
    ///
    /// Without a limit per subject, sessions take leases all the same, and are listed. A lease costs a handshake one
    /// store operation, which it waits for, and then one operation each third of the lease's lifetime for every subject
    /// on the node, and one when the session ends.
    ///
    /// A background task renews the leases for as long as the registry or one of its sessions exists. It starts as soon
    /// as there is a tokio runtime: with the registry, or with the first handshake.
    ///
    /// Nodes that share a store should have the same limits, because each applies its own. Their clocks only decide
    /// which session is the oldest.
    ///
    /// ```no_run
    /// # #[cfg(feature = "redis")] fn sessions() -> Result<(), axum_ws_auth::ConfigError> {
    /// use axum_ws_auth::{AtLimit, Limits, Redis, Sessions};
    ///
    /// let redis = Redis::new("redis://127.0.0.1:6379")?;
    /// let sessions = Sessions::with_limits(Limits::new().per_subject(5, AtLimit::EvictOldest)?.across_nodes(redis));
    /// # Ok(()) }
    /// ```
    pub fn across_nodes(self, store: impl LimitStore) -> Self {
        Self { store: Some(SharedStore(Arc::new(store))), ..self }
    }

    /// Sets how long the sessions of a crashed node still count on the others, and are listed there. Each node renews
    /// its leases three times in that period. No effect without [`across_nodes`](Self::across_nodes).
    ///
    /// Defaults to 60 seconds, because a restart takes less, and a session then costs one store operation every 20
    /// seconds.
    ///
    /// # Errors
    ///
    /// If it is shorter than three seconds, because a late response must not cost a lease.
    pub fn lease_lifetime(self, time: Duration) -> Result<Self, ConfigError> {
        if time < MIN_LEASE_LIFETIME {
            return Err(ConfigError::ShortLease(time));
        }
        Ok(Self { lease_lifetime: time, ..self })
    }

    /// Sets the `Retry-After` of handshakes and streams refused by these limits or by a drain. It is sent in whole
    /// seconds, rounded up. Defaults to five seconds, because that spreads the retries a little without a long wait.
    pub const fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

// By hand: a store need not implement it, and may contain a password.
impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<store>")
    }
}
