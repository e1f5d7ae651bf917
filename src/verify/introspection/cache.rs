//! Answers that are still current.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::answer::{Active, Answer};
use crate::{
    lock::{Mutex, lock},
    verify::cached::{TokenHash, TokenHasher},
};

/// About as many clients reconnect within a few seconds.
const ACTIVE_CAPACITY: usize = 10_000;
const INACTIVE_CAPACITY: usize = 4096;

/// Holds no tokens, only their hashes. Refused tokens never evict valid ones.
pub(super) struct AnswerCache {
    hasher: TokenHasher,
    active: Cache<TokenHash, (Times, Arc<Active>)>,
    inactive: Cache<TokenHash, Times>,
    lifetimes: Lifetimes,
    ticks: AtomicU64,
    /// Held while an answer is stored.
    storing: Mutex<()>,
}

/// How long answers are current.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub(super) active: Duration,
    pub(super) inactive: Duration,
}

/// A moment in a strict order, which a clock does not give: two readings may be the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

/// When an answer was asked for, and when it came.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) asked: Tick,
    pub(super) asked_at: Instant,
    pub(super) answered: Tick,
}

/// Which answers may be used.
#[derive(Clone, Copy)]
pub(super) enum Freshness {
    /// Those that are current, and those that came after this: for a handshake that began then.
    Current(Tick),
    /// Those that were asked for after this: for a live session, which must not survive on an old answer.
    AskedSince(Tick),
}

impl AnswerCache {
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        Self {
            hasher: TokenHasher::new(),
            active: Cache::new(ACTIVE_CAPACITY),
            inactive: Cache::new(INACTIVE_CAPACITY),
            lifetimes,
            ticks: AtomicU64::new(0),
            storing: Mutex::default(),
        }
    }

    /// This moment, which is after all earlier ones.
    pub(super) fn tick(&self) -> Tick {
        Tick(self.ticks.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn hash(&self, token: &str) -> TokenHash {
        self.hasher.hash(token)
    }

    /// The answer about a token, if one may be used.
    pub(super) fn get(&self, hash: TokenHash, freshness: Freshness) -> Option<Answer> {
        if let Some((times, active)) = self.active.get(&hash)
            && freshness.allows(times, self.lifetimes.active)
        {
            return Some(Answer::Active(active));
        }
        let times = self.inactive.get(&hash)?;
        freshness.allows(times, self.lifetimes.inactive).then_some(Answer::Inactive)
    }

    /// Stores an answer about a token, and returns it. If there is one that was asked for later, keeps and returns that:
    /// a recheck may overtake a handshake.
    pub(super) fn store(&self, hash: TokenHash, times: Times, answer: Answer) -> Answer {
        let _storing = lock(&self.storing);
        if let Some(later) = self.get(hash, Freshness::AskedSince(times.asked)) {
            return later;
        }
        match &answer {
            Answer::Active(active) => {
                self.active.insert(hash, (times, Arc::clone(active)));
                self.inactive.remove(&hash);
            }
            Answer::Inactive => {
                self.active.remove(&hash);
                self.inactive.insert(hash, times);
            }
        }
        answer
    }

    /// The number of active and inactive tokens.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.active.len(), self.inactive.len())
    }
}

impl Freshness {
    fn allows(self, times: Times, lifetime: Duration) -> bool {
        match self {
            Self::Current(begin) => times.answered > begin || times.asked_at.elapsed() < lifetime,
            Self::AskedSince(begin) => times.asked > begin,
        }
    }

    /// When the handshake or the recheck began.
    pub(super) const fn begin(self) -> Tick {
        match self {
            Self::Current(begin) | Self::AskedSince(begin) => begin,
        }
    }
}
