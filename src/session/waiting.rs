//! What can be waited for in the life of a session.

use std::{pin::pin, sync::atomic::Ordering, time::Duration};

use tokio::{task::coop::consume_budget, time::timeout};

use super::{
    EndReason,
    core::{SessionCore, Status, WALL_CLOCK_READ},
};

/// How much of the task's budget a wait takes. What is waited for may be there already, and stay there: a handler that
/// waits for it in a loop must still yield, and it does more between two of these than between two messages.
const COST: usize = 8;

impl SessionCore {
    pub(super) async fn ended(&self) -> EndReason {
        self.watched.store(true, Ordering::Release);
        pay().await;
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

    pub(super) async fn expiring_in(&self, before: Duration) -> Duration {
        self.watched.store(true, Ordering::Release);
        pay().await;
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
                    let _ = timeout((left - before).min(WALL_CLOCK_READ), changed).await;
                }
            }
        }
    }
}

async fn pay() {
    for _ in 0..COST {
        consume_budget().await;
    }
}
