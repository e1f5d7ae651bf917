//! What can be waited for in the life of a session.

use std::{pin::pin, time::Duration};

use tokio::time::timeout;

use super::{
    EndReason,
    life::{Life, Sight, WALL_CLOCK_READ},
};

impl Life {
    pub(super) async fn ended(&self) -> EndReason {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.look(None).0 {
                Sight::Ended(end) => return end.reason,
                Sight::Alive(None) => changed.await,
                Sight::Alive(Some(next)) => {
                    let _ = timeout(next, changed).await;
                }
            }
        }
    }

    pub(super) async fn expiring_in(&self, before: Duration) -> Duration {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Sight::Ended(_) = self.look(None).0 {
                return Duration::ZERO;
            }
            match self.left() {
                None => changed.await,
                Some(left) if left <= before => return left,
                Some(left) => {
                    let _ = timeout((left - before).min(WALL_CLOCK_READ), changed).await;
                }
            }
        }
    }
}
