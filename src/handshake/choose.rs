//! Step seven: chooses the subprotocol, if the handler has chosen none, and checks what the inner service answered.

use std::sync::Arc;

use axum::response::Response;
use http::{Method, StatusCode, request::Parts};

use super::{admit::Admitted, config::Config, pending::PendingUpgrade, refuse::refuse_pending, request::RequestKind};
use crate::{telemetry, token::Selection};

/// Completes the response of the inner service.
pub(crate) struct Completion {
    kind: RequestKind,
    selection: Selection,
    is_connect: bool,
    admitted: Admitted,
    /// The client is to authenticate by its first message.
    pending: Option<(Arc<PendingUpgrade>, Arc<Config>)>,
}

impl Completion {
    pub(super) fn new(parts: &Parts, kind: RequestKind, selection: Selection) -> Self {
        Self { kind, selection, is_connect: parts.method == Method::CONNECT, admitted: None, pending: None }
    }

    /// Completes the response to the client of this session.
    pub(crate) fn of(self, admitted: Admitted) -> Self {
        Self { admitted, ..self }
    }

    /// Completes the response to a client that has yet to authenticate.
    pub(super) fn pending(self, upgrade: Arc<PendingUpgrade>, config: Arc<Config>) -> Self {
        Self { pending: Some((upgrade, config)), ..self }
    }

    pub(crate) const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The response, with a subprotocol chosen.
    pub(crate) fn choose(&self, mut response: Response) -> Response {
        // Over HTTP/2, any success completes the handshake (RFC 8441 §5).
        let completes =
            response.status() == StatusCode::SWITCHING_PROTOCOLS || (self.is_connect && response.status().is_success());
        let accepted = self.kind == RequestKind::Handshake && completes;
        if let Some((upgrade, config)) = &self.pending
            && !(accepted && upgrade.is_taken())
        {
            // A handler that does not wait for the first message has answered a client that never authenticated.
            return refuse_pending(config, upgrade.version);
        }
        if accepted && let Some(session) = &self.admitted {
            session.warn_if_dropped();
        }
        if accepted && self.selection.apply(response.headers_mut()) {
            telemetry::subprotocol_not_offered();
        }
        response
    }
}
