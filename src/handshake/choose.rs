//! Step seven: chooses the subprotocol, if the handler has chosen none, and checks what the inner service answered.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::response::Response;
use http::{Method, StatusCode, Version, request::Parts};

use super::{
    admit::Admitted,
    config::Config,
    pending::PendingUpgrade,
    refuse::{refuse, refuse_plainly},
    request::RequestKind,
    summary::RequestSummary,
};
use crate::{
    address_limits::Visit,
    rejection::Rejection,
    session::{AnySession, SessionKind},
    telemetry::{self, Outcome},
    token::Selection,
};

/// Completes the response of the inner service.
pub(crate) struct Completion {
    pub(super) config: Arc<Config>,
    kind: RequestKind,
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) summary: Option<Box<RequestSummary>>,
    selection: Selection,
    /// Where the token was.
    source: &'static str,
    /// The client's, unless the session has it, or the upgrade that waits for the first message.
    pub(super) visit: Option<Box<Visit>>,
    /// Held until the response is there, which may take the session over.
    session: Option<Admitted>,
    /// The client is to authenticate by its first message.
    pending: Option<Arc<PendingUpgrade>>,
}

/// The response of the layer, now or later.
pub(crate) enum Completed {
    Now(Response),
    #[cfg_attr(not(feature = "streams"), allow(dead_code, reason = "only a stream has to wait"))]
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Completion {
    pub(super) fn new(
        config: &Arc<Config>,
        parts: &Parts,
        kind: RequestKind,
        (selection, source): (Selection, &'static str),
        visit: Option<Box<Visit>>,
    ) -> Self {
        let (config, method, version) = (Arc::clone(config), parts.method.clone(), parts.version);
        let summary = RequestSummary::kept(parts);
        Self { config, kind, method, version, summary, selection, source, visit, session: None, pending: None }
    }

    /// Completes the response to the client of this session.
    pub(crate) fn admit(&mut self, session: Admitted) {
        if self.kind == RequestKind::Handshake
            && let Some(visit) = self.visit.take()
        {
            session.core().keep_place(visit);
        }
        self.count(self.kind.of_session(), Outcome::Accepted);
        self.session = Some(session);
    }

    /// Completes the response to a client that has yet to authenticate.
    pub(super) fn defer(&mut self, upgrade: Arc<PendingUpgrade>) {
        upgrade.keep_place(self.visit.take());
        self.pending = Some(upgrade);
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Completes the response to a client without a session.
    pub(super) fn admit_anonymous(&self) {
        self.count(self.kind.of_session(), Outcome::Anonymous);
    }

    /// The response to a refused client.
    pub(crate) fn refuse(&self, rejection: Rejection, parts: &mut Parts) -> Response {
        if let Some(visit) = &self.visit
            && rejection.is_failed_attempt()
        {
            visit.failed();
        }
        self.count(self.kind.of_session(), Outcome::Refused(rejection.reason()));
        refuse(&self.config, rejection, parts, &self.selection)
    }

    /// The response to a client that is refused once the inner service has answered. `kind` is what it asked for.
    pub(super) fn refuse_plainly(&self, kind: SessionKind, rejection: Rejection, answer: &Response) -> Response {
        self.count(kind, Outcome::Refused(rejection.reason()));
        refuse_plainly(&self.config, rejection, self.summary.as_deref(), answer)
    }

    fn count(&self, kind: SessionKind, outcome: Outcome) {
        self.config.session.meter.handshake(kind.as_str(), self.source, self.version, outcome);
    }

    /// Completes the response.
    pub(crate) fn complete(mut self, mut response: Response) -> Completed {
        let is_accepted = self.kind == RequestKind::Handshake && self.completes_handshake(&response);
        if let Some(upgrade) = &self.pending
            && !(is_accepted && upgrade.is_taken())
        {
            // A handler that does not wait for the first message has answered a client that never authenticated.
            let rejection = Rejection::missing_token(&self.config.challenges, self.version);
            return Completed::Now(self.refuse_plainly(self.kind.of_session(), rejection, &response));
        }
        let session = self.session.take();
        if is_accepted {
            if let Some(session) = session {
                warn_if_dropped(session);
            }
            if self.selection.apply(response.headers_mut()) {
                telemetry::subprotocol_not_offered(&self.config.throttles.subprotocol);
            }
            return Completed::Now(response);
        }
        #[cfg(feature = "streams")]
        if let Some(session) = session {
            return self.stream(session, response);
        }
        Completed::Now(response)
    }

    fn completes_handshake(&self, response: &Response) -> bool {
        // Over HTTP/2, any success completes the handshake (RFC 8441 §5).
        response.status() == StatusCode::SWITCHING_PROTOCOLS
            || (self.method == Method::CONNECT && response.status().is_success())
    }
}

/// Drops this handle, and warns if it was the last one.
fn warn_if_dropped(session: Arc<dyn AnySession>) {
    let core = Arc::clone(session.core());
    drop(session);
    core.warn_if_dropped();
}
