//! Handshakes, and routes that are set up wrongly.

use std::fmt::Display;

use super::Cause;

pub(crate) fn handshake_admitted(session: impl Display, subject: Option<&str>) {
    event!(debug, %session, subject, "handshake admitted");
}

pub(crate) fn request_admitted(session: impl Display, subject: Option<&str>) {
    event!(debug, %session, subject, "request admitted");
}

pub(crate) fn peer_unknown() {
    event!(
        error,
        "peer address unknown: serve the application with `into_make_service_with_connect_info::<SocketAddr>()`"
    );
}

pub(crate) fn handshake_incomplete(missing: &'static str) {
    event!(warn, missing, "handshake incomplete: a proxy in front has dropped the upgrade");
}

pub(crate) fn handshake_refused(kind: &str, reason: impl Fn() -> &'static str, cause: Option<Cause<'_>>) {
    event!(info, kind, reason = reason(), "handshake refused");
    if let Some(cause) = cause {
        event!(debug, %cause, "cause of the refusal");
        // At trace: serde quotes claims here, which may be personal data.
        if let Some(underlying) = cause.source() {
            event!(trace, %underlying, "underlying cause");
        }
    }
}

pub(crate) fn no_session_in_path() {
    event!(error, "no session in the path: the path of a refresh route needs the parameter `{{session}}`");
}

pub(crate) fn no_session(claims: &'static str) {
    event!(
        error,
        claims,
        "no session in the request: this route lacks a WsAuthLayer whose verifier has claims of this type"
    );
}

pub(crate) fn subprotocol_not_offered() {
    event!(warn, "subprotocol not offered: the response omits the handler's selection");
}

pub(crate) fn rejection_hook_succeeded() {
    event!(error, "rejection hook answered with success: the standard refusal is sent instead");
}
