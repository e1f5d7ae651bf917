use std::{task::Context, time::Duration};

use tokio::time::Instant;

use crate::{
    session::{End, EndReason, KeepAlive, SessionCore},
    socket::shared::{Probe, Shared},
    time::from_now,
};

/// Pings the client, and ends the session if nothing arrives afterwards.
pub(super) struct Prober {
    keep_alive: KeepAlive,
    interval: Duration,
    phase: Phase,
    /// When the phase ends at the latest.
    until: Instant,
    /// When the next ping is due.
    next: Instant,
}

enum Phase {
    Resting,
    /// The client was sent a ping.
    Probing,
    /// The client has left. The handler has this long to receive what it sent before.
    Left,
}

/// The fraction of the interval after which a socket with messages in both directions is looked at again. The exact
/// time of a message is not known, because that would cost a reading of the clock each time.
const LOOK_AGAIN: u32 = 4;

/// The resolution of timers.
const SHORTEST: Duration = Duration::from_millis(1);

impl Prober {
    pub(super) fn new(keep_alive: KeepAlive, core: &SessionCore) -> Self {
        let interval = keep_alive.interval(core.id());
        let next = from_now(interval);
        Self { keep_alive, interval, phase: Phase::Resting, until: next, next }
    }

    pub(super) const fn alarm(&self) -> Instant {
        self.until
    }

    /// Does what is due.
    pub(super) fn ring(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        // Whatever held this up has held up reading too.
        if self.poll(shared, cx) || Instant::now() < self.until {
            return;
        }
        match self.phase {
            Phase::Resting => match shared.start_probe(cx) {
                Probe::Silent => {
                    self.next = from_now(self.interval);
                    self.enter(Phase::Probing, self.keep_alive.timeout());
                }
                Probe::Unneeded => self.enter(Phase::Resting, self.interval / LOOK_AGAIN),
                Probe::Left => self.leave(),
            },
            Phase::Probing if shared.is_taking_messages() => self.enter(Phase::Probing, self.keep_alive.timeout()),
            Phase::Probing => {
                shared.core().end(End { reason: EndReason::Unresponsive, code: None });
            }
            Phase::Left if shared.has_left() => {
                shared.core().end(End { reason: EndReason::Closed, code: None });
            }
            Phase::Left => self.rest(),
        }
    }

    /// Waits for an answer. Returns whether the alarm has changed.
    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        if !matches!(self.phase, Phase::Probing) {
            return false;
        }
        match shared.poll_probe(cx) {
            Probe::Silent => return false,
            Probe::Unneeded => self.rest(),
            Probe::Left => self.leave(),
        }
        true
    }

    const fn rest(&mut self) {
        self.phase = Phase::Resting;
        self.until = self.next;
    }

    fn leave(&mut self) {
        self.next = from_now(self.interval);
        self.enter(Phase::Left, self.keep_alive.timeout());
    }

    fn enter(&mut self, phase: Phase, time: Duration) {
        self.phase = phase;
        self.until = from_now(time.max(SHORTEST));
    }
}
