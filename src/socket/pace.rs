//! Keeps one socket from occupying its task, and the thread beneath, for as long as its client likes.
//!
//! Messages that are buffered already can be received without waiting, and small messages can be queued without waiting.
//! A handler that does either in a loop would never yield, and what shares its task (the supervisor) or its thread (other
//! clients) would not run. So every operation takes part in tokio's cooperative scheduling, and pays for the time that
//! the handler spent since the one before: a turn ends after 128 operations or a few milliseconds of work.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Instant,
};

use tokio::task::coop;

use crate::session::SessionCore;

/// How much work costs as much as one operation, of which tokio allows a task 128 before it has to yield: turns of 3.2 ms.
const WORK_PER_UNIT: u64 = 25;
const UNITS_OF_A_TURN: u64 = 128;
/// How often the deadline is checked by operations, so that it does not depend on the supervisor being polled. Often
/// enough to end a busy session in time, and seldom enough not to cost anything.
const DEADLINE_CHECK: u64 = 2_000;

/// All times are in microseconds since the socket was opened. They are of the real clock, because tokio's may be paused.
pub(super) struct Pace {
    opened: Instant,
    /// When the deadline was last checked.
    checked: AtomicU64,
    reading: AtomicU64,
    writing: AtomicU64,
}

#[derive(Clone, Copy)]
pub(super) enum Direction {
    Reading,
    Writing,
}

/// The last operation is in an earlier turn of the task, so the time since then is not all work.
const EARLIER_TURN: u64 = 0;

impl Pace {
    pub(super) fn new() -> Self {
        let [checked, reading, writing] = [0; 3].map(AtomicU64::new);
        Self { opened: Instant::now(), checked, reading, writing }
    }

    /// The task was polled anew. Only known of the supervisor's own task; operations elsewhere start a new turn when they
    /// have been pending.
    pub(super) fn new_turn(&self) {
        self.reading.store(EARLIER_TURN, Ordering::Relaxed);
        self.writing.store(EARLIER_TURN, Ordering::Relaxed);
    }

    /// Runs an operation if the task may go on, and is pending otherwise. The operation is told whether the session has
    /// ended.
    pub(super) fn poll<T>(
        &self,
        direction: Direction,
        core: &SessionCore,
        cx: &mut Context<'_>,
        operation: impl FnOnce(bool, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let last = match direction {
            Direction::Reading => &self.reading,
            Direction::Writing => &self.writing,
        };
        // Nothing is taken yet: an operation that turns out to be pending is free.
        if coop::poll_proceed(cx).is_pending() {
            last.store(EARLIER_TURN, Ordering::Relaxed);
            return Poll::Pending;
        }
        let now = self.now();
        let polled = operation(self.has_ended_at(now, core), cx);
        if polled.is_pending() {
            last.store(EARLIER_TURN, Ordering::Relaxed);
            return Poll::Pending;
        }
        let work = match last.swap(now, Ordering::Relaxed) {
            EARLIER_TURN => 0,
            last => now.saturating_sub(last),
        };
        for _ in 0..=(work / WORK_PER_UNIT).min(UNITS_OF_A_TURN) {
            // Asking for more than there is would wake the task for nothing.
            if coop::has_budget_remaining()
                && let Poll::Ready(unit) = coop::poll_proceed(cx)
            {
                unit.made_progress();
            }
        }
        polled
    }

    /// Whether the session has ended, for operations that cannot wait.
    pub(super) fn has_ended(&self, core: &SessionCore) -> bool {
        self.has_ended_at(self.now(), core)
    }

    /// An order is seen at once, and a deadline within [`DEADLINE_CHECK`].
    fn has_ended_at(&self, now: u64, core: &SessionCore) -> bool {
        if core.has_ended() {
            return true;
        }
        if now.saturating_sub(self.checked.load(Ordering::Relaxed)) < DEADLINE_CHECK {
            return false;
        }
        self.checked.store(now, Ordering::Relaxed);
        core.end_reason().is_some()
    }

    fn now(&self) -> u64 {
        // Never `EARLIER_TURN`.
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }
}
