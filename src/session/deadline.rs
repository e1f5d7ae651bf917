//! When a session must end.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::EndReason;
use crate::time::TimeSource;

/// One moment on both clocks: the one on the wall, which tokens speak of and which may be set, and the monotonic one,
/// which may stand still while the machine sleeps.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: SystemTime,
    monotonic: Instant,
}

/// When a session must end: with its token, or with its greatest age. Each has come as soon as either clock says so.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    token: Option<Moment>,
    lifetime: Option<Moment>,
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

    /// The moment at which the clock on the wall will say that; it was read just now.
    pub(super) fn until(self, wall: SystemTime) -> Option<Self> {
        self.later_by(wall.duration_since(self.wall).unwrap_or_default())
    }

    fn left(self, now: Self) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        wall.min(self.monotonic.saturating_duration_since(now.monotonic))
    }
}

impl Deadline {
    pub(super) fn new(token: Option<Moment>, max_lifetime: Option<Duration>, accepted: Moment) -> Self {
        Self { token, lifetime: max_lifetime.and_then(|lifetime| accepted.later_by(lifetime)) }
    }

    /// What the wall clock will say.
    pub(super) fn wall(&self) -> Option<SystemTime> {
        self.token.into_iter().chain(self.lifetime).map(|at| at.wall).min()
    }

    /// How long there is to go, and how the session ends then: zero once the time has come, and `None` if it never does.
    pub(super) fn left(&self, now: Moment) -> Option<(Duration, EndReason)> {
        let token = self.token.map(|at| (at.left(now), EndReason::TokenExpired));
        let lifetime = self.lifetime.map(|at| (at.left(now), EndReason::MaxLifetime));
        token.into_iter().chain(lifetime).min_by_key(|(left, _)| *left)
    }
}
