//! Step one: finds the token.

use http::request::Parts;

use super::config::Config;
use crate::token::Found;

/// Takes the token out of the one place where it was found. [`strip`](super::strip::strip) does the rest of the
/// request.
pub(super) fn find(config: &Config, parts: &mut Parts) -> Found {
    config.sources.take(parts, config.session.max_token_len)
}
