//! The current keys of one issuer, shared by verifiers and the background task.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{KeysError, KeysErrorKind, entra::tenant_in, names::Names, schedule::FetchSchedule, set::KeyList};
use crate::{
    lock::{Mutex, lock},
    verify::{
        VerifyError, VerifyErrorKind,
        keys::{Algorithm, JwtKey},
    },
};

/// An issuer with its own key set, which verifies its own tokens only.
///
/// Verification takes no lock: it loads the current keys, and the background task swaps in new ones. Only a token with
/// an unknown key locks the [`FetchSchedule`].
pub(crate) struct Issuer {
    names: Names,
    current: ArcSwapOption<Keys>,
    /// `None` for a local key set.
    remote: Option<Arc<Remote>>,
}

/// What a token with an unknown key needs to request a fetch and wait for it.
pub(crate) struct Remote {
    /// The allowed algorithms. `None` allows all.
    pub(super) algorithms: Option<Vec<Algorithm>>,
    pub(super) schedule: Mutex<FetchSchedule>,
    /// Wakes the background task.
    pub(super) wake: Notify,
    /// Counts the finished fetches. The task owns the sender, so that waiting ends when the task is gone.
    pub(super) finished: watch::Receiver<u64>,
    /// How long to wait for a fetch. Longer than the fetch timeout, in case the task is not running.
    pub(super) wait_timeout: Duration,
}

/// How current the known keys are, relative to the arrival of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// They may have been fetched before the token arrived. The token's key may have been published since.
    MaybeStale,
    /// They were fetched after the token arrived. If its key is not among them, it does not exist.
    Current,
}

/// A snapshot of an issuer's keys.
pub(crate) struct Keys {
    pub(super) list: Arc<KeyList>,
    /// Changes with the keys; unique among all issuers.
    generation: u64,
    pub(super) fetched_at: Instant,
    /// `None` for a local key set.
    pub(super) usable_until: Option<Instant>,
}

impl Issuer {
    pub(super) fn with_local_keys(names: Names, list: KeyList) -> Self {
        let keys = Keys::new(Arc::new(list), None);
        Self { names, current: ArcSwapOption::from_pointee(keys), remote: None }
    }

    /// An issuer whose keys are fetched. It has none yet.
    pub(super) fn with_remote_keys(names: Names, remote: Arc<Remote>) -> Self {
        Self { names, current: ArcSwapOption::empty(), remote: Some(remote) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.names.canonical
    }

    pub(super) const fn names(&self) -> &Names {
        &self.names
    }

    /// The issuer of a token with this `iss`, under its own name.
    pub(crate) fn issuer_of(&self, iss: Option<&str>) -> Arc<str> {
        self.names.issuer_of(iss)
    }

    /// The tenant that this `iss` names. `None` if this issuer does not stand for tenants that share its keys.
    pub(crate) fn tenant_of<'a>(&self, iss: &'a str) -> Option<&'a str> {
        self.names.tenants.as_ref().and_then(|_| tenant_in(iss))
    }

    /// Calls `f` with the current keys. `None` before the first fetch succeeds, after the keys become too old, and
    /// after they are withdrawn.
    pub(crate) fn with_keys<T>(&self, f: impl FnOnce(Option<&Keys>) -> T) -> T {
        f(self.current.load().as_deref().filter(|keys| keys.are_usable()))
    }

    /// The keys that were fetched last, however old they are.
    pub(super) fn last_keys(&self) -> Option<Arc<Keys>> {
        self.current.load_full()
    }

    /// The generation of the current keys; `None` if there are no usable keys.
    pub(crate) fn generation(&self) -> Option<u64> {
        self.with_keys(|keys| keys.map(|keys| keys.generation))
    }

    pub(crate) const fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// Waits for other keys than those of generation `tried`, which lack a token's key. Requests a fetch if needed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the fetch continues without the caller.
    pub(crate) async fn wait_for_keys(&self, tried: Option<u64>) -> Result<Freshness, VerifyError> {
        let Some(remote) = &self.remote else { return Err(VerifyError::new(VerifyErrorKind::UnknownKey)) };
        let mut finished = remote.finished.clone();
        loop {
            let fetch = {
                let mut schedule = lock(&remote.schedule);
                // The checks below see every fetch that has finished; `changed` sees every later one.
                finished.mark_unchanged();
                if self.generation() != tried {
                    return Ok(Freshness::MaybeStale);
                }
                let request = schedule.request(Instant::now())?;
                if request.wake {
                    remote.wake.notify_one();
                }
                request.fetch
            };
            if !matches!(timeout(remote.wait_timeout, finished.changed()).await, Ok(Ok(()))) {
                return Err(lock(&remote.schedule).unavailable(Instant::now()));
            }
            let schedule = lock(&remote.schedule);
            if schedule.has_succeeded(fetch) {
                return Ok(Freshness::Current);
            }
            if self.generation() != tried {
                return Ok(Freshness::MaybeStale);
            }
            // This fetch may have begun before the request. Then the loop requests another one.
            schedule.check_allowed(Instant::now())?;
        }
    }

    /// Waits until the first fetch has finished.
    pub(super) async fn first_fetch(&self) -> Result<(), KeysError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let mut finished = remote.finished.clone();
        if finished.wait_for(|&finished| finished > 0).await.is_err() {
            return Err(KeysError::new(KeysErrorKind::Abandoned));
        }
        // If there are keys, an error is not fatal.
        if self.generation().is_some() { Ok(()) } else { remote.last_error().map_or(Ok(()), Err) }
    }

    /// Whether the first fetch has finished, or none is needed.
    pub(super) fn has_fetched(&self) -> bool {
        self.remote.as_ref().is_none_or(|remote| *remote.finished.borrow() > 0)
    }

    /// Waits until there are keys.
    pub(super) async fn ready(&self) -> Result<(), KeysError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let mut finished = remote.finished.clone();
        while self.generation().is_none() {
            if finished.changed().await.is_err() {
                return Err(KeysError::new(KeysErrorKind::Abandoned));
            }
        }
        Ok(())
    }

    /// Replaces the keys, or extends the use of the current ones if `list` is `None` or the same set.
    ///
    /// Returns the keys and whether they changed; `None` if there are no keys to extend.
    pub(super) fn update(&self, list: Option<KeyList>, usable_until: Instant) -> Option<(Arc<Keys>, bool)> {
        let previous = self.current.load_full();
        let keys = match (list, &previous) {
            (Some(list), Some(previous)) if !list.is_same_as(&previous.list) => {
                Keys::new(Arc::new(list), Some(usable_until))
            }
            (Some(list), None) => Keys::new(Arc::new(list), Some(usable_until)),
            (_, Some(previous)) => previous.revalidated(usable_until),
            (None, None) => return None,
        };
        let keys = Arc::new(keys);
        self.current.store(Some(Arc::clone(&keys)));
        let changed = previous.is_none_or(|previous| previous.generation != keys.generation);
        Some((keys, changed))
    }

    /// Drops all keys, because the issuer publishes no usable key anymore.
    pub(super) fn withdraw(&self, list: KeyList) {
        // The list expires at once, but the status still names its unusable keys.
        self.current.store(Some(Arc::new(Keys::new(Arc::new(list), Some(Instant::now())))));
    }
}

impl Remote {
    /// Whether this issuer may have a key for the algorithm. A published key cannot be symmetric.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
            && self.algorithms.as_ref().is_none_or(|allowed| allowed.contains(&algorithm))
    }

    /// The error of the last fetch, if there was one.
    pub(super) fn last_error(&self) -> Option<KeysError> {
        if self.finished.has_changed().is_err() {
            return Some(KeysError::new(KeysErrorKind::Abandoned));
        }
        lock(&self.schedule).last_error()
    }
}

impl Keys {
    fn new(list: Arc<KeyList>, usable_until: Option<Instant>) -> Self {
        static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);
        let generation = NEXT_GENERATION.fetch_add(1, Ordering::Relaxed);
        Self { list, generation, fetched_at: Instant::now(), usable_until }
    }

    fn revalidated(&self, usable_until: Instant) -> Self {
        Self {
            list: Arc::clone(&self.list),
            generation: self.generation,
            fetched_at: Instant::now(),
            usable_until: Some(usable_until),
        }
    }

    pub(crate) fn usable(&self) -> &[JwtKey] {
        &self.list.usable
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    fn are_usable(&self) -> bool {
        self.usable_until.is_none_or(|usable_until| Instant::now() < usable_until)
    }
}

// By hand: the keys suffice.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.last_keys();
        f.debug_struct("Issuer")
            .field("name", &self.names.canonical)
            .field("keys", &keys.as_ref().map(|keys| keys.usable()))
            .finish_non_exhaustive()
    }
}
