use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{
    AdmissionError, Head, Permit, Registry, Session, SessionConfig, SessionCore, SessionKind, SessionMeta, TokenInfo,
    core::{NewRecheck, NewSession},
    deadline::Timestamp,
};
use crate::{
    token::Token,
    verify::{Verified, VerifierOf},
};

/// When a token was given to the verifier, for the session that begins with it.
pub(crate) struct SessionStart {
    config: Arc<SessionConfig>,
    now: Timestamp,
}

impl SessionStart {
    pub(crate) fn now(config: &Arc<SessionConfig>) -> Self {
        Self { now: config.now(), config: Arc::clone(config) }
    }

    pub(crate) const fn wall(&self) -> SystemTime {
        self.now.wall
    }

    pub(crate) const fn monotonic(&self) -> Instant {
        self.now.monotonic
    }

    /// Begins the session, and registers it if there is a permit. Checks revocations, and for a connection the limits.
    pub(crate) fn begin<C: Send + Sync + 'static>(
        self,
        (token, verified): (&Token, Verified<C>),
        verifier: Arc<dyn VerifierOf<C>>,
        (kind, head, meta): (SessionKind, Head, SessionMeta),
        permit: Option<Permit>,
    ) -> Result<Session<C>, AdmissionError> {
        let recheck = NewRecheck::of(&verified, || token.clone());
        let token = TokenInfo::of(&verified, self.now.wall);
        let Verified { claims, expires_at, subject, issuer, confirmation, .. } = verified;
        let new = NewSession { subject, issuer, confirmation, expires_at, token: token.clone(), kind, meta, recheck };
        let (now, config) = (self.now, self.config);
        let session = Session::new(|any| SessionCore::new(new, now, config, any), claims, verifier, head);
        let core = session.core();
        // Register before the checks: from here on, whatever ends sessions finds this one.
        let registry = permit.and_then(|permit| Registry::register(core, &token, permit));
        core.check_revoked(&token)?;
        if let Some(registry) = registry {
            registry.admit(core)?;
        }
        Ok(session)
    }
}
