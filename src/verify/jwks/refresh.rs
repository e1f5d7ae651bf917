//! The one task that keeps the keys of a verifier fresh.

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
    issuer::Remote,
    set::KeyList,
    source::{Fetched, Memory, Source},
};
use crate::{lock::lock, telemetry};

/// After a failure it is tried again in a second, and in twice the time after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Unless the issuer asks for more.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(300);

/// The task. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Refresher(AbortHandle);

/// What the task knows of one issuer.
pub(super) struct Refresh {
    pub(super) issuer: Arc<Issuer>,
    pub(super) remote: Arc<Remote>,
    pub(super) source: Arc<Source>,
    pub(super) attempts: watch::Sender<u64>,
    pub(super) timing: Timing,
}

/// What the task remembers of the attempts before.
#[derive(Default)]
struct Progress {
    memory: Memory,
    /// How many have failed since the last good one.
    failures: u32,
    /// How many since then have found that there is no key that can be used.
    withdrawals: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) timeout: Duration,
    pub(super) cool_down: Duration,
    pub(super) max_stale: Duration,
}

impl Refresher {
    pub(super) fn spawn(runtime: &Handle, issuers: Vec<Refresh>) -> Self {
        let mut loops: Vec<Pin<Box<dyn Future<Output = Infallible> + Send>>> =
            issuers.into_iter().map(|issuer| Box::pin(issuer.run()) as _).collect();
        // There are a few of them, and each is cheap to ask.
        let all = poll_fn(move |cx| {
            for one in &mut loops {
                let _ = one.as_mut().poll(cx);
            }
            Poll::<Infallible>::Pending
        });
        Self(runtime.spawn(all).abort_handle())
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Refresh {
    async fn run(self) -> Infallible {
        let mut progress = Progress::default();
        loop {
            self.attempt(&mut progress).await;
            rest(&self.remote).await;
        }
    }

    async fn attempt(&self, progress: &mut Progress) {
        let wanted = lock(&self.remote.demand).begin();
        let outcome = self.fetch(progress.memory.clone()).await;
        let now = Instant::now();
        let outcome = outcome.and_then(|fetched| self.take(fetched, progress, now));
        // Not under the lock, for nobody knows what a subscriber does.
        if let Err(error) = &outcome {
            telemetry::key_refresh_failed(self.issuer.name(), error.kind().as_str(), error);
        }
        let cooled_down = wanted.then_some(now + self.timing.cool_down);
        let mut demand = lock(&self.remote.demand);
        match outcome {
            Ok((flaw, next)) => {
                progress.failures = 0;
                demand.succeeded(flaw);
                demand.schedule(next, cooled_down);
            }
            Err(error) => {
                progress.memory.doubt();
                // The first answer that says that all keys are withdrawn is questioned soon, whatever failed before.
                let is_first_word = error.kind() == KeysErrorKind::NoUsableKey && progress.withdrawals == 1;
                let failures = if is_first_word { 0 } else { progress.failures };
                let next = now + self.pause(failures, &error);
                progress.failures = progress.failures.saturating_add(1);
                demand.failed(error);
                demand.schedule(next, cooled_down.max(Some(next)));
            }
        }
        // Before anybody can ask for the attempt that is next.
        self.attempts.send_modify(|attempts| *attempts += 1);
    }

    /// Takes over what was fetched. Returns what went wrong all the same, and when it is fetched again.
    fn take(
        &self,
        fetched: Fetched,
        progress: &mut Progress,
        now: Instant,
    ) -> Result<(Option<KeysError>, Instant), KeysError> {
        let issuer = &self.issuer;
        let none = KeysError::new(KeysErrorKind::NoUsableKey);
        let keys = match fetched.keys {
            Some(list) if list.usable.is_empty() => {
                let error = none.with_source(list.problems());
                self.withdraw(list, progress);
                return Err(error);
            }
            keys => keys,
        };
        let (keys, changed) = issuer.put(keys, now + self.timing.max_stale).ok_or(none)?;
        telemetry::keys_refreshed(issuer.name(), keys.usable().len(), changed);
        if let Some(flaw) = &fetched.flaw {
            telemetry::key_refresh_failed(issuer.name(), flaw.kind().as_str(), flaw);
        }
        progress.memory = fetched.memory;
        progress.withdrawals = 0;
        Ok((fetched.flaw, now + fetched.fresh_for.mul_f64(between(0.75, 0.95))))
    }

    /// The issuer has no key that can be used. Once may be a mistake.
    fn withdraw(&self, list: KeyList, progress: &mut Progress) {
        progress.withdrawals = progress.withdrawals.saturating_add(1);
        let has_keys = self.issuer.last_keys().is_some_and(|keys| !keys.usable().is_empty());
        if has_keys && progress.withdrawals < 2 {
            return;
        }
        self.issuer.withdraw(list);
        progress.memory.forget_keys();
        if has_keys {
            telemetry::keys_withdrawn(self.issuer.name());
        }
    }

    fn pause(&self, failures: u32, error: &KeysError) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
        let asked_for = error.retry_after().unwrap_or_default().min(LONGEST_ASKED_FOR);
        pause.mul_f64(between(0.5, 1.0)).max(asked_for)
    }

    /// In a task of its own, so that a panic in it is not the end of this one. It ends with this future.
    async fn fetch(&self, memory: Memory) -> Result<Fetched, KeysError> {
        let mut attempt = JoinSet::new();
        attempt.spawn(Arc::clone(&self.source).attempt(memory));
        match timeout(self.timing.timeout, attempt.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(panicked))) => Err(KeysError::new(KeysErrorKind::Unreachable).with_source(panicked)),
            Ok(None) => Err(KeysError::new(KeysErrorKind::Unreachable)),
            Err(_) => Err(KeysError::new(KeysErrorKind::TimedOut)),
        }
    }
}

/// Until the next attempt is due.
async fn rest(remote: &Remote) {
    loop {
        let due = lock(&remote.demand).due();
        if Instant::now() >= due {
            return;
        }
        let _ = timeout_at(due, remote.wake.notified()).await;
    }
}

/// Some number in between, so that the nodes of a cluster do not all ask at once.
fn between(low: f64, high: f64) -> f64 {
    let random = RandomState::new().hash_one(());
    // The upper 32 bits are all that is needed.
    let share = f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    low + share * (high - low)
}
