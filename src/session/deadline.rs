//! When a session must end.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::EndReason;
use crate::time::TimeSource;

/// A moment on two clocks: the wall clock, which tokens refer to and which may be set, and the monotonic clock, which
/// may stop while the machine sleeps.
#[derive(Clone, Copy)]
pub(crate) struct Timestamp {
    pub(super) wall: SystemTime,
    pub(super) monotonic: Instant,
}

/// When a session must end: with its token, or after its max lifetime. Each has passed as soon as one of the clocks
/// says so.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    token: Option<Timestamp>,
    lifetime: Option<Timestamp>,
}

impl Timestamp {
    pub(super) fn now(time: &TimeSource) -> Self {
        Self { wall: time.now(), monotonic: Instant::now() }
    }

    /// `None` if a clock cannot represent it, which means never.
    pub(super) fn checked_add(self, duration: Duration) -> Option<Self> {
        let wall = self.wall.checked_add(duration)?;
        Some(Self { wall, monotonic: self.monotonic.checked_add(duration)? })
    }

    /// When the wall clock will show this time, as seen from `self`.
    pub(super) fn at_wall_time(self, wall: SystemTime) -> Option<Self> {
        self.checked_add(wall.duration_since(self.wall).unwrap_or_default())
    }

    /// By the monotonic clock.
    pub(super) fn elapsed(self) -> Duration {
        self.monotonic.elapsed()
    }

    pub(super) fn time_left(self, now: Self) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        wall.min(self.monotonic.saturating_duration_since(now.monotonic))
    }
}

impl Deadline {
    pub(super) fn new(token: Option<Timestamp>, max_lifetime: Option<Duration>, connected: Timestamp) -> Self {
        Self { token, lifetime: max_lifetime.and_then(|lifetime| connected.checked_add(lifetime)) }
    }

    pub(super) fn wall_time(&self) -> Option<SystemTime> {
        self.token.into_iter().chain(self.lifetime).map(|at| at.wall).min()
    }

    /// The time left, and how the session will end then. Zero once the deadline has passed; `None` if there is none.
    pub(super) fn time_left(&self, now: Timestamp) -> Option<(Duration, EndReason)> {
        let token = self.token.map(|at| (at.time_left(now), EndReason::TokenExpired));
        let lifetime = self.lifetime.map(|at| (at.time_left(now), EndReason::MaxLifetime));
        token.into_iter().chain(lifetime).min_by_key(|(left, _)| *left)
    }
}
