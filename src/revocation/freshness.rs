//! How old a node's copy of the store is.

use std::time::{Duration, SystemTime};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{telemetry, time::TimeSource};

pub(super) struct Freshness {
    /// When the node last knew everything in the store.
    synced: watch::Sender<Option<ClockReading>>,
    max_staleness: Duration,
    time: TimeSource,
}

/// A time on both clocks: the monotonic one may stand still while a machine sleeps.
#[derive(Clone, Copy)]
pub(super) struct ClockReading {
    monotonic: Instant,
    pub(super) wall: SystemTime,
}

impl Freshness {
    pub(super) fn new(max_staleness: Duration) -> Self {
        Self { synced: watch::Sender::new(None), max_staleness, time: TimeSource::default() }
    }

    pub(super) fn now(&self) -> ClockReading {
        ClockReading { monotonic: Instant::now(), wall: self.time.now() }
    }

    /// The node knows everything that was in the store at this time.
    pub(super) fn set_synced(&self, at: ClockReading) {
        self.synced.send_replace(Some(at));
        telemetry::revocations_synced(at.wall);
    }

    pub(super) fn age(&self) -> Option<Duration> {
        let now = self.now();
        self.synced.borrow().map(|synced| synced.age(&now))
    }

    /// Whether the copy is new enough to admit sessions.
    pub(super) fn is_current(&self) -> bool {
        self.is_recent(*self.synced.borrow())
    }

    pub(super) async fn wait_until_current(&self, limit: Duration) {
        let _ = timeout(limit, self.synced.subscribe().wait_for(|synced| self.is_recent(*synced))).await;
    }

    fn is_recent(&self, synced: Option<ClockReading>) -> bool {
        synced.is_some_and(|synced| synced.age(&self.now()) < self.max_staleness)
    }
}

impl ClockReading {
    fn age(&self, now: &Self) -> Duration {
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        wall.max(now.monotonic.saturating_duration_since(self.monotonic))
    }
}
