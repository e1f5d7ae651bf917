//! When a notice was issued.

use std::time::{Duration, SystemTime};

use super::SignalErrorKind as Kind;

/// How long after its `iat` a token of limited age is valid.
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);

/// Returns the time until which the notice revokes what was issued to a subject: its `iat`, and never later than now.
///
/// Not its arrival: a notice that arrives a second time would then end what the user has signed in to since.
pub(super) fn until(issued_at: SystemTime, now: SystemTime, leeway: Duration) -> Result<SystemTime, Kind> {
    if issued_at > now.checked_add(leeway).unwrap_or(now) {
        return Err(Kind::IssuedInFuture);
    }
    Ok(issued_at.min(now))
}

pub(super) fn check_age(issued_at: SystemTime, now: SystemTime, leeway: Duration) -> Result<(), Kind> {
    let end = issued_at.checked_add(MAX_AGE + leeway);
    if end.is_none_or(|end| end <= now) { Err(Kind::TooOld) } else { Ok(()) }
}
