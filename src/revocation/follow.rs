//! The task that follows the store.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{News, Node, Position};
use crate::{StoreError, telemetry};

/// After a failure it is tried again in so long, and in twice the time after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For how long a store may say nothing: twice its heartbeat.
const SILENCE: Duration = Duration::from_secs(10);

/// Loads what there is and applies what comes, until it is dropped.
pub(super) async fn follow(node: Arc<Node>) -> Infallible {
    let mut pause = FIRST_PAUSE;
    let mut position: Option<Position> = None;
    loop {
        // What is known then is what there was when it was asked for, not when the answer came.
        let asked = Instant::now();
        let answer = match position.clone() {
            None => timeout(SILENCE, node.store.load_boxed()).await,
            Some(position) => timeout(SILENCE, node.store.next_boxed(position)).await,
        };
        match answer.unwrap_or_else(|_| Err(StoreError::unavailable())) {
            Ok(News { position: behind, revocations }) => {
                for (order, keep_for) in revocations {
                    node.apply(&order, keep_for);
                }
                node.known.send_replace(Some(asked));
                position = Some(behind);
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                telemetry::revocations_not_read(&error);
                // Nothing that is known is forgotten by it.
                position = None;
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
