//! Step three: checks which page opens the WebSocket.

use http::{header::ORIGIN, request::Parts};

use super::{config::Config, request::RequestKind, summary::bounded};
use crate::{
    origin::{AllowOrigin, OriginError, OriginErrorKind},
    rejection::{Rejection, RejectionKind},
    telemetry,
    token::{CookieKind, TokenKind},
};

/// A request with an ambient token needs an allowed origin. One with an explicit token needs it only once a policy is
/// set, and may then have none.
pub(super) fn check_origin(
    config: &Config,
    kind: RequestKind,
    parts: &Parts,
    token: TokenKind,
) -> Result<(), Rejection> {
    let checked = match (&config.allow_origin, token) {
        (Some(policy), TokenKind::Ambient(cookie)) => check_ambient(policy, kind, parts, cookie),
        (None, TokenKind::Ambient(cookie)) => check_ambient(&AllowOrigin::same_origin(), kind, parts, cookie),
        (Some(policy), TokenKind::Explicit) => policy.check_explicit(parts, CookieKind::Plain),
        (None, TokenKind::Explicit) => Ok(()),
    };
    checked.map_err(|error| Rejection::origin(error, &config.challenges, parts.version))
}

fn check_ambient(
    policy: &AllowOrigin,
    kind: RequestKind,
    parts: &Parts,
    cookie: CookieKind,
) -> Result<(), OriginError> {
    match policy.check_ambient(parts, cookie) {
        Err(error)
            if error.kind() == OriginErrorKind::Missing
                && kind == RequestKind::Plain
                && policy.allows_own_page(parts, cookie) =>
        {
            Ok(())
        }
        checked => checked,
    }
}

/// Whether the page behind a refused request may learn the reason. A foreign page must not: the reason would tell it
/// whether its visitor has a session here.
pub(super) fn may_tell_page(config: &Config, parts: &Parts) -> bool {
    match (&config.allow_origin, config.sources.cookie_kind()) {
        (Some(policy), cookie) => policy.check_explicit(parts, cookie.unwrap_or(CookieKind::Plain)).is_ok(),
        (None, Some(cookie)) => AllowOrigin::same_origin().check_explicit(parts, cookie).is_ok(),
        (None, None) => true,
    }
}

/// The origins that were expected and the one that was found, if a log shows that.
pub(super) fn compared_origins(config: &Config, rejection: &Rejection, parts: &Parts) -> Option<(String, String)> {
    if rejection.kind() != RejectionKind::OriginNotAllowed || !telemetry::are_comparisons_logged() {
        return None;
    }
    let same_origin = AllowOrigin::same_origin();
    let expected = config.allow_origin.as_ref().unwrap_or(&same_origin).expected(parts);
    let found: Vec<_> = parts.headers.get_all(ORIGIN).iter().map(|origin| bounded(origin.as_bytes())).collect();
    Some((bounded(expected.as_bytes()), if found.is_empty() { "none".to_owned() } else { found.join(" and ") }))
}
