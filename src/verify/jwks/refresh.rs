//! The background task that refreshes the keys of a verifier.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Issuer, KeysError, KeysErrorKind,
    fetch::{FetchState, Fetched, Fetcher},
    issuer::Remote,
    set::KeyList,
};
use crate::{lock::lock, telemetry};

/// The backoff after the first failure. It doubles with each further failure, up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The limit on the issuer's `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Aborts the background task when dropped.
#[derive(Debug)]
pub(crate) struct RefreshTask(AbortHandle);

/// The refresh loop of one issuer.
pub(super) struct IssuerRefresh {
    pub(super) issuer: Arc<Issuer>,
    pub(super) remote: Arc<Remote>,
    pub(super) fetcher: Arc<Fetcher>,
    /// Counts the finished fetches.
    pub(super) finished: watch::Sender<u64>,
    pub(super) timing: Timing,
    /// A token has named the issuer.
    pub(super) is_of_rule: bool,
}

/// State kept across fetches.
#[derive(Default)]
struct RefreshState {
    fetch: FetchState,
    /// Failures since the last success.
    failures: u32,
    /// How many of them returned a set without a usable key.
    withdrawals: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) timeout: Duration,
    pub(super) cool_down: Duration,
    pub(super) max_stale: Duration,
}

impl RefreshTask {
    pub(super) fn spawn(runtime: &Handle, refreshes: Vec<IssuerRefresh>) -> Self {
        let mut loops: Vec<Pin<Box<dyn Future<Output = Infallible> + Send>>> =
            refreshes.into_iter().map(|refresh| Box::pin(refresh.run()) as _).collect();
        // Polling all is fine: there are few issuers, and each poll is cheap.
        let all = poll_fn(move |cx| {
            for refresh in &mut loops {
                let _ = refresh.as_mut().poll(cx);
            }
            Poll::<Infallible>::Pending
        });
        Self::run(runtime, all)
    }

    pub(super) fn run<T: Send + 'static>(runtime: &Handle, task: impl Future<Output = T> + Send + 'static) -> Self {
        Self(runtime.spawn(task).abort_handle())
    }
}

impl Drop for RefreshTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl IssuerRefresh {
    pub(super) async fn run(self) -> Infallible {
        let mut state = RefreshState::default();
        loop {
            self.refresh(&mut state).await;
            sleep_until_due(&self.remote).await;
        }
    }

    async fn refresh(&self, state: &mut RefreshState) {
        let was_requested = lock(&self.remote.schedule).begin();
        let outcome = self.fetch(state.fetch.clone()).await;
        let now = Instant::now();
        let outcome = outcome.and_then(|fetched| self.apply(fetched, state, now));
        // Emit the event before taking the lock: a subscriber may block.
        if let Err(error) = &outcome {
            telemetry::key_refresh_failed(self.issuer.name(), self.is_of_rule, error.kind().as_str(), error);
        }
        let cooled_down = was_requested.then_some(now + self.timing.cool_down);
        let mut schedule = lock(&self.remote.schedule);
        match outcome {
            Ok((discovery_error, next)) => {
                state.failures = 0;
                schedule.succeed(discovery_error);
                schedule.set_next(next, cooled_down);
            }
            Err(error) => {
                state.fetch.expire_metadata();
                // The first set without a usable key may be a mistake. Retry soon, however many fetches failed before.
                let is_first_withdrawal = error.kind() == KeysErrorKind::NoUsableKey && state.withdrawals == 1;
                let failures = if is_first_withdrawal { 0 } else { state.failures };
                let next = now + backoff(failures, &error);
                state.failures = state.failures.saturating_add(1);
                schedule.fail(error);
                schedule.set_next(next, cooled_down.max(Some(next)));
            }
        }
        // Still under the lock, so that no request for the next fetch can precede this.
        self.finished.send_modify(|finished| *finished += 1);
    }

    /// Installs the fetched keys. Returns the discovery error, if any, and the time of the next fetch.
    fn apply(
        &self,
        fetched: Fetched,
        state: &mut RefreshState,
        now: Instant,
    ) -> Result<(Option<KeysError>, Instant), KeysError> {
        let issuer = &self.issuer;
        let no_usable_key = KeysError::new(KeysErrorKind::NoUsableKey);
        let keys = match fetched.keys {
            Some(list) if list.usable.is_empty() => {
                let error = no_usable_key.with_source(list.problems());
                self.withdraw(list, state);
                return Err(error);
            }
            keys => keys,
        };
        let (keys, changed) = issuer.update(keys, now + self.timing.max_stale).ok_or(no_usable_key)?;
        telemetry::keys_refreshed(issuer.name(), self.is_of_rule, keys.usable().len(), changed);
        if let Some(error) = &fetched.discovery_error {
            telemetry::key_refresh_failed(issuer.name(), self.is_of_rule, error.kind().as_str(), error);
        }
        state.fetch = fetched.state;
        state.withdrawals = 0;
        Ok((fetched.discovery_error, now + fetched.fresh_for.mul_f64(random_between(0.75, 0.95))))
    }

    /// Handles a set without a usable key: the second one in a row withdraws all keys.
    fn withdraw(&self, list: KeyList, state: &mut RefreshState) {
        state.withdrawals = state.withdrawals.saturating_add(1);
        let has_keys = self.issuer.last_keys().is_some_and(|keys| !keys.usable().is_empty());
        if has_keys && state.withdrawals < 2 {
            return;
        }
        self.issuer.withdraw(list);
        state.fetch.forget_keys();
        if has_keys {
            telemetry::keys_withdrawn(self.issuer.name());
        }
    }

    /// Fetches in a separate task, which isolates panics. The task is aborted if this future is dropped.
    async fn fetch(&self, state: FetchState) -> Result<Fetched, KeysError> {
        let mut task = JoinSet::new();
        task.spawn(Arc::clone(&self.fetcher).fetch(state));
        match timeout(self.timing.timeout, task.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(panicked))) => Err(KeysError::new(KeysErrorKind::Unreachable).with_source(panicked)),
            Ok(None) => Err(KeysError::new(KeysErrorKind::Unreachable)),
            Err(_) => Err(KeysError::new(KeysErrorKind::TimedOut)),
        }
    }
}

/// Sleeps until the next fetch is due. A request wakes it.
async fn sleep_until_due(remote: &Remote) {
    loop {
        let due = lock(&remote.schedule).due();
        if Instant::now() >= due {
            return;
        }
        let _ = timeout_at(due, remote.wake.notified()).await;
    }
}

/// How long to wait after a failure.
fn backoff(failures: u32, error: &KeysError) -> Duration {
    let backoff = MIN_BACKOFF.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_BACKOFF);
    let retry_after = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
    backoff.mul_f64(random_between(0.5, 1.0)).max(retry_after)
}

/// Jitter, so that the nodes of a cluster do not all fetch at once.
fn random_between(low: f64, high: f64) -> f64 {
    let random = RandomState::new().hash_one(());
    // The upper 32 bits suffice.
    let fraction = f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    low + fraction * (high - low)
}
