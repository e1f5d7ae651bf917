//! A session, from its refreshes to its end.

use std::{fmt::Display, sync::Arc, time::Duration};

use super::{Cause, LogSubject, Throttle, cause_of_failure};

/// Once for each session that is more than one request: that of a handshake, or of a response that goes on.
pub(crate) fn session_ended(
    session: impl Display,
    kind: &'static str,
    reason: &'static str,
    lasted: impl FnOnce() -> Duration,
    (subject, log_subject): (Option<&str>, LogSubject),
) {
    let subject = log_subject.filter(subject);
    event!(debug, %session, kind, subject, reason, seconds = lasted().as_secs_f64(), "session ended");
}

pub(crate) fn session_refreshed(session: impl Display) {
    event!(debug, %session, "session refreshed");
    count!(REFRESHES_TOTAL, "outcome" => "accepted", "reason" => "none");
}

pub(crate) fn step_up_missed(session: impl Display) {
    event!(info, %session, "step-up missed");
}

pub(crate) fn session_rechecked(session: impl Display) {
    event!(debug, %session, "session rechecked");
    count!(RECHECKS_TOTAL, "outcome" => "accepted", "reason" => "none");
}

pub(crate) fn recheck_refused(session: impl Display, reason: &'static str, cause: Option<Cause<'_>>) {
    count!(RECHECKS_TOTAL, "outcome" => "refused", "reason" => reason);
    event!(info, %session, reason, "session recheck refused");
    if let Some(cause) = cause {
        event!(debug, %session, %cause, "cause of the refusal");
    }
}

/// At warn for the first one since the last answer, because a verifier that is unavailable fails all sessions.
pub(crate) fn recheck_unavailable(session: impl Display, error: Cause<'_>, is_first: bool) {
    count!(RECHECKS_TOTAL, "outcome" => "unavailable", "reason" => "verifier_unavailable");
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
    count!(STORE_ERRORS_TOTAL, "store" => "bus");
    event!(warn, %error, "session recheck not sent: sessions of other nodes are not rechecked");
    cause_of_failure(error);
}

/// The throttle bounds it, because clients can cause any number: a route refuses a valid token for any session that is
/// not its own, and each new socket has attempts of its own.
pub(crate) fn refresh_refused(
    session: impl Display,
    reason: &'static str,
    cause: Option<Cause<'_>>,
    throttle: &Arc<Throttle>,
) {
    count!(REFRESHES_TOTAL, "outcome" => "refused", "reason" => reason);
    let Some(suppressed) = throttle.admit(refreshes_left_out) else { return };
    event!(info, %session, reason, suppressed, "refresh refused");
    if let Some(cause) = cause {
        event!(debug, %session, %cause, "cause of the refusal");
    }
}

/// The end of a flood.
fn refreshes_left_out(suppressed: u64) {
    event!(info, suppressed, "refreshes refused");
}

/// A route has refused a token before it has looked for the session. The event is that of a handshake.
pub(crate) fn refresh_not_verified(reason: &'static str) {
    count!(REFRESHES_TOTAL, "outcome" => "refused", "reason" => reason);
}

/// At debug: a client can cause any number of them.
pub(crate) fn refresh_throttled(session: impl Display, reason: &'static str) {
    count!(REFRESHES_TOTAL, "outcome" => "refused", "reason" => reason);
    event!(debug, %session, reason, "refresh refused");
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
