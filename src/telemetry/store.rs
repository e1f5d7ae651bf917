//! Stores of tickets, proofs, revocations and limits, and the bus between nodes.

use super::{Cause, cause_of_failure};

pub(crate) fn ticket_not_issued(error: Cause<'_>) {
    event!(info, %error, "ticket not issued");
    cause_of_failure(error);
}

pub(crate) fn ticket_not_redeemed(error: Cause<'_>) {
    event!(warn, %error, "ticket not redeemed");
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
