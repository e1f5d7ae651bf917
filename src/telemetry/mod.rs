//! Events, which the crate docs list. They are made of primitive values, so that every room can say its own. Without the
//! feature `tracing` they are empty and cost nothing.

#![cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "there is no event to put them into"))]

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

pub(crate) fn admitted(session: impl Display, subject: Option<&str>) {
    event!(debug, %session, subject, "handshake admitted");
}

pub(crate) fn request_admitted(session: impl Display, subject: Option<&str>) {
    event!(debug, %session, subject, "request admitted");
}

pub(crate) fn upgrade_dropped(missing: &'static str) {
    event!(warn, missing, "handshake incomplete: a proxy in front has dropped its upgrade");
}

pub(crate) fn session_ended(session: impl Display, subject: Option<&str>, reason: Option<&str>) {
    event!(debug, %session, subject, reason, "session ended");
}

pub(crate) fn session_refreshed(session: impl Display) {
    event!(debug, %session, "session refreshed");
}

pub(crate) fn refresh_refused(session: impl Display, reason: &str, cause: Option<Cause<'_>>) {
    event!(info, %session, reason, "refresh refused");
    if let Some(cause) = cause {
        event!(debug, %session, %cause, "cause of the refusal");
    }
}

/// Of these there may be any number.
pub(crate) fn refresh_throttled(session: impl Display, reason: &str) {
    event!(debug, %session, reason, "refresh refused");
}

pub(crate) fn refused(kind: &str, reason: &str, cause: Option<Cause<'_>>) {
    event!(info, kind, reason, "handshake refused");
    if let Some(cause) = cause {
        event!(debug, %cause, "cause of the refusal");
        // serde quotes claims here, which may be personal data.
        if let Some(beneath) = cause.source() {
            event!(trace, %beneath, "beneath the cause");
        }
    }
}

#[cfg(feature = "jwks")]
pub(crate) fn keys_refreshed(issuer: &str, keys: usize, changed: bool) {
    if changed {
        event!(info, issuer, keys, "keys changed");
    } else {
        event!(debug, issuer, keys, "keys confirmed");
    }
}

#[cfg(feature = "jwks")]
pub(crate) fn keys_not_refreshed(issuer: &str, reason: &str, error: Cause<'_>) {
    event!(warn, issuer, reason, %error, "keys not refreshed");
    if let Some(cause) = error.source() {
        event!(debug, issuer, %cause, "cause of the failure");
    }
}

#[cfg(feature = "jwks")]
pub(crate) fn keys_withdrawn(issuer: &str) {
    event!(error, issuer, "keys withdrawn: the issuer publishes none that can be used");
}

pub(crate) fn no_ticket(error: Cause<'_>) {
    event!(info, %error, "no ticket issued");
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of that");
    }
}

pub(crate) fn ticket_not_redeemed(error: Cause<'_>) {
    event!(warn, %error, "ticket not redeemed");
}

pub(crate) fn revocation_not_told(error: Cause<'_>) {
    event!(error, %error, "revocation not confirmed");
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of that");
    }
}

pub(crate) fn revocations_not_read(error: Cause<'_>) {
    event!(warn, %error, "revocations not read");
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of that");
    }
}

pub(crate) fn revocations_lost(error: Cause<'_>) {
    event!(error, %error, "revocations lost by the store");
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of that");
    }
}

/// So many of them were in the store before.
pub(crate) fn revocations_told_again(count: usize, lost: usize) {
    if lost > 0 {
        event!(error, count, lost, "revocations told again: the store has lost some");
    } else {
        event!(warn, count, "revocations told again: the store did not have them");
    }
}

pub(crate) fn revocations_incomplete() {
    event!(warn, "revocations incomplete: other nodes are telling the store what it lost");
}

pub(crate) fn limits_not_shared(error: Cause<'_>) {
    event!(warn, %error, "limits not shared");
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of that");
    }
}

pub(crate) fn evictions_not_heard(error: Cause<'_>) {
    event!(warn, %error, "evictions not heard");
}

pub(crate) fn no_session(claims: &'static str) {
    event!(
        error,
        claims,
        "no session in the request: this route lacks a WsAuthLayer whose verifier has claims of this type"
    );
}

pub(crate) fn nobody_to_limit() {
    event!(
        warn,
        "sessions without a subject are not limited: `Limits::per_subject` needs a verifier that names one, with \
         `Verified::with_subject`"
    );
}

pub(crate) fn unwatched_session(session: impl Display) {
    event!(warn,
        %session,
        "session ended and nothing watches it: its connection stays open. Take `AuthenticatedUpgrade`, or close the \
         socket when `Session::ended` resolves"
    );
}

pub(crate) fn dropped_session(session: impl Display) {
    event!(warn,
        %session,
        "session dropped before its upgrade: nothing ends its connection, and no limit counts it. Take \
         `AuthenticatedUpgrade`, or keep the `Session` for as long as the connection and close the socket when \
         `Session::ended` resolves"
    );
}

pub(crate) fn unoffered_subprotocol() {
    event!(warn, "subprotocol not offered: the handler's selection is left out of the answer");
}

pub(crate) fn hook_answered_with_success() {
    event!(error, "refusal hook answered with success: the standard refusal is sent instead");
}
