//! Store operations for the leases of several subjects, where the store may fail for some of them.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use super::with_timeout;
use crate::store::{SessionLease, StoreError};

/// How long the store has to respond.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of an operation for several subjects.
pub(super) struct Outcome<T> {
    pub(super) results: Vec<T>,
    /// The leases of the subjects that it succeeded for.
    pub(super) succeeded: Vec<SessionLease>,
    pub(super) failed: Vec<SessionLease>,
    /// The last error.
    pub(super) error: Option<StoreError>,
}

impl<T> Outcome<T> {
    pub(super) const fn empty() -> Self {
        Self { results: Vec::new(), succeeded: Vec::new(), failed: Vec::new(), error: None }
    }

    fn add(&mut self, leases: &[SessionLease], result: Result<T, StoreError>) {
        match result {
            Ok(result) => {
                self.results.push(result);
                self.succeeded.extend_from_slice(leases);
            }
            Err(error) => {
                self.failed.extend_from_slice(leases);
                self.error = Some(error);
            }
        }
    }
}

/// Calls the operation once for all leases. If that fails, calls it for each subject concurrently, which shows for
/// which of them it fails. The leases of one subject must be adjacent.
pub(super) async fn for_each_subject<'a, T, F>(
    leases: &'a [SessionLease],
    operation: impl Fn(&'a [SessionLease]) -> F,
) -> Outcome<T>
where
    F: Future<Output = Result<T, StoreError>> + Send + 'a,
    T: 'a,
{
    let mut outcome = Outcome::empty();
    let by_subject = || leases.chunk_by(|one, other| one.subject == other.subject);
    match with_timeout(TIMEOUT, operation(leases)).await {
        Err(_) if by_subject().nth(1).is_some() => {
            let results = join_all(by_subject().map(|leases| with_timeout(TIMEOUT, operation(leases)))).await;
            by_subject().zip(results).for_each(|(leases, result)| outcome.add(leases, result));
        }
        result => outcome.add(leases, result),
    }
    outcome
}

/// Waits for all of these futures, and returns their outputs in order.
pub(super) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    enum Each<F: Future> {
        Pending(Pin<Box<F>>),
        Ready(Option<F::Output>),
    }
    let mut each: Vec<Each<F>> = futures.map(|future| Each::Pending(Box::pin(future))).collect();
    poll_fn(|cx| {
        let mut all_ready = true;
        for one in &mut each {
            if let Each::Pending(future) = one {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *one = Each::Ready(Some(output)),
                    Poll::Pending => all_ready = false,
                }
            }
        }
        if all_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    each.into_iter().filter_map(|one| if let Each::Ready(output) = one { output } else { None }).collect()
}
