//! The one place where the type of the claims is forgotten, so that the layer needs no type parameters.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use http::{Version, request::Parts};
use hyper::upgrade::OnUpgrade;

use crate::{
    config::{Anonymous, Config},
    handshake::RequestKind,
    lock::lock,
    rejection::Rejection,
    revocation::Revocations,
    session::{AdmissionError, Head, Session, SessionCore, SessionStart},
    socket::{PendingPermit, RefreshProtocol},
    telemetry,
    token::Token,
    verify::{Verified, Verifier, VerifierOf, VerifyError, VerifyInput},
};

/// A verification under way. It owns the request's head, and gives it back with the outcome.
pub(crate) type Verification = Pin<Box<dyn Future<Output = (Parts, Result<Registered, Refusal>)> + Send>>;

/// The session of a handshake, if a registry has it.
pub(crate) type Registered = Option<Arc<SessionCore>>;

/// Begins sessions.
pub(crate) trait Gate: Send + Sync {
    /// Verifies the token, admits the session that begins with it, and puts that into the request: steps four and five
    /// of a handshake. `None` if something has to be waited for; nothing has changed then.
    fn verify_now(
        &self,
        token: &Token,
        kind: RequestKind,
        parts: &mut Parts,
        config: &Config,
    ) -> Option<Result<Registered, Refusal>>;

    /// The same, with waiting.
    fn verify(&self, token: Token, kind: RequestKind, parts: Parts, config: Arc<Config>) -> Verification;

    /// Takes out of the request what another layer may have put there.
    fn forget(&self, parts: &mut Parts);

    /// Puts into the request what it takes to begin a session with the client's first message.
    fn defer(&self, parts: &mut Parts, config: &Arc<Config>, connection: Arc<Unclaimed>);
}

pub(crate) struct VerifierGate<V>(Arc<V>);

/// Why no session began.
pub(crate) enum Refusal {
    Verify(VerifyError),
    Admission(AdmissionError),
}

/// A handshake whose token is to come in the client's first message. The layer puts it into the request's extensions.
pub(crate) struct Deferred<C> {
    pub(crate) verifier: Arc<dyn VerifierOf<C>>,
    pub(crate) config: Arc<Config>,
    pub(crate) unclaimed: Arc<Unclaimed>,
}

/// What only the handler can claim that waits for the first message.
pub(crate) struct Unclaimed {
    pub(crate) version: Version,
    claim: Mutex<Option<Claim>>,
}

/// The connection that was withheld, with what is needed to begin a session on it.
pub(crate) struct Claim {
    pub(crate) connection: OnUpgrade,
    pub(crate) head: Head,
    /// Among those who have yet to authenticate.
    pub(crate) place: PendingPermit,
}

/// How clients refresh their sessions, for the handler's extractor.
#[derive(Clone)]
pub(crate) struct InBand(pub(crate) RefreshProtocol);

impl InBand {
    fn put(parts: &mut Parts, config: &Config) {
        match &config.refresh_protocol {
            Some(protocol) => parts.extensions.insert(Self(protocol.clone())),
            None => parts.extensions.remove(),
        };
    }
}

impl<V> VerifierGate<V> {
    pub(crate) fn new(verifier: V) -> Self {
        Self(Arc::new(verifier))
    }
}

impl<V: Verifier> VerifierGate<V> {
    /// Begins the session of a token that is good.
    fn begin(
        verifier: &Arc<V>,
        outcome: Result<Verified<V::Claims>, VerifyError>,
        start: SessionStart,
        (kind, parts): (RequestKind, &Parts),
        config: &Config,
    ) -> Result<Session<V::Claims>, Refusal> {
        let verified = outcome.map_err(Refusal::Verify)?;
        // Only connections are counted. Orders reach the others too, for as long as somebody holds them.
        let place = match kind {
            RequestKind::Handshake => config.session.counted_permit(),
            RequestKind::Plain => Ok(config.session.uncounted_permit()),
        };
        place
            .and_then(|place| start.begin(verified, Arc::<V>::clone(verifier), Head::from_parts(parts), place))
            .map_err(Refusal::Admission)
    }

    fn put((kind, parts): (RequestKind, &mut Parts), session: Session<V::Claims>, config: &Config) -> Registered {
        match kind {
            RequestKind::Handshake => telemetry::admitted(session.id(), session.subject()),
            RequestKind::Plain => telemetry::request_admitted(session.id(), session.subject()),
        }
        // What an outer layer has found out does not count here, for its rules may be others.
        parts.extensions.remove::<Anonymous>();
        parts.extensions.remove::<Deferred<V::Claims>>();
        InBand::put(parts, config);
        let is_registered = kind == RequestKind::Handshake && config.session.sessions.is_some();
        let registered = is_registered.then(|| Arc::clone(session.core()));
        parts.extensions.insert(session);
        registered
    }
}

impl<V: Verifier> Gate for VerifierGate<V> {
    fn verify_now(
        &self,
        token: &Token,
        kind: RequestKind,
        parts: &mut Parts,
        config: &Config,
    ) -> Option<Result<Registered, Refusal>> {
        if config.session.shares_limits()
            || config.session.revocations.as_ref().is_some_and(Revocations::needs_catch_up)
        {
            return None;
        }
        let start = SessionStart::now(&config.session);
        let outcome = self.0.verify_now(VerifyInput::new(token, parts, start.wall()))?;
        let session = Self::begin(&self.0, outcome, start, (kind, parts), config);
        Some(session.map(|session| Self::put((kind, parts), session, config)))
    }

    fn verify(&self, token: Token, kind: RequestKind, mut parts: Parts, config: Arc<Config>) -> Verification {
        let verifier = Arc::clone(&self.0);
        let start = SessionStart::now(&config.session);
        Box::pin(async move {
            if let Some(revocations) = &config.session.revocations {
                revocations.catch_up().await;
            }
            let outcome = verifier.verify(VerifyInput::new(&token, &parts, start.wall())).await;
            let outcome = match Self::begin(&verifier, outcome, start, (kind, &parts), &config) {
                Ok(session) => session.acquire_lease().await.map_err(Refusal::Admission),
                Err(refusal) => Err(refusal),
            };
            let outcome = outcome.map(|session| Self::put((kind, &mut parts), session, &config));
            (parts, outcome)
        })
    }

    fn forget(&self, parts: &mut Parts) {
        parts.extensions.remove::<Session<V::Claims>>();
        parts.extensions.remove::<Deferred<V::Claims>>();
    }

    fn defer(&self, parts: &mut Parts, config: &Arc<Config>, unclaimed: Arc<Unclaimed>) {
        let verifier: Arc<dyn VerifierOf<V::Claims>> = Arc::<V>::clone(&self.0);
        InBand::put(parts, config);
        parts.extensions.insert(Deferred { verifier, config: Arc::clone(config), unclaimed });
    }
}

impl Unclaimed {
    pub(crate) fn new(connection: OnUpgrade, head: Head, place: PendingPermit, version: Version) -> Self {
        Self { version, claim: Mutex::new(Some(Claim { connection, head, place })) }
    }

    pub(crate) fn claim(&self) -> Option<Claim> {
        lock(&self.claim).take()
    }

    pub(crate) fn is_claimed(&self) -> bool {
        lock(&self.claim).is_none()
    }
}

impl Refusal {
    pub(crate) fn rejection(self, config: &Config, version: Version) -> Rejection {
        match self {
            Self::Verify(error) => Rejection::verify(error, &config.challenges, version),
            Self::Admission(error) => Rejection::admission(error, &config.challenges, version),
        }
    }
}

// By hand: a derive would ask the same of `C`.
impl<C> Clone for Deferred<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: Arc::clone(&self.verifier),
            config: Arc::clone(&self.config),
            unclaimed: Arc::clone(&self.unclaimed),
        }
    }
}
