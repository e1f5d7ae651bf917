use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use http::request::Parts;

use super::ledger::{Ledger, Share};
use crate::{error::ConfigError, origin::normal_form};

/// For how long a ticket is good, and where.
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
    pub(super) origin: Option<Origin>,
    by_key: Option<ByKey>,
}

/// How many tickets those with the same key may have, and what the key is.
#[derive(Clone)]
struct ByKey {
    share: Share,
    holder: Arc<Holder>,
}

/// The name of the one that a request is from.
type Holder = dyn Fn(&Parts, &Ledger) -> u64 + Send + Sync;

#[derive(Clone, Debug)]
pub(super) enum Origin {
    Named(String),
    /// That of the page that asks for the ticket.
    Asking,
}

/// Long enough for a page to open its socket, and too short for a log to be read.
const LONGEST: Duration = Duration::from_secs(30);

impl TicketOptions {
    /// Good for 30 seconds, on every route and from every page.
    pub const fn new() -> Self {
        Self { lifetime: LONGEST, path: None, origin: None, by_key: None }
    }

    /// Sets for how long a ticket is good: 30 seconds at most, which is the default, because it stands in a URL. It is
    /// never good for longer than the token that it was bought with.
    ///
    /// # Errors
    ///
    /// If it is zero, or longer than 30 seconds.
    pub fn lifetime(self, lifetime: Duration) -> Result<Self, ConfigError> {
        if lifetime.is_zero() {
            return Err(ConfigError::ZeroDuration("lifetime of tickets"));
        }
        if lifetime > LONGEST {
            return Err(ConfigError::LongTicket(lifetime));
        }
        Ok(Self { lifetime, ..self })
    }

    /// Binds the ticket to a path: the one that the client asks for, with the prefix of nested routers.
    ///
    /// Defaults to every path that takes tickets from the same store.
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

    /// Binds the ticket to the pages of an origin, as browsers send it in `Origin`. Case and a scheme's default port make no
    /// difference.
    ///
    /// Defaults to none, because other clients than browsers send no `Origin`, or any.
    ///
    /// # Errors
    ///
    /// If it could never match.
    pub fn origin(self, origin: impl Into<String>) -> Result<Self, ConfigError> {
        let origin = normal_form(&origin.into())?;
        Ok(Self { origin: Some(Origin::Named(origin)), ..self })
    }

    /// Binds the ticket to the pages of the origin that asks for it at a [route](super::Tickets::route). A request
    /// without an `Origin` then gets none.
    pub fn asking_origin(mut self) -> Self {
        self.origin = Some(Origin::Asking);
        self
    }

    /// Sets how many tickets those with the same key may have at a time that were not redeemed, where they are issued at a
    /// [route](super::Tickets::route). Their contents, that is claims as JSON, may have ten KiB for each together. Beyond that
    /// the answer is 429. Defaults to no such limit; there is one for each subject:
    /// [`Tickets::max_per_subject`](super::Tickets::max_per_subject).
    ///
    /// It is for applications whose verifier names no subject, or where anybody may sign up. The key is found in the head of the
    /// request for a ticket, such as the peer's address in [`ConnectInfo`](axum::extract::ConnectInfo). All requests for which it
    /// is the same share its places, those for which it is `None` too. For good keys see
    /// [`FirstMessage::max_waiting_per_key`](crate::FirstMessage::max_waiting_per_key).
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::extract::ConnectInfo;
    /// use axum_ws_auth::TicketOptions;
    ///
    /// let options = TicketOptions::new().max_per_key(16, |parts| {
    ///     parts.extensions.get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip())
    /// })?;
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
        let holder = Arc::new(move |parts: &Parts, ledger: &Ledger| ledger.holder(("key", key(parts))));
        Ok(Self { by_key: Some(ByKey { share: Share::of(tickets), holder }), ..self })
    }

    /// Whose ticket it is by the key, and how much that one may have.
    pub(super) fn share_of(&self, parts: &Parts, ledger: &Ledger) -> Option<(u64, Share)> {
        self.by_key.as_ref().map(|by_key| ((by_key.holder)(parts, ledger), by_key.share))
    }
}

// By hand: a closure has no `Debug`.
impl fmt::Debug for ByKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("share", &self.share).finish_non_exhaustive()
    }
}

impl Default for TicketOptions {
    fn default() -> Self {
        Self::new()
    }
}
