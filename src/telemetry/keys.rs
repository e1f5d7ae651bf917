//! Fetched keys.

use super::Cause;

/// `is_of_rule`: a token has named the issuer, so that it must not become a label.
pub(crate) fn keys_refreshed(issuer: &str, is_of_rule: bool, keys: usize, changed: bool) {
    let outcome = if changed { "changed" } else { "unchanged" };
    count!(KEYS_REFRESH_TOTAL, "issuer" => label(issuer, is_of_rule), "outcome" => outcome, "reason" => "none");
    if !is_of_rule {
        set_timestamp!(KEYS_REFRESHED_TIMESTAMP_SECONDS, std::time::SystemTime::now(), "issuer" => label(issuer, is_of_rule));
    }
    if changed {
        event!(info, issuer, keys, "keys changed");
    } else {
        event!(debug, issuer, keys, "keys unchanged");
    }
}

pub(crate) fn key_refresh_failed(issuer: &str, is_of_rule: bool, reason: &'static str, error: Cause<'_>) {
    count!(KEYS_REFRESH_TOTAL, "issuer" => label(issuer, is_of_rule), "outcome" => "failed", "reason" => reason);
    event!(warn, issuer, reason, %error, "key refresh failed");
    if let Some(cause) = error.source() {
        event!(debug, issuer, %cause, "cause of the failure");
    }
}

pub(crate) fn keys_withdrawn(issuer: &str) {
    event!(error, issuer, "keys withdrawn: the issuer publishes no usable key");
}

/// One label for all issuers of a rule, because there is no end of them.
#[cfg(feature = "metrics")]
fn label(issuer: &str, is_of_rule: bool) -> String {
    if is_of_rule { "rule" } else { issuer }.to_owned()
}
