//! The task that keeps up what is leased. A store that fails for some subjects does not keep it from that for others.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    ops::RangeFrom,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::{Sharing, in_time};
use crate::{
    id::SessionId,
    lock::lock,
    session::Registry,
    store::{SessionLease, StoreError},
    telemetry,
    time::from_now,
};

/// After a failure it is tried again in so long, and in twice the time after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many leases are spoken of at a time.
const BATCH: usize = 256;
/// How long that may take.
const ANSWER: Duration = Duration::from_secs(5);
/// After so many leases in a row that were not renewed, none will be for now.
const IN_VAIN: usize = 512;

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
            telemetry::limit_store_unavailable(&error.cause);
            lock(&sharing.released).forget_older_than(sharing.lifetime);
            if error.is_of_all {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                // The store may have lost what it had, and has not heard of what was admitted meanwhile.
                renewal = Instant::now();
            }
        }
    }
}

/// What the store did not do.
struct Failure {
    cause: StoreError,
    /// It did nothing; otherwise others were answered, and the next renewal is in time for these.
    is_of_all: bool,
}

/// What came of something that was to be done for several subjects.
struct Done<T> {
    answers: Vec<T>,
    /// The leases of those subjects for which it was done.
    done: Vec<SessionLease>,
    failed: Vec<SessionLease>,
    cause: Option<StoreError>,
}

impl<T> Done<T> {
    fn nothing() -> Self {
        Self { answers: Vec::new(), done: Vec::new(), failed: Vec::new(), cause: None }
    }
}

/// Does something for all, or else for each subject alone, all at once: so the one that fails is told from the others.
async fn for_each_subject<'a, T, F>(leases: &'a [SessionLease], operation: impl Fn(&'a [SessionLease]) -> F) -> Done<T>
where
    F: Future<Output = Result<T, StoreError>> + Send + 'a,
    T: 'a,
{
    let mut outcome = Done::nothing();
    let one_by_one = || leases.chunk_by(|one, other| one.subject == other.subject);
    match in_time(ANSWER, operation(leases)).await {
        Ok(answer) => {
            outcome.answers.push(answer);
            outcome.done = leases.to_vec();
        }
        Err(error) if one_by_one().nth(1).is_none() => {
            outcome.failed = leases.to_vec();
            outcome.cause = Some(error);
        }
        Err(_) => {
            let answers = all(one_by_one().map(|leases| in_time(ANSWER, operation(leases)))).await;
            for (leases, answer) in one_by_one().zip(answers) {
                match answer {
                    Ok(answer) => {
                        outcome.answers.push(answer);
                        outcome.done.extend_from_slice(leases);
                    }
                    Err(error) => {
                        outcome.failed.extend_from_slice(leases);
                        outcome.cause = Some(error);
                    }
                }
            }
        }
    }
    outcome
}

/// Waits for all of them.
pub(super) async fn all<T, F: Future<Output = T>>(operations: impl Iterator<Item = F>) -> Vec<T> {
    enum Each<F: Future> {
        Running(Pin<Box<F>>),
        Over(Option<F::Output>),
    }
    let mut each: Vec<Each<F>> = operations.map(|operation| Each::Running(Box::pin(operation))).collect();
    poll_fn(|cx| {
        let mut is_over = true;
        for one in &mut each {
            if let Each::Running(operation) = one {
                match operation.as_mut().poll(cx) {
                    Poll::Ready(output) => *one = Each::Over(Some(output)),
                    Poll::Pending => is_over = false,
                }
            }
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    each.into_iter().filter_map(|one| if let Each::Over(output) = one { output } else { None }).collect()
}

async fn renew(sharing: &Sharing, registry: &Weak<Registry>) -> Result<(), Failure> {
    let until = from_now(sharing.lifetime / 3);
    let (mut cause, mut in_vain, mut is_any_done) = (None, 0, false);
    let mut parts = 0..;
    loop {
        let (leases, is_last) = some_leases(registry, &mut parts);
        for leases in leases.chunks(BATCH) {
            let renewed = for_each_subject(leases, |leases| sharing.store.renew_boxed(leases, sharing.lifetime)).await;
            if !renewed.done.is_empty() {
                sharing.health.works();
                (is_any_done, in_vain) = (true, 0);
            }
            in_vain += renewed.failed.len();
            for evicted in &renewed.answers {
                end(registry, evicted);
            }
            cause = renewed.cause.or(cause);
            // Others may be kept elsewhere, but not all of so many.
            if let Some(cause) = cause.take_if(|_| in_vain >= IN_VAIN || Instant::now() >= until) {
                return Err(Failure { cause, is_of_all: true });
            }
        }
        // Of these some may have ended meanwhile.
        match release(sharing).await {
            Err(failure) if failure.is_of_all && !is_any_done => return Err(failure),
            Err(failure) => cause = Some(failure.cause),
            Ok(()) => {}
        }
        if is_last {
            return cause.map_or(Ok(()), |cause| Err(Failure { cause, is_of_all: !is_any_done }));
        }
    }
}

/// The leases of the next parts, enough for a call to the store: most parts have few, and each call is followed by a release.
/// And whether there are no more parts.
fn some_leases(registry: &Weak<Registry>, parts: &mut RangeFrom<usize>) -> (Vec<SessionLease>, bool) {
    let mut leases = Vec::new();
    // Not held while waiting: the registry ends with its last owner, and this with it.
    let Some(registry) = registry.upgrade() else { return (leases, true) };
    while leases.len() < BATCH {
        match parts.next().and_then(|part| registry.shared(part)) {
            Some(more) => leases.extend(more),
            None => return (leases, true),
        }
    }
    (leases, false)
}

/// Releases some of what is over, and has itself called again for the rest. What fails is left to the next renewal.
async fn release(sharing: &Sharing) -> Result<(), Failure> {
    let leases = lock(&sharing.released).some(BATCH);
    let mut released = Done::nothing();
    if !leases.is_empty() {
        released = for_each_subject(&leases, |leases| sharing.store.release_boxed(leases)).await;
        if !released.done.is_empty() {
            sharing.health.works();
        }
    }
    let mut over = lock(&sharing.released);
    over.settle(&released.done);
    over.defer(&released.failed, Instant::now() + LONGEST_PAUSE);
    if over.is_empty() {
        sharing.settled.notify_waiters();
    } else if over.is_any_due() {
        sharing.queued.notify_one();
    }
    match released.cause {
        Some(cause) => Err(Failure { cause, is_of_all: released.done.is_empty() }),
        None => Ok(()),
    }
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
            other => {
                if let (Err(error), FIRST_PAUSE) = (other, pause) {
                    telemetry::evictions_not_received(&error);
                }
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
