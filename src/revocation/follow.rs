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

use super::{node::Node, restore::restore};
use crate::{
    store::{Cursor, RevocationBatch, StoreError, StoreErrorKind},
    telemetry,
};

/// The delay after a failure; doubled after each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// After this many failures, the whole store is loaded again.
const MAX_FAILURES: u32 = 5;
/// How long a store may be silent: twice its heartbeat.
pub(super) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest timeout, for large amounts of data. A load has [`HEARTBEAT_TIMEOUT`] first and twice as long after each
/// failure, because a store that hangs looks the same as one that is slow.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// The task is polled at least this often.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Loads the store and applies what it adds, until the future is dropped.
pub(super) async fn follow(node: Arc<Node>) -> Infallible {
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut following = pin!(follow_store(&node));
    poll_fn(|cx| {
        node.note_polled();
        while ticks.poll_tick(cx).is_ready() {}
        following.as_mut().poll(cx)
    })
    .await
}

async fn follow_store(node: &Arc<Node>) -> Infallible {
    let mut backoff = MIN_BACKOFF;
    let mut failures = 0;
    let mut load_timeout = HEARTBEAT_TIMEOUT;
    let mut cursor = None;
    // Runs in a task of its own, because this one must not wait for it.
    let mut restoring = JoinSet::new();
    loop {
        let outcome = match cursor.clone() {
            None => {
                let outcome = load(node, load_timeout).await;
                load_timeout = if outcome.is_ok() { HEARTBEAT_TIMEOUT } else { (load_timeout * 2).min(MAX_TIMEOUT) };
                outcome
            }
            Some(cursor) => next(node, cursor).await,
        };
        match outcome {
            Ok(next) => {
                // Not after a load: a store that can be loaded but not followed would be loaded without pause.
                if cursor.is_some() {
                    (backoff, failures) = (MIN_BACKOFF, 0);
                }
                cursor = Some(next);
            }
            Err(error) => {
                failures += 1;
                if error.kind() == StoreErrorKind::Lost {
                    telemetry::revocations_lost(&error);
                    cursor = None;
                } else {
                    telemetry::revocation_store_unavailable(&error);
                    cursor = cursor.filter(|_| failures < MAX_FAILURES);
                }
                sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
        while restoring.try_join_next().is_some() {}
        if cursor.is_some() && node.sync.needs_restore() && restoring.is_empty() {
            restoring.spawn(restore(Arc::clone(node)));
        }
    }
}

/// Loads the whole store, and applies it.
async fn load(node: &Node, limit: Duration) -> Result<Cursor, StoreError> {
    // The answer is as old as the request.
    let requested = node.freshness.now();
    let load = node.sync.begin_load();
    let RevocationBatch { cursor, revocations, is_incomplete } = in_time(limit, node.store.load_boxed()).await?;
    node.apply(revocations, load).await;
    node.sync.finish_load(load);
    if is_incomplete && node.freshness.age().is_none() {
        telemetry::revocations_incomplete();
    } else {
        node.freshness.set_synced(requested);
    }
    Ok(cursor)
}

/// Waits for what comes after the cursor, and applies it.
async fn next(node: &Node, cursor: Cursor) -> Result<Cursor, StoreError> {
    let requested = node.freshness.now();
    let confirmed = node.sync.confirmed_count();
    let RevocationBatch { cursor, revocations, is_incomplete } =
        in_time(HEARTBEAT_TIMEOUT, node.store.next_boxed(cursor)).await?;
    node.apply(revocations, node.sync.last_load()).await;
    // Whatever was confirmed before this request has been returned by now, unless the store has lost it without an
    // error.
    if !node.check_confirmed(confirmed) {
        telemetry::revocations_lost(&StoreError::lost());
        node.sync.request_restore();
    }
    // A node that was up to date once receives what is missing like any other revocation.
    if !(is_incomplete && node.freshness.age().is_none()) {
        node.freshness.set_synced(requested);
    }
    Ok(cursor)
}

async fn in_time<T>(limit: Duration, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(limit, operation).await.unwrap_or_else(|_| Err(StoreError::unavailable()))
}
