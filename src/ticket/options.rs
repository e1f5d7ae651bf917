use std::time::Duration;

use crate::{ConfigError, origin::normal_form};

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
}

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
        Self { lifetime: LONGEST, path: None, origin: None }
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
}

impl Default for TicketOptions {
    fn default() -> Self {
        Self::new()
    }
}
