//! Cooperative scheduling for the operations of one socket.
//!
//! Buffered messages can be received, and small messages queued, without waiting. A handler that does so in a loop
//! would never yield: neither to the supervisor, which shares its task, nor to other tasks on its thread. So operations
//! consume tokio's [budget](tokio::task::coop) of 128 units. An operation that reads the clock takes one unit, and one
//! more for every 25 µs since the clock was last read in this turn of the task. A turn then ends after 3.2 ms of work.
//!
//! Reading the clock costs as much as decoding a small message, so most operations in a quick succession skip it: two
//! of three. More would save little, and as many messages that suddenly take long would be handled after the deadline.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll},
    time::Instant,
};

use tokio::task::coop;

use crate::session::SessionCore;

/// The work that costs one unit, in microseconds.
const MICROS_PER_UNIT: u32 = 25;
/// The most units that one operation takes: the whole budget of a task.
const MAX_UNITS: u32 = 128;
/// How many operations skip the clock after a reading that found at most this many units of work. If these turn out to
/// be slow, the turn is longer by so much, and so is the time until the deadline is noticed.
const UNTIMED: u32 = 2;
/// How many microseconds pass between checks of the deadline. Operations check it, because a busy task may not poll the
/// supervisor in time.
const DEADLINE_CHECK_INTERVAL: u32 = 2_000;

/// Times are in microseconds since the socket was opened, by the real clock, because tokio's may be paused. They wrap
/// around after 71 minutes.
pub(super) struct Budget {
    opened: Instant,
    deadline_checked: AtomicU32,
    reading: Timer,
    writing: Timer,
}

#[derive(Clone, Copy)]
pub(super) enum Direction {
    Reading,
    Writing,
}

/// Times the operations in one direction. Each direction may belong to a task of its own.
struct Timer {
    /// When the clock was last read in this turn of the task.
    last: AtomicU32,
    /// How many more operations skip the clock.
    untimed: AtomicU32,
}

/// The clock was not read in this turn of the task. The time since the last reading is not all work.
const EARLIER_TURN: u32 = 0;

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            deadline_checked: AtomicU32::new(0),
            reading: Timer::new(),
            writing: Timer::new(),
        }
    }

    /// Begins a new turn of the supervisor's task. In other tasks, an operation that was pending begins a new turn.
    pub(super) fn new_turn(&self) {
        self.reading.new_turn();
        self.writing.new_turn();
    }

    /// Runs an operation if budget is left, and tells it whether the session has ended. An operation that is pending
    /// consumes nothing.
    pub(super) fn poll<T>(
        &self,
        direction: Direction,
        core: &SessionCore,
        cx: &mut Context<'_>,
        operation: impl FnOnce(bool, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let timer = match direction {
            Direction::Reading => &self.reading,
            Direction::Writing => &self.writing,
        };
        let mut now = None;
        if timer.is_due() {
            if !coop::has_budget_remaining() && coop::poll_proceed(cx).is_pending() {
                timer.new_turn();
                return Poll::Pending;
            }
            now = Some(self.now());
        }
        let polled = operation(self.has_ended_at(now, core), cx);
        if polled.is_pending() {
            timer.new_turn();
        } else if let Some(now) = now {
            consume(1 + timer.work(now), cx);
        }
        polled
    }

    /// Whether the session has ended, for operations that cannot be pending.
    pub(super) fn has_ended(&self, core: &SessionCore) -> bool {
        let now = self.writing.is_due().then(|| self.now());
        self.has_ended_at(now, core)
    }

    /// Sees an order at once, and a deadline when the clock is read.
    fn has_ended_at(&self, now: Option<u32>, core: &SessionCore) -> bool {
        if core.has_ended() {
            return true;
        }
        let Some(now) = now else { return false };
        if now.wrapping_sub(self.deadline_checked.load(Ordering::Relaxed)) < DEADLINE_CHECK_INTERVAL {
            return false;
        }
        self.deadline_checked.store(now, Ordering::Relaxed);
        core.end_reason().is_some()
    }

    #[allow(clippy::cast_possible_truncation, reason = "it may wrap around")]
    fn now(&self) -> u32 {
        let now = self.opened.elapsed().as_micros() as u32;
        if now == EARLIER_TURN { EARLIER_TURN + 1 } else { now }
    }
}

impl Timer {
    const fn new() -> Self {
        Self { last: AtomicU32::new(EARLIER_TURN), untimed: AtomicU32::new(0) }
    }

    fn new_turn(&self) {
        self.last.store(EARLIER_TURN, Ordering::Relaxed);
        self.untimed.store(0, Ordering::Relaxed);
    }

    /// Counts an operation. Returns whether it reads the clock.
    fn is_due(&self) -> bool {
        let untimed = self.untimed.load(Ordering::Relaxed);
        if untimed > 0 {
            self.untimed.store(untimed - 1, Ordering::Relaxed);
        }
        untimed == 0
    }

    /// Units of work since the last reading of the clock.
    fn work(&self, now: u32) -> u32 {
        let last = self.last.swap(now, Ordering::Relaxed);
        if last == EARLIER_TURN {
            return 0;
        }
        let work = now.wrapping_sub(last) / MICROS_PER_UNIT;
        if work <= UNTIMED {
            self.untimed.store(UNTIMED, Ordering::Relaxed);
        }
        work
    }
}

fn consume(units: u32, cx: &mut Context<'_>) {
    for _ in 0..units.min(MAX_UNITS) {
        // `poll_proceed` without budget would wake the task for nothing.
        if !coop::has_budget_remaining() {
            return;
        }
        if let Poll::Ready(unit) = coop::poll_proceed(cx) {
            unit.made_progress();
        }
    }
}
