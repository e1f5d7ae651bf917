//! Stores of tickets, proofs, revocations and limits, and the bus between nodes.

use std::{sync::Arc, time::SystemTime};

use super::{Cause, Throttle, cause_of_failure};

/// A user can cause any number of these, so the throttle bounds them.
pub(crate) fn ticket_not_issued(error: Cause<'_>, throttle: &Arc<Throttle>) {
    let Some(suppressed) = throttle.admit(tickets_not_issued) else { return };
    event!(info, %error, suppressed, "ticket not issued");
    cause_of_failure(error);
}

/// The end of a flood.
fn tickets_not_issued(suppressed: u64) {
    event!(info, suppressed, "tickets not issued");
}

/// What became of a request for a ticket.
pub(crate) fn ticket_asked_for(refused: Option<&'static str>) {
    let outcome = if refused.is_none() { "issued" } else { "not_issued" };
    count!(TICKETS_TOTAL, "outcome" => outcome, "reason" => refused.unwrap_or("none"));
}

/// What became of a ticket in a handshake.
pub(crate) fn ticket_presented(refused: Option<&'static str>) {
    let outcome = if refused.is_none() { "redeemed" } else { "not_redeemed" };
    count!(TICKETS_TOTAL, "outcome" => outcome, "reason" => refused.unwrap_or("none"));
}

pub(crate) fn ticket_not_stored() {
    count!(STORE_ERRORS_TOTAL, "store" => "tickets");
}

/// Anybody can cause these while the store is unavailable, so the throttle bounds them.
pub(crate) fn ticket_not_redeemed(error: Cause<'_>, throttle: &Arc<Throttle>) {
    count!(STORE_ERRORS_TOTAL, "store" => "tickets");
    let Some(suppressed) = throttle.admit(tickets_not_redeemed) else { return };
    event!(warn, %error, suppressed, "ticket not redeemed");
}

/// The end of a flood.
fn tickets_not_redeemed(suppressed: u64) {
    event!(warn, suppressed, "tickets not redeemed");
}

#[cfg(feature = "dpop")]
pub(crate) fn proof_checked(refused: Option<&'static str>) {
    let outcome = if refused.is_none() { "accepted" } else { "refused" };
    count!(PROOFS_TOTAL, "outcome" => outcome, "reason" => refused.unwrap_or("none"));
}

/// A user can cause any number of these while the store is unavailable, so the throttle bounds them.
#[cfg(feature = "dpop")]
pub(crate) fn proof_not_noted(error: Cause<'_>, throttle: &Arc<Throttle>) {
    count!(STORE_ERRORS_TOTAL, "store" => "proofs");
    let Some(suppressed) = throttle.admit(proofs_not_noted) else { return };
    event!(warn, %error, suppressed, "proof not noted");
}

/// The end of a flood.
#[cfg(feature = "dpop")]
fn proofs_not_noted(suppressed: u64) {
    event!(warn, suppressed, "proofs not noted");
}

pub(crate) fn revoked(kind: &'static str) {
    count!(REVOCATIONS_TOTAL, "kind" => kind);
}

/// This node knew everything in the store at this time.
pub(crate) fn revocations_synced(at: SystemTime) {
    set_timestamp!(REVOCATIONS_SYNCED_TIMESTAMP_SECONDS, at);
}

pub(crate) fn revocation_not_confirmed(error: Cause<'_>) {
    count!(STORE_ERRORS_TOTAL, "store" => "revocations");
    event!(error, %error, "revocation not confirmed");
    cause_of_failure(error);
}

pub(crate) fn revocation_store_unavailable(error: Cause<'_>) {
    count!(STORE_ERRORS_TOTAL, "store" => "revocations");
    event!(warn, %error, "revocation store unavailable");
    cause_of_failure(error);
}

pub(crate) fn revocations_lost(error: Cause<'_>) {
    count!(STORE_ERRORS_TOTAL, "store" => "revocations");
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
    count!(STORE_ERRORS_TOTAL, "store" => "limits");
    event!(warn, %error, "limit store unavailable");
    cause_of_failure(error);
}

pub(crate) fn evictions_not_received(error: Cause<'_>) {
    count!(STORE_ERRORS_TOTAL, "store" => "limits");
    event!(warn, %error, "evictions not received");
}

/// A user can cause any number of these while the bus is unavailable, so the throttle bounds them.
pub(crate) fn node_bus_unavailable(error: Cause<'_>, throttle: &Arc<Throttle>) {
    count!(STORE_ERRORS_TOTAL, "store" => "bus");
    let Some(suppressed) = throttle.admit(messages_not_sent) else { return };
    event!(warn, %error, suppressed, "node bus unavailable");
    cause_of_failure(error);
}

/// The end of a flood.
fn messages_not_sent(suppressed: u64) {
    event!(warn, suppressed, "node bus still unavailable");
}
