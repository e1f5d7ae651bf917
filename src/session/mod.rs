//! One authenticated connection.

mod close;

use std::{fmt, sync::Arc, time::SystemTime};

pub use close::CloseCodes;

use crate::Verified;

/// What is known about one authenticated connection.
///
/// The layer puts it into the extensions of the request; [`Authenticated`](crate::Authenticated) takes it out again.
/// Clones are the same session.
pub struct Session<C> {
    claims: Arc<C>,
    facts: Arc<Facts>,
}

/// What holds whatever the type of the claims.
struct Facts {
    expires_at: Option<SystemTime>,
    subject: Option<String>,
}

impl<C> Session<C> {
    pub(crate) fn new(verified: Verified<C>) -> Self {
        let Verified { claims, expires_at, subject } = verified;
        Self { claims: Arc::new(claims), facts: Arc::new(Facts { expires_at, subject }) }
    }

    /// The claims of the token.
    #[must_use]
    pub fn claims(&self) -> Arc<C> {
        Arc::clone(&self.claims)
    }

    /// Whom the token speaks of (`sub`), if it says so.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.facts.subject.as_deref()
    }

    /// The moment from which on the token is no longer accepted, all leeway included; `None` if there is none.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.facts.expires_at
    }
}

// By hand, like the one below: a derive would ask the same of `C`.
impl<C> Clone for Session<C> {
    fn clone(&self) -> Self {
        Self { claims: Arc::clone(&self.claims), facts: Arc::clone(&self.facts) }
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("subject", &self.subject())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
