//! Questions about opaque tokens.

use super::{Cause, cause_of_failure};

/// The endpoint refuses the credentials of this server.
pub(crate) fn introspection_refused(endpoint: &str, reason: &str, error: Cause<'_>) {
    event!(error, endpoint, reason, %error, "introspection refused: check the credentials of this server");
    cause_of_failure(error);
}

pub(crate) fn introspection_failed(endpoint: &str, reason: &str, error: Cause<'_>) {
    event!(warn, endpoint, reason, %error, "introspection failed");
    cause_of_failure(error);
}
