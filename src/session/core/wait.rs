//! Waits for the end of a session, for the time before it, or for a refresh.

use std::{pin::pin, sync::atomic::Ordering, time::Duration};

use tokio::{task::coop::consume_budget, time::timeout};

use super::{SessionCore, Status, WALL_CLOCK_INTERVAL};
use crate::session::EndReason;

/// How many units of tokio's coop budget one wait consumes. A handler that waits in a loop for something that has
/// already happened must still yield, and it does more work between two waits than between two messages.
const COST: usize = 8;

impl SessionCore {
    pub(in crate::session) async fn ended(&self) -> EndReason {
        self.watched.store(true, Ordering::Release);
        yield_if_out_of_budget().await;
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.status(None).0 {
                Status::Ended(end) => return end.reason,
                Status::Active(None) => changed.await,
                Status::Active(Some(next)) => {
                    let _ = timeout(next, changed).await;
                }
            }
        }
    }

    /// Waits for a change after which this is true.
    pub(super) async fn wait_until(&self, is_true: impl Fn() -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_true() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until there were other than `seen` refreshes, and sets that.
    pub(in crate::session) async fn refreshed(&self, seen: &mut u32) -> Result<(), EndReason> {
        self.wait_for(|| {
            let refreshes = self.refresh_count();
            (refreshes != *seen).then(|| *seen = refreshes)
        })
        .await
    }

    /// Waits for a change after which there is a value, or for the end of the session.
    pub(super) async fn wait_for<T>(&self, mut value: impl FnMut() -> Option<T>) -> Result<T, EndReason> {
        self.watched.store(true, Ordering::Release);
        yield_if_out_of_budget().await;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(value) = value() {
                return Ok(value);
            }
            match self.status(None).0 {
                Status::Ended(end) => return Err(end.reason),
                Status::Active(None) => changed.await,
                Status::Active(Some(next)) => {
                    let _ = timeout(next, changed).await;
                }
            }
        }
    }

    pub(in crate::session) async fn expiring_in(&self, before: Duration) -> Duration {
        self.watched.store(true, Ordering::Release);
        yield_if_out_of_budget().await;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Status::Ended(_) = self.status(None).0 {
                return Duration::ZERO;
            }
            match self.time_left() {
                None => changed.await,
                Some(left) if left <= before => return left,
                Some(left) => {
                    let _ = timeout((left - before).min(WALL_CLOCK_INTERVAL), changed).await;
                }
            }
        }
    }
}

async fn yield_if_out_of_budget() {
    for _ in 0..COST {
        consume_budget().await;
    }
}
