//! Step five: registers the session, checks revocations and limits, and puts the session into the request.

use std::sync::Arc;

use http::{Version, request::Parts};

use super::{
    config::Config,
    extensions::{Anonymous, PendingSession, offer_refresh},
    request::RequestKind,
};
use crate::{
    rejection::Rejection,
    session::{AdmissionError, AnySession, Head, Session, SessionStart},
    token::Token,
    verify::{Verified, Verifier, VerifyError},
};

/// The session of an admitted request.
pub(crate) type Admitted = Arc<dyn AnySession>;

/// Why no session began.
pub(crate) enum Refusal {
    Verify(VerifyError),
    Admission(AdmissionError),
}

/// Begins the session of a verified token.
pub(super) fn begin<V: Verifier>(
    verifier: &Arc<V>,
    outcome: Result<Verified<V::Claims>, VerifyError>,
    start: SessionStart,
    (kind, parts, token): (RequestKind, &mut Parts, &Token),
    config: &Config,
) -> Result<Session<V::Claims>, Refusal> {
    let verified = outcome.map_err(Refusal::Verify)?;
    // Limits count connections only. A plain request can be ended too, for as long as something holds its session. Its
    // response may show that it is a connection after all.
    let permit = match kind {
        RequestKind::Handshake => config.session.counted_permit().map_err(Refusal::Admission)?,
        RequestKind::Plain => config.session.uncounted_permit(),
    };
    let request = (kind.of_session(), Head::from_parts(parts), config.session_meta(parts));
    start.begin((token, verified), Arc::<V>::clone(verifier), request, permit).map_err(Refusal::Admission)
}

/// Puts the session into the request, where the inner service finds it.
pub(super) fn insert<C: Send + Sync + 'static>(
    session: Session<C>,
    (kind, parts): (RequestKind, &mut Parts),
    config: &Config,
) -> Admitted {
    match kind {
        RequestKind::Handshake => session.core().admit_handshake(),
        RequestKind::Plain => session.core().admit_request(),
    }
    session.core().count_live(kind.of_session());
    // An outer layer may have other rules, so its outcome does not count here.
    parts.extensions.remove::<Anonymous>();
    parts.extensions.remove::<PendingSession<C>>();
    offer_refresh(parts, config);
    if kind == RequestKind::Handshake {
        session.core().start_recheck();
    }
    let admitted = session.any();
    parts.extensions.insert(session);
    admitted
}

impl Refusal {
    pub(crate) fn rejection(self, config: &Config, version: Version) -> Rejection {
        match self {
            Self::Verify(error) => Rejection::verify(error, &config.challenges, version),
            Self::Admission(error) => Rejection::admission(error, &config.challenges, version),
        }
    }
}
