//! The keys of one issuer as verifiers see them.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{KeysError, demand::Demand, set::KeyList};
use crate::{
    VerifyError, VerifyErrorKind,
    jwt::{Algorithm, JwtKey},
    lock::lock,
};

/// An issuer whose keys count for its own tokens and for no others.
///
/// Who verifies takes no lock: it reads the keys that are there, and new ones are swapped in. Only who does not find its
/// key looks at the rest.
pub(crate) struct Issuer {
    name: String,
    allowed: Option<Vec<Algorithm>>,
    current: ArcSwapOption<Keys>,
    /// `None` for a set in hand.
    remote: Option<Remote>,
}

/// What becomes of a set that is fetched.
pub(super) struct Remote {
    pub(super) demand: Mutex<Demand>,
    /// Wakes the one task that fetches.
    pub(super) wake: Notify,
    /// Counts the attempts that are over. The sender is the task's, so that nobody waits for a task that is gone.
    attempts: watch::Receiver<u64>,
}

/// Keys from a moment in time.
pub(crate) struct Keys {
    pub(super) list: Arc<KeyList>,
    /// Another one for every change of the keys; unique among all issuers.
    generation: u64,
    pub(super) fetched_at: Instant,
    /// `None` for a set in hand.
    pub(super) good_until: Option<Instant>,
}

impl Issuer {
    /// With a set in hand.
    pub(super) fn fixed(name: String, allowed: Option<Vec<Algorithm>>, list: KeyList) -> Self {
        let keys = Keys::new(Arc::new(list), None);
        Self { name, allowed, current: ArcSwapOption::from_pointee(keys), remote: None }
    }

    /// With a set that is yet to be fetched.
    pub(super) fn remote(name: String, allowed: Option<Vec<Algorithm>>, attempts: watch::Receiver<u64>) -> Self {
        let remote = Remote { demand: Mutex::new(Demand::new(Instant::now())), wake: Notify::new(), attempts };
        Self { name, allowed, current: ArcSwapOption::empty(), remote: Some(remote) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The keys that may be used now. There are none before the first set has been fetched, and when the last one is too
    /// old.
    pub(crate) fn with_keys<T>(&self, look: impl FnOnce(Option<&Keys>) -> T) -> T {
        look(self.current.load().as_deref().filter(|keys| keys.are_good()))
    }

    /// The keys that were fetched last, of whatever age.
    pub(super) fn last_keys(&self) -> Option<Arc<Keys>> {
        self.current.load_full()
    }

    /// Which keys may be used now; `None` if none may.
    pub(crate) fn generation(&self) -> Option<u64> {
        self.with_keys(|keys| keys.map(|keys| keys.generation))
    }

    /// Of the keys that were fetched last, of whatever age; it only ever grows.
    pub(super) fn last_generation(&self) -> u64 {
        self.current.load().as_ref().map_or(0, |keys| keys.generation)
    }

    /// Whether a key of this issuer could be for this algorithm. In a fetched set no key is symmetric.
    pub(crate) fn may_use(&self, algorithm: Algorithm) -> bool {
        let symmetric = matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        !(symmetric && self.remote.is_some())
            && self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&algorithm))
    }

    /// Whether there may be other keys than those that are known.
    pub(crate) const fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    pub(super) const fn as_remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// Waits for the next attempt to fetch the keys, because the key with this id is not among those of the generation.
    /// Then they are worth another look.
    ///
    /// # Cancel safety
    ///
    /// The attempt goes on without the caller.
    pub(crate) async fn look_for(&self, key_id: Option<&str>, seen: Option<u64>) -> Result<(), VerifyError> {
        let Some(remote) = &self.remote else { return Err(VerifyError::new(VerifyErrorKind::UnknownKey)) };
        let mut attempts = remote.attempts.clone();
        {
            let mut demand = lock(&remote.demand);
            // All that counts of an attempt that is over has been seen from here on, and all that is not over will be.
            attempts.mark_unchanged();
            if self.generation() != seen {
                return Ok(());
            }
            if demand.ask(key_id, Instant::now())? {
                remote.wake.notify_one();
            }
        }
        if attempts.changed().await.is_err() {
            return Err(VerifyError::unavailable(lock(&remote.demand).wait(Instant::now())));
        }
        if self.with_keys(|keys| keys.is_some_and(|keys| keys.answer_to(key_id))) {
            return Ok(());
        }
        Err(lock(&remote.demand).verdict(key_id, Instant::now()))
    }

    /// Waits until an attempt to fetch the keys is over.
    pub(super) async fn attempted(&self) -> Result<(), KeysError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let mut attempts = remote.attempts.clone();
        let _ = attempts.wait_for(|&attempts| attempts > 0).await;
        lock(&remote.demand).last_error().map_or(Ok(()), Err)
    }

    /// Waits until there are keys.
    pub(super) async fn ready(&self) {
        let Some(remote) = &self.remote else { return };
        let mut attempts = remote.attempts.clone();
        while self.generation().is_none() {
            // The task lives as long as the verifier that is waited for.
            if attempts.changed().await.is_err() {
                return;
            }
        }
    }

    /// Puts a set in the place of the one before, or says that this one is still good.
    ///
    /// Returns the keys, and whether they are others now; `None` where there are none.
    pub(super) fn put(&self, list: Option<KeyList>, good_until: Instant) -> Option<(Arc<Keys>, bool)> {
        let before = self.current.load_full();
        let keys = match (list, &before) {
            (Some(list), Some(before)) if !list.is_same_as(&before.list) => Keys::new(Arc::new(list), Some(good_until)),
            (Some(list), None) => Keys::new(Arc::new(list), Some(good_until)),
            (_, Some(before)) => before.confirmed(good_until),
            (None, None) => return None,
        };
        let keys = Arc::new(keys);
        self.current.store(Some(Arc::clone(&keys)));
        let changed = before.is_none_or(|before| before.generation != keys.generation);
        Some((keys, changed))
    }
}

impl Keys {
    fn new(list: Arc<KeyList>, good_until: Option<Instant>) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        Self { list, generation, fetched_at: Instant::now(), good_until }
    }

    fn confirmed(&self, good_until: Instant) -> Self {
        Self {
            list: Arc::clone(&self.list),
            generation: self.generation,
            fetched_at: Instant::now(),
            good_until: Some(good_until),
        }
    }

    pub(crate) fn usable(&self) -> &[JwtKey] {
        &self.list.usable
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    fn are_good(&self) -> bool {
        self.good_until.is_none_or(|good_until| Instant::now() < good_until)
    }

    fn answer_to(&self, key_id: Option<&str>) -> bool {
        self.usable().iter().any(|key| key.answers_to(key_id))
    }
}

// By hand: keys say enough by their ids.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.last_keys();
        f.debug_struct("Issuer")
            .field("name", &self.name)
            .field("keys", &keys.as_ref().map(|keys| keys.usable()))
            .finish_non_exhaustive()
    }
}
