use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::Instant;

use crate::time::from_now;

/// Keeps a silent event stream open by comments, which clients ignore.
pub(super) struct Comments {
    interval: Duration,
    /// `None` as long as the stream has more to send.
    silent_since: Option<Instant>,
    /// When to look at it next.
    alarm: Instant,
}

impl Comments {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, silent_since: Some(Instant::now()), alarm: from_now(interval) }
    }

    pub(super) const fn alarm(&self) -> Instant {
        self.alarm
    }

    /// The stream has sent something. The clock is not read before it waits again.
    pub(super) const fn on_sent(&mut self) {
        self.silent_since = None;
    }

    pub(super) fn on_waiting(&mut self) {
        self.silent_since.get_or_insert_with(Instant::now);
    }

    /// Whether a comment is due now that the alarm has rung. Sets the next one.
    pub(super) fn ring(&mut self) -> bool {
        let due = self.silent_since.and_then(|since| since.checked_add(self.interval));
        let is_due = due.is_some_and(|due| due <= Instant::now());
        self.alarm = due.filter(|_| !is_due).unwrap_or_else(|| from_now(self.interval));
        is_due
    }
}

pub(super) fn comment() -> Frame<Bytes> {
    Frame::data(Bytes::from_static(b":\n\n"))
}
