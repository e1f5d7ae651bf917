//! The keys of one issuer as verifiers see them.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{KeysError, KeysErrorKind, demand::Demand, set::KeyList};
use crate::{
    lock::lock,
    verify::{
        VerifyError, VerifyErrorKind,
        jwt::{Algorithm, JwtKey},
    },
};

/// An issuer whose keys count for its own tokens and for no others.
///
/// Who verifies takes no lock: it reads the keys that are there, and new ones are swapped in. Only who does not find its
/// key looks at the rest.
pub(crate) struct Issuer {
    name: String,
    current: ArcSwapOption<Keys>,
    /// `None` for a set in hand.
    remote: Option<Arc<Remote>>,
}

/// What it takes to look for keys where the issuer publishes them.
pub(crate) struct Remote {
    /// `None` for all that keys may be for.
    pub(super) allowed: Option<Vec<Algorithm>>,
    pub(super) demand: Mutex<Demand>,
    /// Wakes the one task that fetches.
    pub(super) wake: Notify,
    /// Counts the attempts that are over. The sender is the task's, so that nobody waits for a task that is gone.
    pub(super) attempts: watch::Receiver<u64>,
    /// For how long somebody waits for an attempt: longer than one takes, if anybody makes it at all.
    pub(super) patience: Duration,
}

/// When the issuer was asked for the keys that are there now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Perhaps before the token came. The token's key may have been published since.
    Before,
    /// After the token came. If its key is not there now, the issuer does not have it.
    Since,
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
    pub(super) fn fixed(name: String, list: KeyList) -> Self {
        let keys = Keys::new(Arc::new(list), None);
        Self { name, current: ArcSwapOption::from_pointee(keys), remote: None }
    }

    /// With a set that is yet to be fetched.
    pub(super) fn remote(name: String, remote: Arc<Remote>) -> Self {
        Self { name, current: ArcSwapOption::empty(), remote: Some(remote) }
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

    /// Where there may be other keys than those that are known.
    pub(crate) const fn as_remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// Waits for an attempt to fetch the keys, because a token's key is not among those of this generation. Then the keys
    /// are worth another look.
    ///
    /// # Cancel safety
    ///
    /// The attempt goes on without the caller.
    pub(crate) async fn look_for(&self, seen: Option<u64>) -> Result<Looked, VerifyError> {
        let Some(remote) = &self.remote else { return Err(VerifyError::new(VerifyErrorKind::UnknownKey)) };
        let mut attempts = remote.attempts.clone();
        loop {
            let asked = {
                let mut demand = lock(&remote.demand);
                // All that counts of an attempt that is over has been seen from here on, and all that is not over will be.
                attempts.mark_unchanged();
                if self.generation() != seen {
                    return Ok(Looked::Before);
                }
                let asked = demand.ask(Instant::now())?;
                if asked.wake {
                    remote.wake.notify_one();
                }
                asked.attempt
            };
            if !matches!(timeout(remote.patience, attempts.changed()).await, Ok(Ok(()))) {
                return Err(lock(&remote.demand).unavailable(Instant::now()));
            }
            let demand = lock(&remote.demand);
            if demand.has_succeeded(asked) {
                return Ok(Looked::Since);
            }
            if self.generation() != seen {
                return Ok(Looked::Before);
            }
            // The attempt may have begun before anybody asked for this key. Then another one is asked for.
            demand.check_allowed(Instant::now())?;
        }
    }

    /// Waits until an attempt to fetch the keys is over.
    pub(super) async fn attempted(&self) -> Result<(), KeysError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let mut attempts = remote.attempts.clone();
        if attempts.wait_for(|&attempts| attempts > 0).await.is_err() {
            return Err(KeysError::new(KeysErrorKind::Abandoned));
        }
        // What went wrong beside is no matter.
        if self.generation().is_some() { Ok(()) } else { remote.last_error().map_or(Ok(()), Err) }
    }

    /// Waits until there are keys.
    pub(super) async fn ready(&self) -> Result<(), KeysError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let mut attempts = remote.attempts.clone();
        while self.generation().is_none() {
            if attempts.changed().await.is_err() {
                return Err(KeysError::new(KeysErrorKind::Abandoned));
            }
        }
        Ok(())
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

    /// Drops all keys, because the issuer says that there are none that could be used.
    pub(super) fn withdraw(&self, list: KeyList) {
        // They are good until now, so that the status can still name those that cannot be used.
        self.current.store(Some(Arc::new(Keys::new(Arc::new(list), Some(Instant::now())))));
    }
}

impl Remote {
    /// Whether a key of this issuer could be for this algorithm. What is published is no secret, so none is symmetric.
    pub(crate) fn may_use(&self, algorithm: Algorithm) -> bool {
        !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
            && self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&algorithm))
    }

    /// What is wrong, if anything is.
    pub(super) fn last_error(&self) -> Option<KeysError> {
        if self.attempts.has_changed().is_err() {
            return Some(KeysError::new(KeysErrorKind::Abandoned));
        }
        lock(&self.demand).last_error()
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
