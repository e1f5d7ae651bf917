//! The task that follows the store.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{node::Node, tell::tell};
use crate::{
    store::{Cursor, RevocationBatch, StoreError, StoreErrorKind},
    telemetry,
};

/// The pause after a failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often it is tried to follow from a position before all is loaded again.
const TRIES: u32 = 5;
/// For how long a store may say nothing: twice its heartbeat.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// How long it may take to read or write very much. To load all, a store is given more time after each attempt that took too
/// long, because one that hangs says no more than one that is slow.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// How often the task is polled at least.
const BEAT: Duration = Duration::from_secs(3);
/// A task that was not polled for so long is on a runtime that nobody drives.
pub(super) const UNDRIVEN: Duration = Duration::from_secs(12);

/// Loads what there is and applies what comes, until it is dropped.
pub(super) async fn follow(node: Arc<Node>) -> Infallible {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut following = pin!(follow_store(&node));
    poll_fn(|cx| {
        node.beat();
        while beats.poll_tick(cx).is_ready() {}
        following.as_mut().poll(cx)
    })
    .await
}

async fn follow_store(node: &Arc<Node>) -> Infallible {
    let mut pause = FIRST_PAUSE;
    let mut failures = 0;
    let mut patience = SILENCE;
    let mut cursor = None;
    // Not in this task, which must not wait for it.
    let mut telling = JoinSet::new();
    loop {
        let outcome = match cursor.clone() {
            None => {
                let outcome = load(node, patience).await;
                patience = if outcome.is_ok() { SILENCE } else { (patience * 2).min(LONGEST) };
                outcome
            }
            Some(cursor) => next(node, cursor).await,
        };
        match outcome {
            Ok(behind) => {
                // A store that can be loaded and not followed would be loaded all the time.
                if cursor.is_some() {
                    (pause, failures) = (FIRST_PAUSE, 0);
                }
                cursor = Some(behind);
            }
            Err(error) => {
                failures += 1;
                if error.kind() == StoreErrorKind::Lost {
                    telemetry::revocations_lost(&error);
                    cursor = None;
                } else {
                    telemetry::revocation_store_unavailable(&error);
                    cursor = cursor.filter(|_| failures < TRIES);
                }
                // Nothing that is known is forgotten.
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        while telling.try_join_next().is_some() {}
        if cursor.is_some() && node.has_untold() && telling.is_empty() {
            telling.spawn(tell(Arc::clone(node)));
        }
    }
}

/// Reads all that there is, and applies it.
async fn load(node: &Node, patience: Duration) -> Result<Cursor, StoreError> {
    // What is known then is what there was when it was asked for, not when the answer came.
    let asked = node.now();
    let load = node.begin_load();
    let RevocationBatch { cursor, revocations, is_incomplete } = in_time(patience, node.store.load_boxed()).await?;
    node.apply(revocations, load).await;
    node.finish_load(load);
    if is_incomplete && node.age().is_none() {
        telemetry::revocations_incomplete();
    } else {
        node.confirm(asked);
    }
    Ok(cursor)
}

/// Reads what there is after the position, and applies it.
async fn next(node: &Node, cursor: Cursor) -> Result<Cursor, StoreError> {
    let asked = node.now();
    let confirmed = node.confirmed();
    let RevocationBatch { cursor, revocations, is_incomplete } =
        in_time(SILENCE, node.store.next_boxed(cursor)).await?;
    node.apply(revocations, node.load()).await;
    // What was confirmed before the store was asked is in the answer, unless it was lost with nobody noticing.
    if !node.check_confirmed(confirmed) {
        telemetry::revocations_lost(&StoreError::lost());
        node.note_untold();
    }
    // Whoever has known all before is told of what is missing like everybody else.
    if !(is_incomplete && node.age().is_none()) {
        node.confirm(asked);
    }
    Ok(cursor)
}

async fn in_time<T>(limit: Duration, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(limit, operation).await.unwrap_or_else(|_| Err(StoreError::unavailable()))
}
