//! Fetched keys.

use super::Cause;

pub(crate) fn keys_refreshed(issuer: &str, keys: usize, changed: bool) {
    if changed {
        event!(info, issuer, keys, "keys changed");
    } else {
        event!(debug, issuer, keys, "keys unchanged");
    }
}

pub(crate) fn key_refresh_failed(issuer: &str, reason: &str, error: Cause<'_>) {
    event!(warn, issuer, reason, %error, "key refresh failed");
    if let Some(cause) = error.source() {
        event!(debug, issuer, %cause, "cause of the failure");
    }
}

pub(crate) fn keys_withdrawn(issuer: &str) {
    event!(error, issuer, "keys withdrawn: the issuer publishes no usable key");
}
