//! Events. The crate docs list them.
//!
//! They take primitive values, so that every module can emit its own. Without the feature `tracing` they compile to nothing.

#![cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "no event takes them"))]

use std::{error::Error, fmt::Display};

/// The cause of an error, for logs.
type Cause<'a> = &'a (dyn Error + 'static);

/// An event of `tracing`, or nothing.
macro_rules! event {
    ($level:ident, $($fields:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!($($fields)*);
    };
}

pub(crate) fn handshake_admitted(session: impl Display, subject: Option<&str>) {
    event!(debug, %session, subject, "handshake admitted");
}

pub(crate) fn request_admitted(session: impl Display, subject: Option<&str>) {
    event!(debug, %session, subject, "request admitted");
}

pub(crate) fn handshake_incomplete(missing: &'static str) {
    event!(warn, missing, "handshake incomplete: a proxy in front has dropped the upgrade");
}

pub(crate) fn session_ended(session: impl Display, subject: Option<&str>, reason: Option<&str>) {
    event!(debug, %session, subject, reason, "session ended");
}

pub(crate) fn session_refreshed(session: impl Display) {
    event!(debug, %session, "session refreshed");
}

pub(crate) fn step_up_missed(session: impl Display) {
    event!(info, %session, "step-up missed");
}

pub(crate) fn session_rechecked(session: impl Display) {
    event!(debug, %session, "session rechecked");
}

pub(crate) fn recheck_refused(session: impl Display, reason: &str, cause: Option<Cause<'_>>) {
    event!(info, %session, reason, "session recheck refused");
    if let Some(cause) = cause {
        event!(debug, %session, %cause, "cause of the refusal");
    }
}

/// At warn for the first one since the last answer, because a verifier that is unavailable fails all sessions.
pub(crate) fn recheck_unavailable(session: impl Display, error: Cause<'_>, is_first: bool) {
    if is_first {
        event!(warn, %session, %error, "session recheck unavailable");
    } else {
        event!(debug, %session, %error, "session recheck unavailable");
    }
    if let Some(cause) = error.source() {
        event!(debug, %session, %cause, "cause of the failure");
    }
}

pub(crate) fn recheck_not_sent(error: Cause<'_>) {
    event!(warn, %error, "session recheck not sent: sessions of other nodes are not rechecked");
    cause_of_failure(error);
}

pub(crate) fn refresh_refused(session: impl Display, reason: &str, cause: Option<Cause<'_>>) {
    event!(info, %session, reason, "refresh refused");
    if let Some(cause) = cause {
        event!(debug, %session, %cause, "cause of the refusal");
    }
}

/// At debug: a client can cause any number of them.
pub(crate) fn refresh_throttled(session: impl Display, reason: &str) {
    event!(debug, %session, reason, "refresh refused");
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

#[cfg(feature = "jwks")]
pub(crate) fn keys_refreshed(issuer: &str, keys: usize, changed: bool) {
    if changed {
        event!(info, issuer, keys, "keys changed");
    } else {
        event!(debug, issuer, keys, "keys unchanged");
    }
}

#[cfg(feature = "jwks")]
pub(crate) fn key_refresh_failed(issuer: &str, reason: &str, error: Cause<'_>) {
    event!(warn, issuer, reason, %error, "key refresh failed");
    if let Some(cause) = error.source() {
        event!(debug, issuer, %cause, "cause of the failure");
    }
}

#[cfg(feature = "jwks")]
pub(crate) fn keys_withdrawn(issuer: &str) {
    event!(error, issuer, "keys withdrawn: the issuer publishes no usable key");
}

#[cfg(feature = "signals")]
pub(crate) fn signal_received(issuer: &str, event: &str, id: &str) {
    event!(debug, ?issuer, ?event, ?id, "signal received");
}

#[cfg(feature = "signals")]
pub(crate) fn signal_refused(reason: &str, error: Cause<'_>) {
    event!(info, reason, %error, "signal refused");
    cause_of_failure(error);
}

#[cfg(feature = "signals")]
pub(crate) fn signal_not_applied(error: Cause<'_>) {
    event!(warn, %error, "signal not applied: the transmitter has to send it again");
    cause_of_failure(error);
}

/// At warn if a session may be meant.
#[cfg(feature = "signals")]
pub(crate) fn signal_not_acted_on(event: &str, why: &'static str, is_relevant: bool) {
    if is_relevant {
        event!(warn, ?event, why, "signal not acted on");
    } else {
        event!(debug, ?event, why, "signal not acted on");
    }
}

#[cfg(feature = "signals")]
pub(crate) fn signal_stream_updated(issuer: &str, status: Option<&str>) {
    match status {
        Some("enabled") => {
            event!(info, ?issuer, "signal stream enabled");
        }
        Some("paused") => {
            event!(warn, ?issuer, "signal stream paused: events come later");
        }
        _ => {
            event!(error, ?issuer, status, "signal stream disabled: no events come until it is enabled");
        }
    }
}

/// At warn for the first one since the last answer.
#[cfg(feature = "signals")]
pub(crate) fn signal_poll_failed(error: Cause<'_>, is_first: bool) {
    if is_first {
        event!(warn, %error, "signal poll failed");
    } else {
        event!(debug, %error, "signal poll failed");
    }
    cause_of_failure(error);
}

/// The endpoint refuses the credentials of this server.
#[cfg(feature = "introspection")]
pub(crate) fn introspection_refused(endpoint: &str, reason: &str, error: Cause<'_>) {
    event!(error, endpoint, reason, %error, "introspection refused: check the credentials of this server");
    cause_of_failure(error);
}

#[cfg(feature = "introspection")]
pub(crate) fn introspection_failed(endpoint: &str, reason: &str, error: Cause<'_>) {
    event!(warn, endpoint, reason, %error, "introspection failed");
    cause_of_failure(error);
}

pub(crate) fn ticket_not_issued(error: Cause<'_>) {
    event!(info, %error, "ticket not issued");
    cause_of_failure(error);
}

pub(crate) fn ticket_not_redeemed(error: Cause<'_>) {
    event!(warn, %error, "ticket not redeemed");
}

/// `of` is what the notice names. No id of it: some providers accept a session's id as a credential.
#[cfg(feature = "signals")]
pub(crate) fn log_out_accepted(issuer: Option<&str>, of: &'static str) {
    event!(info, issuer, of, "log-out notice accepted");
}

#[cfg(feature = "signals")]
pub(crate) fn log_out_refused(reason: &str, error: Cause<'_>) {
    event!(info, reason, %error, "log-out notice refused");
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of the refusal");
        // At trace: serde quotes claims here, which may be personal data.
        if let Some(underlying) = cause.source() {
            event!(trace, %underlying, "underlying cause");
        }
    }
}

#[cfg(feature = "dpop")]
pub(crate) fn proof_not_noted(error: Cause<'_>) {
    event!(warn, %error, "proof not noted");
}

pub(crate) fn revocation_not_confirmed(error: Cause<'_>) {
    event!(error, %error, "revocation not confirmed");
    cause_of_failure(error);
}

pub(crate) fn revocation_store_unavailable(error: Cause<'_>) {
    event!(warn, %error, "revocation store unavailable");
    cause_of_failure(error);
}

pub(crate) fn revocations_lost(error: Cause<'_>) {
    event!(error, %error, "revocations lost by the store");
    cause_of_failure(error);
}

/// `lost` of them had been in the store before.
pub(crate) fn revocations_restored(count: usize, lost: usize) {
    if lost > 0 {
        event!(error, count, lost, "revocations restored: the store had lost some");
    } else {
        event!(warn, count, "revocations restored: the store had not confirmed them");
    }
}

pub(crate) fn revocations_incomplete() {
    event!(warn, "revocations incomplete: other nodes are still restoring what the store lost");
}

pub(crate) fn limit_store_unavailable(error: Cause<'_>) {
    event!(warn, %error, "limit store unavailable");
    cause_of_failure(error);
}

pub(crate) fn evictions_not_received(error: Cause<'_>) {
    event!(warn, %error, "evictions not received");
}

pub(crate) fn node_bus_unavailable(error: Cause<'_>) {
    event!(warn, %error, "node bus unavailable");
    cause_of_failure(error);
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

pub(crate) fn sessions_without_subject() {
    event!(
        warn,
        "sessions without a subject are not limited: `Limits::per_subject` needs a verifier that names one, with \
         `Verified::with_subject`"
    );
}

pub(crate) fn session_unwatched(session: impl Display) {
    event!(warn,
        %session,
        "session ended and nothing watches it: its connection stays open. Take `AuthenticatedUpgrade`, or close the \
         socket when `Session::ended` resolves"
    );
}

pub(crate) fn session_dropped(session: impl Display) {
    event!(warn,
        %session,
        "session dropped before its upgrade: nothing ends its connection, and no limit counts it. Take \
         `AuthenticatedUpgrade`, or keep the `Session` for as long as the connection and close the socket when \
         `Session::ended` resolves"
    );
}

pub(crate) fn subprotocol_not_offered() {
    event!(warn, "subprotocol not offered: the response omits the handler's selection");
}

pub(crate) fn rejection_hook_succeeded() {
    event!(error, "rejection hook answered with success: the standard refusal is sent instead");
}

fn cause_of_failure(error: Cause<'_>) {
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of the failure");
    }
}
