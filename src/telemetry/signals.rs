//! What identity providers send: log-out notices and security events.

use std::sync::Arc;

use super::{Cause, Throttle, cause_of_failure};

pub(crate) fn signal_received(issuer: &str, event: &str, id: &str) {
    event!(debug, ?issuer, ?event, ?id, "signal received");
}

/// `is_applied`: it has changed something, or has been recorded.
pub(crate) fn signal_processed(kind: &'static str, is_applied: bool) {
    let outcome = if is_applied { "accepted" } else { "ignored" };
    count!(SIGNALS_TOTAL, "event" => kind, "outcome" => outcome, "reason" => "none");
}

/// Anybody can send something to a route, so the throttle bounds these events.
pub(crate) fn signal_refused(kind: &'static str, reason: &'static str, error: Cause<'_>, throttle: &Arc<Throttle>) {
    count!(SIGNALS_TOTAL, "event" => kind, "outcome" => "refused", "reason" => reason);
    let Some(suppressed) = throttle.admit(signals_left_out) else { return };
    event!(info, reason, %error, suppressed, "signal refused");
    cause_of_failure(error);
}

/// The end of a flood.
fn signals_left_out(suppressed: u64) {
    event!(info, suppressed, "signals refused");
}

/// Anybody can cause these while keys are unavailable, so the throttle bounds them.
pub(crate) fn signal_not_applied(kind: &'static str, error: Cause<'_>, throttle: &Arc<Throttle>) {
    count!(SIGNALS_TOTAL, "event" => kind, "outcome" => "failed", "reason" => "unavailable");
    let Some(suppressed) = throttle.admit(not_applied_left_out) else { return };
    event!(warn, %error, suppressed, "signal not applied: the transmitter has to send it again");
    cause_of_failure(error);
}

/// The end of a flood.
fn not_applied_left_out(suppressed: u64) {
    event!(warn, suppressed, "signals not applied");
}

/// At warn if a session may be meant.
pub(crate) fn signal_not_acted_on(event: &str, why: &'static str, is_relevant: bool) {
    if is_relevant {
        event!(warn, ?event, why, "signal not acted on");
    } else {
        event!(debug, ?event, why, "signal not acted on");
    }
}

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
pub(crate) fn signal_poll_failed(error: Cause<'_>, is_first: bool) {
    count!(SIGNALS_TOTAL, "event" => "poll", "outcome" => "failed", "reason" => "unavailable");
    if is_first {
        event!(warn, %error, "signal poll failed");
    } else {
        event!(debug, %error, "signal poll failed");
    }
    cause_of_failure(error);
}

/// `of` is what the notice names. No id of it: some providers accept a session's id as a credential.
pub(crate) fn log_out_accepted(notice: &'static str, issuer: Option<&str>, of: &'static str) {
    count!(SIGNALS_TOTAL, "event" => notice, "outcome" => "accepted", "reason" => "none");
    event!(info, issuer, of, "log-out notice accepted");
}

/// Anybody can send something to a route, so the throttle bounds these events.
pub(crate) fn log_out_refused(notice: &'static str, reason: &'static str, error: Cause<'_>, throttle: &Arc<Throttle>) {
    count!(SIGNALS_TOTAL, "event" => notice, "outcome" => "refused", "reason" => reason);
    let Some(suppressed) = throttle.admit(log_outs_left_out) else { return };
    event!(info, reason, %error, suppressed, "log-out notice refused");
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of the refusal");
        // At trace: serde quotes claims here, which may be personal data.
        if let Some(underlying) = cause.source() {
            event!(trace, %underlying, "underlying cause");
        }
    }
}

/// The end of a flood.
fn log_outs_left_out(suppressed: u64) {
    event!(info, suppressed, "log-out notices refused");
}
