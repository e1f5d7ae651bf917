use std::time::{Duration, SystemTime};

use axum::extract::ws::Message;
use tokio::time::Instant;

use crate::{session::SessionCore, socket::refresh_protocol::Asking, time::from_now};

/// Asks the client for its next token before the session ends, once for each deadline.
pub(super) struct Asker {
    asking: Asking,
    /// The version of the session for which the alarm is set.
    version: Option<u32>,
    alarm: Option<Instant>,
    /// The deadline for which the client was asked.
    asked: Option<SystemTime>,
}

/// The longest time between two looks at the wall clock, which may be set.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(60);

impl Asker {
    pub(super) const fn new(asking: Asking) -> Self {
        Self { asking, version: None, alarm: None, asked: None }
    }

    pub(super) const fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    /// Has the next call of [`next`](Self::next) look at the clock.
    pub(super) const fn ring(&mut self) {
        self.version = None;
        self.alarm = None;
    }

    /// The message that is due, if one is.
    pub(super) fn next(&mut self, core: &SessionCore) -> Option<Message> {
        let version = core.version();
        if self.version == Some(version) {
            return None;
        }
        self.ring();
        self.version = Some(version);
        let (expires_at, left) = core.expiry().filter(|(expires_at, _)| self.asked != Some(*expires_at))?;
        let early = left.saturating_sub(self.asking.before);
        if !early.is_zero() {
            self.alarm = Some(from_now(early.min(WALL_CLOCK_INTERVAL)));
            return None;
        }
        self.asked = Some(expires_at);
        Some((self.asking.message)(left))
    }
}
