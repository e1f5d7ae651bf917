//! Restores what the store has lost, and adds what it never confirmed.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    follow::MAX_TIMEOUT,
    node::{Node, TimeSlice},
    set::SHARDS,
};
use crate::{
    store::{Revocation, StoreError},
    telemetry,
};

/// How many revocations are sent at once.
const BATCH: usize = 500;
/// The delay after a pass in which something was not confirmed; doubled after each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Sends everything that the store lacks, until the store has confirmed it.
pub(super) async fn restore(node: Arc<Node>) {
    let mut backoff = MIN_BACKOFF;
    loop {
        node.sync.begin_restore();
        let mut pass = Pass { node: &node, confirmed: 0, lost: 0, error: None };
        pass.run().await;
        if pass.confirmed > 0 {
            telemetry::revocations_restored(pass.confirmed, pass.lost);
        }
        if let Some(error) = &pass.error {
            telemetry::revocation_not_confirmed(error);
            sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        } else if !node.sync.needs_restore() {
            return;
        }
    }
}

/// One pass over all revocations of the node.
struct Pass<'a> {
    node: &'a Node,
    confirmed: usize,
    /// How many of them the store had before.
    lost: usize,
    /// Why the store did not confirm a revocation.
    error: Option<StoreError>,
}

impl Pass<'_> {
    async fn run(&mut self) {
        let load = self.node.sync.last_load();
        let mut pending = Vec::new();
        let mut slice = TimeSlice::begin();
        for shard in 0..SHARDS {
            let missing = self.node.read().missing_since(shard, load);
            self.lost += missing.iter().filter(|missing| missing.was_seen).count();
            pending.extend(missing.into_iter().map(|missing| (missing.revocation, missing.keep_for)));
            // One batch is held back, because the last one is marked.
            while pending.len() > BATCH {
                let rest = pending.split_off(BATCH);
                let batch = std::mem::replace(&mut pending, rest);
                if !self.send(&batch, true).await {
                    return;
                }
            }
            if slice.is_over() {
                yield_now().await;
                slice = TimeSlice::begin();
            }
        }
        if !pending.is_empty() {
            self.send(&pending, false).await;
        }
    }

    /// Returns whether the store is available: one that is may refuse some revocations, but not a whole batch.
    async fn send(&mut self, batch: &[(Revocation, Duration)], more: bool) -> bool {
        let load = self.node.sync.last_load();
        let Ok(outcomes) = timeout(MAX_TIMEOUT, self.node.store.add_many_boxed(batch, more)).await else {
            self.error = Some(StoreError::unavailable());
            return false;
        };
        let before = self.confirmed;
        // A missing outcome is a failure.
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(|| Err(StoreError::unavailable())));
        for ((revocation, keep_for), outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    self.node.mark_seen(revocation, *keep_for, load);
                    self.confirmed += 1;
                }
                Err(error) => self.error = Some(error),
            }
        }
        self.confirmed > before || batch.len() < BATCH
    }
}
