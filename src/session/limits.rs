use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    error::ConfigError,
    store::{AtLimit, DynLimitStore, LimitStore},
};

/// How many sessions there may be; see [`Sessions::with_limits`](super::Sessions::with_limits).
///
/// A session counts from the moment its token was verified until its connection is dropped. What is not limited here is
/// limited by nothing. One process counts for itself, unless several share a store: [`across_nodes`](Self::across_nodes).
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

/// Where the sessions of each subject are counted on all nodes.
#[derive(Clone)]
pub(super) struct SharedStore(pub(super) Arc<dyn DynLimitStore>);

const LEAST_LEASE: Duration = Duration::from_secs(3);

/// Why a verified handshake was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The server is going down. Answered with 503.
    #[error("the server is going down")]
    Draining {
        /// When to try again.
        retry_after: Duration,
    },
    /// There are as many sessions as there may be. Answered with 503.
    #[error("there are as many sessions as there may be")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// What the session would stand on was [revoked](crate::Revocations). Answered with 401.
    #[error("the token, its subject or the session was revoked")]
    Revoked,
    /// It cannot be told now whether it was revoked. Answered with 503.
    #[error("it cannot be told now what was revoked")]
    RevocationsStale {
        /// When to try again.
        retry_after: Duration,
    },
    /// The subject has as many sessions as it may have. Answered with 429.
    #[error("the subject has as many sessions as it may have")]
    TooManySessions {
        /// When to try again.
        retry_after: Duration,
    },
}

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

    /// Sets how many sessions there may be in all. Handshakes beyond that are answered with 503.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn total(self, sessions: usize) -> Result<Self, ConfigError> {
        let total = NonZeroUsize::new(sessions).ok_or(ConfigError::ZeroLimit("sessions"))?;
        Ok(Self { total: total.get(), ..self })
    }

    /// Sets how many sessions a subject may have, and what happens when it opens another. A subject is the `sub` of a
    /// token together with its issuer, so users of two issuers never count against each other. Sessions that are being
    /// closed no longer count here. A session whose token names no subject is not limited.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn per_subject(self, sessions: usize, at_limit: AtLimit) -> Result<Self, ConfigError> {
        let sessions = NonZeroUsize::new(sessions).ok_or(ConfigError::ZeroLimit("sessions of a subject"))?;
        Ok(Self { per_subject: Some((sessions, at_limit)), ..self })
    }

    /// Counts the sessions of each subject on all nodes that share this store, instead of on each by itself: what
    /// [`per_subject`](Self::per_subject) allows, and which one is the oldest, then goes for all of them together.
    ///
    /// A session takes a lease in the store when it begins, and gives it back when it ends. Its node renews it, and the
    /// leases of a node that is gone run out: see [`lease_lifetime`](Self::lease_lifetime). A session that another node
    /// evicted ends with [`EndReason::TooManySessions`](crate::EndReason::TooManySessions), within a moment. How many there may
    /// be in [all](Self::total) stays a matter of each node.
    ///
    /// Where the store does not answer, each node counts for itself until it does: no handshake is refused for it, and none
    /// waits for longer than two seconds. Such a time, and a store that lost what it had, may leave a subject with more
    /// sessions than it may have; they live on, and count when it opens the next one.
    ///
    /// A task keeps this up for as long as there is the registry or one of its sessions. It begins at the first moment at
    /// which there is a tokio runtime: with the registry, or with the first handshake.
    ///
    /// Nodes that share a store should agree on these limits: each goes by its own. Their clocks tell which session is the
    /// oldest, and nothing else.
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

    /// Sets how long the sessions of a node that is gone still count on the others. A node renews its leases
    /// every third of that time.
    ///
    /// Defaults to 60 seconds: a restart is over by then, and each session costs an operation of the store every 20
    /// seconds. It means nothing without [`across_nodes`](Self::across_nodes).
    ///
    /// # Errors
    ///
    /// If it is shorter than three seconds: an answer that is late must not cost a lease.
    pub fn lease_lifetime(self, time: Duration) -> Result<Self, ConfigError> {
        if time < LEAST_LEASE {
            return Err(ConfigError::ShortLease(time));
        }
        Ok(Self { lease_lifetime: time, ..self })
    }

    /// Sets after what time a client that was refused is told to come back, in whole seconds. Defaults to five seconds,
    /// because that spreads them a little and keeps nobody waiting.
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

// By hand: a store need not have one, and may hold a password.
impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<store>")
    }
}

impl AdmissionError {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining { .. } => "draining",
            Self::Full { .. } => "server_full",
            Self::Revoked => "revoked",
            Self::RevocationsStale { .. } => "revocations_stale",
            Self::TooManySessions { .. } => "too_many_sessions",
        }
    }

    /// When the client may try again, if that may help.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Draining { retry_after }
            | Self::Full { retry_after }
            | Self::RevocationsStale { retry_after }
            | Self::TooManySessions { retry_after } => Some(retry_after),
            Self::Revoked => None,
        }
    }
}
