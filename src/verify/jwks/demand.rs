//! What is asked of the task that fetches the keys of an issuer, and what was found out.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    mem,
    time::Duration,
};

use tokio::time::Instant;

use super::{KeysError, issuer::Keys};
use crate::{VerifyError, VerifyErrorKind};

/// How many invented key ids are remembered, and for how long. Not for long, because an id can be guessed that an issuer
/// is about to use.
const UNKNOWN: usize = 1024;
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// Key ids are kept as keyed hashes: they come from the network, and may be long.
pub(super) struct Demand {
    hasher: RandomState,
    /// What was asked for before the attempt that is next. An attempt that does not bring it, though it began later,
    /// shows that the issuer does not have it.
    asked: HashSet<u64>,
    /// What the issuer does not have, until when that is believed.
    unknown: HashMap<u64, Instant>,
    /// An attempt is wanted now.
    wanted: bool,
    under_way: bool,
    /// When an attempt may be wanted again.
    not_before: Instant,
    /// When there will be an attempt if nobody wants one.
    pub(super) next: Instant,
    last_error: Option<KeysError>,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            hasher: RandomState::new(),
            asked: HashSet::new(),
            unknown: HashMap::new(),
            wanted: false,
            // The first one is on its way before anybody can ask.
            under_way: true,
            not_before: now,
            next: now,
            last_error: None,
        }
    }

    /// Asks for a key. Returns whether the task must be woken, or says why there is nothing to wait for.
    pub(super) fn ask(&mut self, key_id: Option<&str>, now: Instant) -> Result<bool, VerifyError> {
        if self.is_unknown(key_id, now) {
            return Err(VerifyError::new(VerifyErrorKind::UnknownKey));
        }
        if let Some(key_id) = key_id
            && self.asked.len() < UNKNOWN
        {
            self.asked.insert(self.hasher.hash_one(key_id));
        }
        if !self.under_way && !self.wanted && now < self.not_before {
            return Err(self.unavailable(now));
        }
        let wake = !self.under_way && !self.wanted;
        self.wanted |= wake;
        Ok(wake)
    }

    /// What an attempt has shown of a key that it did not bring: nothing, if that may be asked for now.
    pub(super) fn verdict(&self, key_id: Option<&str>, now: Instant) -> Result<(), VerifyError> {
        if self.is_unknown(key_id, now) {
            Err(VerifyError::new(VerifyErrorKind::UnknownKey))
        } else if now < self.not_before {
            Err(self.unavailable(now))
        } else {
            Ok(())
        }
    }

    fn is_unknown(&self, key_id: Option<&str>, now: Instant) -> bool {
        let until = key_id.and_then(|key_id| self.unknown.get(&self.hasher.hash_one(key_id)));
        until.is_some_and(|&until| now < until)
    }

    /// Nobody knows before the next attempt.
    pub(super) fn unavailable(&self, now: Instant) -> VerifyError {
        let next = self.next.min(self.not_before.max(now));
        let error = VerifyError::unavailable(next.saturating_duration_since(now));
        match &self.last_error {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }

    /// When the next attempt is due.
    pub(super) fn due(&self) -> Instant {
        if self.wanted { self.not_before.min(self.next) } else { self.next }
    }

    /// An attempt begins. Returns what it is to bring, and whether somebody waits for it.
    pub(super) fn begin(&mut self) -> (HashSet<u64>, bool) {
        self.under_way = true;
        (mem::take(&mut self.asked), mem::take(&mut self.wanted))
    }

    /// An attempt has brought these keys.
    pub(super) fn succeeded(&mut self, keys: &Keys, flaw: Option<KeysError>, mut asked: HashSet<u64>, now: Instant) {
        for key_id in keys.usable().iter().filter_map(|key| key.id()) {
            let key_id = self.hasher.hash_one(key_id);
            asked.remove(&key_id);
            // It has come, and may be asked for again when these keys are too old.
            self.unknown.remove(&key_id);
        }
        self.unknown.retain(|_, until| now < *until);
        if self.unknown.len() + asked.len() > UNKNOWN {
            self.unknown.clear();
        }
        self.unknown.extend(asked.into_iter().map(|key_id| (key_id, now + UNKNOWN_FOR)));
        self.last_error = flaw;
        self.under_way = false;
    }

    /// An attempt has brought nothing.
    pub(super) fn failed(&mut self, error: KeysError) {
        self.last_error = Some(error);
        self.under_way = false;
    }

    /// Sets when the next attempt is made by itself, and from when on one may be wanted: never earlier than it was.
    pub(super) fn schedule(&mut self, next: Instant, not_before: Option<Instant>) {
        self.next = next;
        self.not_before = self.not_before.max(not_before.unwrap_or(self.not_before));
    }

    pub(super) fn last_error(&self) -> Option<KeysError> {
        self.last_error.clone()
    }
}
