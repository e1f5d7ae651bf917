//! Checks a session against revocations.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::SessionCore;
use crate::{
    revocation::{CheckError, Target},
    session::{AdmissionError, Registry},
};

/// What a client is told to wait if the revocations of this node are stale.
const STALE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A token that the session is about to use. Until it is dropped, the registry finds the session by the old token and
/// by this one.
pub(in crate::session) struct PendingToken<'a> {
    core: &'a SessionCore,
    registry: Option<Arc<Registry>>,
    committed: bool,
}

impl SessionCore {
    /// Whether the session and its current token satisfy this.
    pub(in crate::session) fn matches(&self, predicate: &dyn Fn(Target<'_>) -> bool) -> bool {
        let token = self.token();
        predicate(self.target(token.id.as_deref(), token.issued_at, token.since))
    }

    fn target<'a>(&'a self, token_id: Option<&'a str>, issued_at: Option<SystemTime>, since: SystemTime) -> Target<'a> {
        let (session, issuer, subject) = (self.id(), self.issuer.as_deref(), self.subject());
        Target { session, issuer, subject, token_id, issued_at, since }
    }

    /// Whether revocations let the session use this token.
    pub(in crate::session) fn check_revoked(
        &self,
        token_id: Option<&str>,
        issued_at: Option<SystemTime>,
        since: SystemTime,
    ) -> Result<(), AdmissionError> {
        let Some(revocations) = &self.config.revocations else { return Ok(()) };
        revocations.check(self.target(token_id, issued_at, since)).map_err(|error| match error {
            CheckError::Revoked => AdmissionError::Revoked,
            CheckError::Stale => AdmissionError::RevocationsStale { retry_after: STALE_RETRY_AFTER },
        })
    }

    /// Registers a token that the session is about to use, so that a concurrent end by that token finds the session.
    pub(in crate::session) fn set_pending_token(&self, token_id: Option<&str>) -> PendingToken<'_> {
        let registry = self.registry();
        if let Some(registry) = &registry {
            registry.set_pending_token(self, token_id);
        }
        PendingToken { core: self, registry, committed: false }
    }
}

impl PendingToken<'_> {
    /// The session uses the token now.
    pub(in crate::session) fn commit(mut self) {
        self.committed = true;
    }
}

impl Drop for PendingToken<'_> {
    fn drop(&mut self) {
        if let Some(registry) = &self.registry {
            registry.resolve_pending_token(self.core, self.committed);
        }
    }
}
