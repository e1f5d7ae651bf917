//! Handshakes, and routes that are set up wrongly.

use std::{
    fmt::Display,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

#[cfg(feature = "tracing")]
use tracing::field::{debug, display};

use super::{Cause, LogSubject, Throttle};

/// One for all routes that lack a layer: there is none that could have its own.
static NO_SESSION: LazyLock<Arc<Throttle>> = LazyLock::new(|| Arc::new(Throttle::new()));

/// What is logged of a refused request, besides the refusal.
#[derive(Default)]
pub(crate) struct Refused {
    pub(crate) route: Option<String>,
    pub(crate) peer: Option<IpAddr>,
    /// The `Origin` header. Anybody can write one.
    pub(crate) origin: Option<String>,
    /// What was expected, and what was found instead.
    pub(crate) compared: Option<(String, String)>,
}

pub(crate) fn handshake_admitted(session: impl Display, subject: Option<&str>, log_subject: LogSubject) {
    event!(debug, %session, subject = log_subject.filter(subject), "handshake admitted");
}

pub(crate) fn request_admitted(session: impl Display, subject: Option<&str>, log_subject: LogSubject) {
    event!(debug, %session, subject = log_subject.filter(subject), "request admitted");
}

pub(crate) fn peer_unknown() {
    event!(
        error,
        "peer address unknown: serve the application with `into_make_service_with_connect_info::<SocketAddr>()`"
    );
}

/// Anybody can cause a flood of these too.
pub(crate) fn handshake_incomplete(missing: &'static str, throttle: &Arc<Throttle>, details: impl FnOnce() -> Refused) {
    if !is_enabled!(WARN) {
        return;
    }
    let Some(suppressed) = throttle.admit(incomplete_left_out) else { return };
    let Refused { route, peer, .. } = details();
    #[cfg(feature = "tracing")]
    let peer = peer.map(display);
    event!(warn, missing, route, peer, suppressed, "handshake incomplete: a proxy in front has dropped the upgrade");
}

fn incomplete_left_out(suppressed: u64) {
    event!(warn, suppressed, "handshakes incomplete");
}

/// Whether [`handshake_refused`] has any use for its details.
pub(crate) fn are_refusals_logged() -> bool {
    is_enabled!(INFO)
}

/// Whether anybody sees what was compared.
pub(crate) fn are_comparisons_logged() -> bool {
    is_enabled!(DEBUG)
}

/// Anybody can cause a flood of refusals, so the throttle bounds these events. The details are made only for an event
/// that is written.
pub(crate) fn handshake_refused(
    kind: &'static str,
    reason: impl Fn() -> &'static str,
    cause: Option<Cause<'_>>,
    throttle: &Arc<Throttle>,
    details: impl FnOnce() -> Refused,
) {
    if !are_refusals_logged() {
        return;
    }
    let Some(suppressed) = throttle.admit(move |left_out| refusals_left_out(kind, left_out)) else { return };
    let Refused { route, peer, origin, compared } = details();
    #[cfg(feature = "tracing")]
    let (peer, origin) = (peer.map(display), origin.as_deref().map(debug));
    event!(info, kind, reason = reason(), route, peer, origin, suppressed, "handshake refused");
    if let Some(cause) = cause {
        if let Some((expected, found)) = compared {
            event!(debug, %cause, ?expected, ?found, "cause of the refusal");
        } else {
            event!(debug, %cause, "cause of the refusal");
        }
        // At trace: serde quotes claims here, which may be personal data.
        if let Some(underlying) = cause.source() {
            event!(trace, %underlying, "underlying cause");
        }
    }
}

/// The end of a flood.
fn refusals_left_out(kind: &'static str, suppressed: u64) {
    event!(info, kind, suppressed, "handshakes refused");
}

/// Whoever has a valid token can cause any number of these, so the throttle bounds them.
pub(crate) fn no_session_in_path(throttle: &Arc<Throttle>) {
    let Some(suppressed) = throttle.admit(paths_left_out) else { return };
    event!(error, suppressed, "no session in the path: the path of a refresh route needs the parameter `{{session}}`");
}

fn paths_left_out(suppressed: u64) {
    event!(error, suppressed, "requests without a session in the path");
}

/// Anybody can cause these.
pub(crate) fn no_session(claims: &'static str) {
    let Some(suppressed) = NO_SESSION.admit(requests_left_out) else { return };
    event!(
        error,
        claims,
        suppressed,
        "no session in the request: this route lacks a WsAuthLayer whose verifier has claims of this type"
    );
}

fn requests_left_out(suppressed: u64) {
    event!(error, suppressed, "requests without a session");
}

/// Each client of such a handler causes one.
pub(crate) fn subprotocol_not_offered(throttle: &Arc<Throttle>) {
    let Some(suppressed) = throttle.admit(selections_left_out) else { return };
    event!(warn, suppressed, "subprotocol not offered: the response omits the handler's selection");
}

fn selections_left_out(suppressed: u64) {
    event!(warn, suppressed, "subprotocols not offered");
}

/// Anybody can cause a flood of refusals.
pub(crate) fn rejection_hook_succeeded(throttle: &Arc<Throttle>) {
    let Some(suppressed) = throttle.admit(hook_left_out) else { return };
    event!(error, suppressed, "rejection hook answered with success: the standard refusal is sent instead");
}

fn hook_left_out(suppressed: u64) {
    event!(error, suppressed, "rejection hook answers with success");
}
