//! Checks a session against revocations.

use std::{sync::Arc, time::Duration};

use super::{SessionCore, TokenInfo};
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
        predicate(self.target(&self.token()))
    }

    fn target<'a>(&'a self, token: &'a TokenInfo) -> Target<'a> {
        Target {
            session: self.id(),
            issuer: self.issuer.as_deref(),
            subject: self.subject(),
            token_id: token.id.as_deref(),
            provider_session: token.provider_session.as_deref(),
            issued_at: token.issued_at,
            since: token.since,
        }
    }

    /// Whether revocations let the session use this token.
    pub(in crate::session) fn check_revoked(&self, token: &TokenInfo) -> Result<(), AdmissionError> {
        let Some(revocations) = &self.config.revocations else { return Ok(()) };
        revocations.check(self.target(token)).map_err(|error| match error {
            CheckError::Revoked => AdmissionError::Revoked,
            CheckError::Stale => AdmissionError::RevocationsStale { retry_after: STALE_RETRY_AFTER },
        })
    }

    /// Registers a token that the session is about to use, so that a concurrent end by that token finds the session.
    pub(in crate::session) fn set_pending_token(&self, token: &TokenInfo) -> PendingToken<'_> {
        let registry = self.registry();
        if let Some(registry) = &registry {
            registry.set_pending_token(self, token);
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
