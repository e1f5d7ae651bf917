use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use http::request::Parts;

use super::quota::{OwnerId, Quota, QuotaTracker};
use crate::{error::ConfigError, origin::normal_form};

/// How long and where a ticket is valid.
///
/// ```
/// use axum_ws_auth::TicketOptions;
/// use std::time::Duration;
///
/// let options = TicketOptions::new().lifetime(Duration::from_secs(10))?.path("/chat")?.origin("https://app.example.com")?;
/// assert!(TicketOptions::new().lifetime(Duration::from_secs(60)).is_err());
/// # Ok::<(), axum_ws_auth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TicketOptions {
    pub(super) lifetime: Duration,
    pub(super) path: Option<String>,
    pub(super) origin: Option<BoundOrigin>,
    by_key: Option<KeyQuota>,
}

/// The quota for each key.
#[derive(Clone)]
struct KeyQuota {
    quota: Quota,
    owner: Arc<OwnerOf>,
}

/// Finds the key of a request and hashes it.
type OwnerOf = dyn Fn(&Parts, &QuotaTracker) -> OwnerId + Send + Sync;

#[derive(Clone, Debug)]
pub(super) enum BoundOrigin {
    Fixed(String),
    /// The origin of the page that requests the ticket.
    OfRequest,
}

/// Long enough for a page to open its socket, and too short for anybody to find the ticket in a log.
const MAX_LIFETIME: Duration = Duration::from_secs(30);

impl TicketOptions {
    /// Valid for 30 seconds, on every path and from every origin.
    pub const fn new() -> Self {
        Self { lifetime: MAX_LIFETIME, path: None, origin: None, by_key: None }
    }

    /// Sets how long a ticket is valid. Defaults to 30 seconds, which is also the maximum, because a URL is easily
    /// logged. A ticket never outlives the token that it was issued for.
    ///
    /// # Errors
    ///
    /// If it is zero, or longer than 30 seconds.
    pub fn lifetime(self, lifetime: Duration) -> Result<Self, ConfigError> {
        if lifetime.is_zero() {
            return Err(ConfigError::ZeroDuration("lifetime of tickets"));
        }
        if lifetime > MAX_LIFETIME {
            return Err(ConfigError::LongTicket(lifetime));
        }
        Ok(Self { lifetime, ..self })
    }

    /// Binds the ticket to a path: the full path of the handshake, including the prefixes of nested routers.
    ///
    /// Defaults to none: the ticket is valid on every path that redeems tickets from the same store.
    ///
    /// # Errors
    ///
    /// If it does not begin with a slash, or has a query.
    pub fn path(self, path: impl Into<String>) -> Result<Self, ConfigError> {
        let path = path.into();
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return Err(ConfigError::InvalidPath(path));
        }
        Ok(Self { path: Some(path), ..self })
    }

    /// Binds the ticket to an origin, as browsers send it in `Origin`. Case and a scheme's default port make no
    /// difference.
    ///
    /// Defaults to none, because clients other than browsers send no `Origin`, or an arbitrary one.
    ///
    /// # Errors
    ///
    /// If no `Origin` can equal it.
    pub fn origin(self, origin: impl Into<String>) -> Result<Self, ConfigError> {
        let origin = normal_form(&origin.into())?;
        Ok(Self { origin: Some(BoundOrigin::Fixed(origin)), ..self })
    }

    /// Binds the ticket to the origin that requests it at a [route](super::Tickets::route). A request without an
    /// `Origin` then gets no ticket: 403.
    pub fn asking_origin(mut self) -> Self {
        self.origin = Some(BoundOrigin::OfRequest);
        self
    }

    /// Sets how many outstanding tickets each key may have, where a [route](super::Tickets::route) issues them. Their
    /// contents, which are the claims as JSON, may have ten KiB per ticket in total. Beyond that the answer is 429.
    ///
    /// Defaults to no such limit; the one for each subject is
    /// [`Tickets::max_per_subject`](super::Tickets::max_per_subject). Set this one if the verifier names no subject, or
    /// if anybody may sign up.
    ///
    /// `key` sees the head of the request, such as the client's address in [`ClientAddr`](crate::ClientAddr).
    /// Requests with equal keys share one limit, and so do those whose key is `None`. For good keys see
    /// [`FirstMessage::max_waiting_per_key`](crate::FirstMessage::max_waiting_per_key).
    ///
    /// ```
    /// use axum_ws_auth::{ClientAddr, TicketOptions};
    ///
    /// let options = TicketOptions::new().max_per_key(16, |parts| parts.extensions.get::<ClientAddr>().copied())?;
    /// # Ok::<(), axum_ws_auth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_per_key<K: Hash>(
        self,
        tickets: usize,
        key: impl Fn(&Parts) -> K + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        if tickets == 0 {
            return Err(ConfigError::ZeroLimit("tickets with the same key"));
        }
        let owner = Arc::new(move |parts: &Parts, quotas: &QuotaTracker| quotas.owner(("key", key(parts))));
        Ok(Self { by_key: Some(KeyQuota { quota: Quota::of(tickets), owner }), ..self })
    }

    /// The owner of the ticket by its key, and the owner's quota.
    pub(super) fn key_quota(&self, parts: &Parts, quotas: &QuotaTracker) -> Option<(OwnerId, Quota)> {
        self.by_key.as_ref().map(|by_key| ((by_key.owner)(parts, quotas), by_key.quota))
    }
}

// By hand: a closure has no `Debug`.
impl fmt::Debug for KeyQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyQuota").field("quota", &self.quota).finish_non_exhaustive()
    }
}

impl Default for TicketOptions {
    fn default() -> Self {
        Self::new()
    }
}
