//! The task that keeps up what is leased.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::{Sharing, in_time};
use crate::{
    SessionId, StoreError,
    lock::lock,
    session::{Registry, from_now},
    telemetry,
};

/// After a failure it is tried again in so long, and in twice the time after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many leases are spoken of at a time.
const BATCH: usize = 256;
/// How long that may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Renews, releases and listens, until it is dropped.
pub(super) async fn keep_up(sharing: Arc<Sharing>, registry: Weak<Registry>) -> Infallible {
    let mut telling = pin!(tell(&sharing, &registry));
    let mut listening = pin!(listen(&sharing, &registry));
    poll_fn(|cx| {
        let _ = telling.as_mut().poll(cx);
        let _ = listening.as_mut().poll(cx);
        Poll::Pending
    })
    .await
}

/// Renews and releases in turns: a release that a renewal overtakes would be undone by it.
async fn tell(sharing: &Sharing, registry: &Weak<Registry>) -> Infallible {
    let every = sharing.lifetime / 3;
    let mut renewal = from_now(every);
    let mut pause = FIRST_PAUSE;
    loop {
        // Looked at first: something to be released may be there at any time.
        let is_due = Instant::now() >= renewal;
        let told = if is_due || timeout_at(renewal, sharing.queued.notified()).await.is_err() {
            renewal = from_now(every);
            renew(sharing, registry).await.inspect(|()| pause = FIRST_PAUSE)
        } else {
            release(sharing).await
        };
        if let Err(error) = told {
            telemetry::limits_not_shared(&error);
            lock(&sharing.released).forget_older_than(sharing.lifetime);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // The store may have lost what it had, and has not heard of what was admitted meanwhile.
            renewal = Instant::now();
        }
    }
}

async fn renew(sharing: &Sharing, registry: &Weak<Registry>) -> Result<(), StoreError> {
    let until = from_now(sharing.lifetime / 3);
    let mut outcome = Ok(());
    for part in 0.. {
        // Not held while waiting: the registry ends with its last owner, and this with it.
        let Some(leases) = registry.upgrade().and_then(|registry| registry.shared(part)) else { break };
        for leases in leases.chunks(BATCH) {
            match in_time(ANSWER, sharing.store.renew_boxed(leases, sharing.lifetime)).await {
                Ok(evicted) => {
                    sharing.has_answered();
                    end(registry, &evicted);
                }
                // Others may be kept elsewhere.
                Err(error) if Instant::now() < until => outcome = Err(error),
                Err(error) => return Err(error),
            }
        }
        // Of these some may have ended meanwhile.
        if outcome.is_ok() {
            outcome = release(sharing).await;
        }
    }
    outcome
}

/// Releases some of what is over, and has itself called again for the rest.
async fn release(sharing: &Sharing) -> Result<(), StoreError> {
    let leases = lock(&sharing.released).some(BATCH);
    if !leases.is_empty() {
        in_time(ANSWER, sharing.store.release_boxed(&leases)).await?;
        sharing.has_answered();
    }
    let mut released = lock(&sharing.released);
    released.settle(&leases);
    if released.is_empty() {
        sharing.settled.notify_waiters();
    } else {
        sharing.queued.notify_one();
    }
    Ok(())
}

/// Ends what other nodes have evicted, as soon as the store tells of it.
async fn listen(sharing: &Sharing, registry: &Weak<Registry>) -> Infallible {
    let mut pause = FIRST_PAUSE;
    loop {
        match sharing.store.evicted_boxed().await {
            Ok(evicted) if !evicted.is_empty() => {
                end(registry, &evicted);
                pause = FIRST_PAUSE;
            }
            // The renewals tell of it too.
            Ok(_) | Err(_) => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn end(registry: &Weak<Registry>, evicted: &[SessionId]) {
    if let Some(registry) = registry.upgrade() {
        registry.evict(evicted);
    }
}
