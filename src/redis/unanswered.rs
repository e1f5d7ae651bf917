//! Commands that were given up on. The server may still run one when it reads it, and by then it may have run a command
//! that was sent later, on another connection.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    lock::{Mutex, lock},
    time::from_now,
};

/// Whether a command that takes or renews leases may still run.
#[derive(Clone, Default)]
pub(super) struct Unanswered(Arc<Mutex<Option<Mark>>>);

struct Mark {
    /// How long the leases last.
    lifetime: Duration,
    until: Instant,
}

impl Unanswered {
    /// A command that takes or renews leases was not answered.
    pub(super) fn note(&self, lifetime: Duration) {
        // What it puts there so late expires as early as any lease.
        *lock(&self.0) = Some(Mark { lifetime, until: from_now(lifetime) });
    }

    /// How long a lease that is released now must be remembered, so that such a command does not put it back.
    pub(super) fn remember_for(&self) -> Option<Duration> {
        let mut mark = lock(&self.0);
        mark.take_if(|mark| mark.until <= Instant::now());
        mark.as_ref().map(|mark| mark.lifetime)
    }
}
