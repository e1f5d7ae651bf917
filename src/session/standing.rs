//! What a session stands on, as far as revocations are about it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{AdmissionError, Life, Registry};
use crate::revocation::{Refused, Standing};

/// When a client may try again that was refused because a node has lost touch with the others.
const STALE_RETRY_AFTER: Duration = Duration::from_secs(5);

impl Life {
    /// Whether what the session stands on is one of these.
    pub(super) fn stands_on(&self, is_one: &dyn Fn(Standing<'_>) -> bool) -> bool {
        let token = self.token();
        is_one(self.standing(token.id.as_deref(), token.issued_at, token.since))
    }

    fn standing<'a>(
        &'a self,
        token_id: Option<&'a str>,
        issued_at: Option<SystemTime>,
        since: SystemTime,
    ) -> Standing<'a> {
        let (session, issuer, subject) = (self.id(), self.issuer.as_deref(), self.subject());
        Standing { session, issuer, subject, token_id, issued_at, since }
    }

    /// Whether the session may stand on this token, as far as revocations go.
    pub(super) fn check_revoked(
        &self,
        token_id: Option<&str>,
        issued_at: Option<SystemTime>,
        since: SystemTime,
    ) -> Result<(), AdmissionError> {
        let Some(revocations) = &self.rules.revocations else { return Ok(()) };
        revocations.check(self.standing(token_id, issued_at, since)).map_err(|refused| match refused {
            Refused::Revoked => AdmissionError::Revoked,
            Refused::Stale => AdmissionError::RevocationsStale { retry_after: STALE_RETRY_AFTER },
        })
    }

    /// Notes the token that the session is about to stand on, so that an order to end it by that one is not missed. By the
    /// one that it stands on it can be ended all the same.
    pub(super) fn note_next_token(&self, token_id: Option<&str>) -> NextToken<'_> {
        let registry = self.registry();
        if let Some(registry) = &registry {
            registry.note_next_token(self, token_id);
        }
        NextToken { life: self, registry, is_taken: false }
    }
}

/// The token that a session is about to stand on. Dropped, it stands on that or it does not.
pub(super) struct NextToken<'a> {
    life: &'a Life,
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
            registry.settle_token(self.life, self.is_taken);
        }
    }
}
