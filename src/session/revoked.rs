//! What a session stands on, as far as revocations are about it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{AdmissionError, Registry, SessionCore};
use crate::revocation::{CheckError, Target};

/// When a client may try again that was refused because a node has lost touch with the others.
const STALE_RETRY_AFTER: Duration = Duration::from_secs(5);

impl SessionCore {
    /// Whether what the session stands on is one of these.
    pub(super) fn matches(&self, is_one: &dyn Fn(Target<'_>) -> bool) -> bool {
        let token = self.token();
        is_one(self.target(token.id.as_deref(), token.issued_at, token.since))
    }

    fn target<'a>(&'a self, token_id: Option<&'a str>, issued_at: Option<SystemTime>, since: SystemTime) -> Target<'a> {
        let (session, issuer, subject) = (self.id(), self.issuer.as_deref(), self.subject());
        Target { session, issuer, subject, token_id, issued_at, since }
    }

    /// Whether the session may stand on this token, as far as revocations go.
    pub(super) fn check_revoked(
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

    /// Notes the token that the session is about to stand on, so that an order to end it by that one is not missed. By the
    /// one that it stands on it can be ended all the same.
    pub(super) fn note_next_token(&self, token_id: Option<&str>) -> NextToken<'_> {
        let registry = self.registry();
        if let Some(registry) = &registry {
            registry.note_next_token(self, token_id);
        }
        NextToken { core: self, registry, is_taken: false }
    }
}

/// The token that a session is about to stand on. Dropped, it stands on that or it does not.
pub(super) struct NextToken<'a> {
    core: &'a SessionCore,
    registry: Option<Arc<Registry>>,
    is_taken: bool,
}

impl NextToken<'_> {
    pub(super) fn take(mut self) {
        self.is_taken = true;
    }
}

impl Drop for NextToken<'_> {
    fn drop(&mut self) {
        if let Some(registry) = &self.registry {
            registry.settle_token(self.core, self.is_taken);
        }
    }
}
