//! When a session must end.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::EndReason;
use crate::TimeSource;

/// So long from now, or as long as a clock can tell.
pub(crate) fn from_now(duration: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FOR_EVER)
}

/// One moment on both clocks: the one on the wall, which tokens speak of and which may be set, and the monotonic one,
/// which may stand still while the machine sleeps.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: SystemTime,
    monotonic: Instant,
}

/// When a session must end, and why. It has come as soon as either clock says so.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    at: Moment,
    pub(super) reason: EndReason,
}

impl Moment {
    pub(super) fn now(time: &TimeSource) -> Self {
        Self { wall: time.now(), monotonic: Instant::now() }
    }

    /// `None` where a clock does not reach: that is never.
    fn later_by(self, duration: Duration) -> Option<Self> {
        let wall = self.wall.checked_add(duration)?;
        Some(Self { wall, monotonic: self.monotonic.checked_add(duration)? })
    }
}

impl Deadline {
    /// The earlier of the token's own end and the session's.
    pub(super) fn of(
        expires_at: Option<SystemTime>,
        verified: Moment,
        max_lifetime: Option<Duration>,
        accepted: Moment,
    ) -> Option<Self> {
        let token = expires_at.and_then(|expires_at| {
            let left = expires_at.duration_since(verified.wall).unwrap_or_default();
            verified.later_by(left).map(|at| Self { at, reason: EndReason::TokenExpired })
        });
        let lifetime = max_lifetime
            .and_then(|lifetime| accepted.later_by(lifetime))
            .map(|at| Self { at, reason: EndReason::MaxLifetime });
        token.into_iter().chain(lifetime).min_by_key(|deadline| deadline.at.monotonic)
    }

    pub(super) const fn wall(&self) -> SystemTime {
        self.at.wall
    }

    /// How long there is to go; zero once it has come.
    pub(super) fn left(&self, now: Moment) -> Duration {
        let wall = self.at.wall.duration_since(now.wall).unwrap_or_default();
        wall.min(self.at.monotonic.saturating_duration_since(now.monotonic))
    }
}
