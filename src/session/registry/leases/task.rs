//! The task that renews and releases leases, and listens for evictions. If the store fails for some subjects, it still
//! serves the others.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    ops::RangeFrom,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    SharedLimits,
    per_subject::{Outcome, for_each_subject},
};
use crate::{
    id::SessionId,
    lock::lock,
    session::Registry,
    store::{SessionLease, StoreError},
    telemetry,
    time::from_now,
};

/// The first pause after a failure. It doubles with each further failure.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How many leases an operation is called for.
const BATCH: usize = 256;
/// A renewal gives up after so many leases in a row that it could not renew.
const MAX_FAILURES: usize = 512;

/// What the store failed to do.
struct Failure {
    cause: StoreError,
    /// It did nothing for any subject. Otherwise the next renewal comes in time for the subjects that it failed for.
    is_total: bool,
}

/// Runs until it is dropped.
pub(super) async fn run(limits: Arc<SharedLimits>, registry: Weak<Registry>) -> Infallible {
    let mut maintain = pin!(maintain(&limits, &registry));
    let mut listen = pin!(listen(&limits, &registry));
    poll_fn(|cx| {
        let _ = maintain.as_mut().poll(cx);
        let _ = listen.as_mut().poll(cx);
        Poll::Pending
    })
    .await
}

/// Renews and releases, never at the same time: a renewal that overtakes a release would undo it.
async fn maintain(limits: &SharedLimits, registry: &Weak<Registry>) -> Infallible {
    let interval = limits.lease_lifetime / 3;
    let mut next_renewal = from_now(interval);
    let mut backoff = MIN_BACKOFF;
    loop {
        // Check the time first: there may always be something to release.
        let is_due = Instant::now() >= next_renewal;
        let result = if is_due || timeout_at(next_renewal, limits.release_queued.notified()).await.is_err() {
            next_renewal = from_now(interval);
            renew(limits, registry).await.inspect(|()| backoff = MIN_BACKOFF)
        } else {
            release(limits).await
        };
        if let Err(failure) = result {
            telemetry::limit_store_unavailable(&failure.cause);
            lock(&limits.release_queue).remove_older_than(limits.lease_lifetime);
            if failure.is_total {
                sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
                // The store may have lost its data, and does not have the leases of sessions admitted in the meantime.
                next_renewal = Instant::now();
            }
        }
    }
}

async fn renew(limits: &SharedLimits, registry: &Weak<Registry>) -> Result<(), Failure> {
    let deadline = from_now(limits.lease_lifetime / 3);
    let (mut error, mut failures, mut is_any_renewed) = (None, 0, false);
    let mut shards = 0..;
    loop {
        let (leases, is_last) = next_leases(registry, &mut shards);
        for leases in leases.chunks(BATCH) {
            let renewed =
                for_each_subject(leases, |leases| limits.store.renew_boxed(leases, limits.lease_lifetime)).await;
            if !renewed.succeeded.is_empty() {
                limits.breaker.succeeded();
                (is_any_renewed, failures) = (true, 0);
            }
            failures += renewed.failed.len();
            for evicted in &renewed.results {
                evict(registry, evicted);
            }
            error = renewed.error.or(error);
            // The store may still be up for other subjects, but hardly after so many failures.
            if let Some(cause) = error.take_if(|_| failures >= MAX_FAILURES || Instant::now() >= deadline) {
                return Err(Failure { cause, is_total: true });
            }
        }
        // Some of these sessions may have ended in the meantime.
        match release(limits).await {
            Err(failure) if failure.is_total && !is_any_renewed => return Err(failure),
            Err(failure) => error = Some(failure.cause),
            Ok(()) => {}
        }
        if is_last {
            return error.map_or(Ok(()), |cause| Err(Failure { cause, is_total: !is_any_renewed }));
        }
    }
}

/// The leases of the next shards, and whether there are no more shards. Collects at least a batch, because most shards
/// have few leases, and a release follows each call of this.
fn next_leases(registry: &Weak<Registry>, shards: &mut RangeFrom<usize>) -> (Vec<SessionLease>, bool) {
    let mut leases = Vec::new();
    // Upgraded for this call only: the registry, and this task with it, ends with its last owner.
    let Some(registry) = registry.upgrade() else { return (leases, true) };
    while leases.len() < BATCH {
        match shards.next().and_then(|shard| registry.leases(shard)) {
            Some(more) => leases.extend(more),
            None => return (leases, true),
        }
    }
    (leases, false)
}

/// Releases a batch of the queue, and triggers the next one. What fails is released after the next renewal.
async fn release(limits: &SharedLimits) -> Result<(), Failure> {
    let leases = lock(&limits.release_queue).batch(BATCH);
    let mut released = Outcome::empty();
    if !leases.is_empty() {
        released = for_each_subject(&leases, |leases| limits.store.release_boxed(leases)).await;
        if !released.succeeded.is_empty() {
            limits.breaker.succeeded();
        }
    }
    let mut queue = lock(&limits.release_queue);
    queue.remove(&released.succeeded);
    queue.defer(&released.failed, Instant::now() + MAX_BACKOFF);
    if queue.is_empty() {
        limits.all_released.notify_waiters();
    } else if queue.is_any_due() {
        limits.release_queued.notify_one();
    }
    match released.error {
        Some(cause) => Err(Failure { cause, is_total: released.succeeded.is_empty() }),
        None => Ok(()),
    }
}

/// Ends sessions that other nodes have evicted, as soon as the store says so.
async fn listen(limits: &SharedLimits, registry: &Weak<Registry>) -> Infallible {
    let mut backoff = MIN_BACKOFF;
    loop {
        match limits.store.evicted_boxed().await {
            Ok(evicted) if !evicted.is_empty() => {
                evict(registry, &evicted);
                backoff = MIN_BACKOFF;
            }
            // No harm is done: renewals report evictions too.
            other => {
                if let (Err(error), MIN_BACKOFF) = (other, backoff) {
                    telemetry::evictions_not_received(&error);
                }
                sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }
}

fn evict(registry: &Weak<Registry>, evicted: &[SessionId]) {
    if let Some(registry) = registry.upgrade() {
        registry.evict(evicted);
    }
}
