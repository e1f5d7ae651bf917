//! Step four: verifies the token. The type of the claims is erased here, so that the layer needs no type parameter.

use std::{future::Future, pin::Pin, sync::Arc};

use http::request::Parts;

use super::{
    admit::{self, Admitted, Refusal},
    config::Config,
    extensions::{PendingSession, offer_refresh},
    pending::PendingUpgrade,
    request::RequestKind,
};
use crate::{
    id::ScopedId,
    revocation::Revocations,
    session::{Session, SessionStart},
    token::Token,
    verify::{Verified, Verifier, VerifierOf, VerifyError, VerifyInput},
};

/// A verification that has to wait. It owns the request's head, and returns it with the outcome.
pub(crate) type Verification = Pin<Box<dyn Future<Output = (Parts, Result<Admitted, Refusal>)> + Send>>;

pub(super) type Identification<'a> = Pin<Box<dyn Future<Output = Result<Option<ScopedId>, VerifyError>> + Send + 'a>>;

/// A verifier of any claims, and what depends on their type.
pub(crate) trait Authenticate: Send + Sync {
    /// Verifies the token and admits its session, if that can be done without waiting. `None` if it cannot; nothing has
    /// changed then.
    fn verify_now(
        &self,
        token: &Token,
        kind: RequestKind,
        parts: &mut Parts,
        config: &Config,
    ) -> Option<Result<Admitted, Refusal>>;

    /// Verifies the token and admits its session.
    fn verify(&self, token: Token, kind: RequestKind, parts: Parts, config: Arc<Config>) -> Verification;

    /// Verifies the token for a request that begins no session. Returns whose it is, if it says so.
    fn identify<'a>(&'a self, input: VerifyInput<'a>) -> Identification<'a>;

    /// Removes what another layer may have put into the request.
    fn forget(&self, parts: &mut Parts);

    /// Puts into the request what a handler needs to begin the session with the client's first message.
    fn defer(&self, parts: &mut Parts, config: &Arc<Config>, upgrade: Arc<PendingUpgrade>);
}

pub(crate) struct Authenticator<V>(Arc<V>);

impl<V> Authenticator<V> {
    pub(crate) fn new(verifier: V) -> Self {
        Self(Arc::new(verifier))
    }
}

impl<V: Verifier> Authenticate for Authenticator<V> {
    fn verify_now(
        &self,
        token: &Token,
        kind: RequestKind,
        parts: &mut Parts,
        config: &Config,
    ) -> Option<Result<Admitted, Refusal>> {
        let session = &config.session;
        if session.shares_limits() || session.revocations.as_ref().is_some_and(Revocations::needs_catch_up) {
            return None;
        }
        let start = SessionStart::now(session);
        let begin = start.monotonic();
        let outcome = self.0.verify_now(VerifyInput::new(token, parts, start.wall()))?;
        let verified = session.meter.verified(self.0.name(), Some(begin));
        let session = admit::begin(&self.0, outcome, start, (kind, parts, token), config);
        // Admission is not waited for, so it is not worth another look at the clock.
        config.session.meter.decided(begin, verified, session.is_ok());
        Some(session.map(|session| admit::insert(session, (kind, parts), config)))
    }

    fn verify(&self, token: Token, kind: RequestKind, mut parts: Parts, config: Arc<Config>) -> Verification {
        let verifier = Arc::clone(&self.0);
        let start = SessionStart::now(&config.session);
        let begin = start.monotonic();
        Box::pin(async move {
            if let Some(revocations) = &config.session.revocations {
                revocations.catch_up().await;
            }
            let meter = &config.session.meter;
            let asked = meter.now();
            let outcome = verifier.verify(VerifyInput::new(&token, &parts, start.wall())).await;
            meter.verified(verifier.name(), asked);
            let outcome = match admit::begin(&verifier, outcome, start, (kind, &mut parts, &token), &config) {
                Ok(session) => session.acquire_lease().await.map_err(Refusal::Admission),
                Err(refusal) => Err(refusal),
            };
            meter.decided(begin, meter.now(), outcome.is_ok());
            let outcome = outcome.map(|session| admit::insert(session, (kind, &mut parts), &config));
            (parts, outcome)
        })
    }

    fn identify<'a>(&'a self, input: VerifyInput<'a>) -> Identification<'a> {
        Box::pin(async move {
            let Verified { subject, issuer, .. } = self.0.verify(input).await?;
            Ok(subject.map(|subject| ScopedId::from_claims(issuer, subject)))
        })
    }

    fn forget(&self, parts: &mut Parts) {
        parts.extensions.remove::<Session<V::Claims>>();
        parts.extensions.remove::<PendingSession<V::Claims>>();
    }

    fn defer(&self, parts: &mut Parts, config: &Arc<Config>, upgrade: Arc<PendingUpgrade>) {
        let verifier: Arc<dyn VerifierOf<V::Claims>> = Arc::<V>::clone(&self.0);
        offer_refresh(parts, config);
        parts.extensions.insert(PendingSession { verifier, config: Arc::clone(config), upgrade });
    }
}
