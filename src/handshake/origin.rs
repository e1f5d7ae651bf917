//! Step three: checks which page opens the WebSocket.

use http::request::Parts;

use super::config::Config;
use crate::{
    origin::{AllowOrigin, OriginError},
    rejection::Rejection,
    token::{CookieKind, TokenKind},
};

/// A request with an ambient token needs an allowed origin. One with an explicit token needs it only once a policy is set,
/// and may then have none.
pub(super) fn check_origin(config: &Config, parts: &Parts, kind: TokenKind) -> Result<(), Rejection> {
    check(config, parts, kind).map_err(|error| Rejection::origin(error, &config.challenges, parts.version))
}

fn check(config: &Config, parts: &Parts, kind: TokenKind) -> Result<(), OriginError> {
    match (&config.allow_origin, kind) {
        (Some(policy), TokenKind::Ambient(cookie)) => policy.check_ambient(parts, cookie),
        (None, TokenKind::Ambient(cookie)) => AllowOrigin::same_origin().check_ambient(parts, cookie),
        (Some(policy), TokenKind::Explicit) => policy.check_explicit(parts, CookieKind::Plain),
        (None, TokenKind::Explicit) => Ok(()),
    }
}

/// Whether the page behind a refused request may learn the reason. A foreign page must not: the reason would tell it whether
/// its visitor has a session here.
pub(super) fn may_tell_page(config: &Config, parts: &Parts) -> bool {
    match (&config.allow_origin, config.sources.cookie_kind()) {
        (Some(policy), cookie) => policy.check_explicit(parts, cookie.unwrap_or(CookieKind::Plain)).is_ok(),
        (None, Some(cookie)) => AllowOrigin::same_origin().check_explicit(parts, cookie).is_ok(),
        (None, None) => true,
    }
}
