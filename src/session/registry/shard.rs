use std::{
    collections::{BTreeMap, HashMap},
    mem,
    num::NonZeroU64,
    ops::RangeInclusive,
    sync::Arc,
};

use super::number_set::NumberSet;
use crate::{
    id::{Scoped, ScopedId, SessionId},
    session::{AdmissionError, Limits, SessionCore},
    store::AtLimit,
};

/// A part of the registry, with all the sessions of some subjects.
#[derive(Default)]
pub(super) struct Shard {
    /// By [`SessionId::number`], in order, so that a scan can go through them in batches.
    entries: BTreeMap<u64, Entry>,
    subjects: HashMap<ScopedId, Subject>,
    /// How many entries have not ended.
    live: usize,
}

struct Entry {
    session: Arc<SessionCore>,
    token: TokenHashes,
    /// Of the token that the session is about to use.
    pending_token: TokenHashes,
    ended: bool,
    /// As far as this node knows. A lease is renewed, and released when the session ends.
    has_lease: bool,
}

/// The hashes of the ids by which a token is found. All entries are scanned for them, which is rare and fast.
#[derive(Clone, Copy, Default)]
pub(super) struct TokenHashes {
    /// Of the `jti`.
    pub(super) id: Option<NonZeroU64>,
    /// Of the `sid`. Never equal to that of a `jti`.
    pub(super) provider_session: Option<NonZeroU64>,
}

/// The numbers of a subject's sessions that have not ended.
#[derive(Default)]
struct Subject {
    admitted: NumberSet,
    /// Registered but not admitted: not yet, not any more, or because they are not connections.
    others: NumberSet,
}

/// Some sessions, and the number of the last entry that was looked at, if any.
pub(super) type Batch = (Vec<Arc<SessionCore>>, Option<u64>);

impl Shard {
    pub(super) fn insert(&mut self, session: Arc<SessionCore>, token: TokenHashes) {
        let number = session.id().number();
        if let Some(subject) = session.scoped_subject() {
            self.subjects.entry(subject).or_default().others.insert(number);
        }
        let entry = Entry { session, token, pending_token: TokenHashes::default(), ended: false, has_lease: false };
        self.entries.insert(number, entry);
        self.live += 1;
    }

    /// Counts a session as one of its subject's. Returns the session that is evicted for it, if any.
    pub(super) fn admit(
        &mut self,
        session: &SessionCore,
        limits: &Limits,
    ) -> Result<Option<Arc<SessionCore>>, AdmissionError> {
        let number = session.id().number();
        let subject = session.subject_key().and_then(|key| self.subjects.get_mut(&key as &dyn Scoped));
        // The session may have ended. Then it does not count, and its supervisor closes it.
        let Some(subject) = subject.filter(|subject| subject.contains(number)) else {
            return Ok(None);
        };
        let mut evicted = None;
        if let Some((max, at_limit)) = limits.per_subject
            && subject.admitted.len() >= max.get()
        {
            match at_limit {
                AtLimit::RefuseNew => return Err(AdmissionError::TooManySessions { retry_after: limits.retry_after }),
                AtLimit::EvictOldest => {
                    if let Some(oldest) = subject.admitted.first() {
                        evicted = self.entries.get(&oldest).map(|entry| Arc::clone(&entry.session));
                        // Until it has ended, whatever ends sessions must find it.
                        subject.admitted.remove(oldest);
                        subject.others.insert(oldest);
                    }
                }
            }
        }
        subject.others.remove(number);
        subject.admitted.insert(number);
        Ok(evicted)
    }

    /// An ended session no longer counts as one of its subject's. Returns whether it has a lease to be released.
    pub(super) fn mark_ended(&mut self, session: &SessionCore) -> bool {
        let number = session.id().number();
        let Some(entry) = self.entries.get_mut(&number) else { return false };
        if !mem::replace(&mut entry.ended, true) {
            self.live -= 1;
        }
        if let Some(key) = session.subject_key()
            && let Some(subject) = self.subjects.get_mut(&key as &dyn Scoped)
        {
            if !subject.admitted.remove(number) {
                subject.others.remove(number);
            }
            if subject.len() == 0 {
                self.subjects.remove(&key as &dyn Scoped);
            }
        }
        mem::take(&mut entry.has_lease)
    }

    /// Removes a session. Returns it, to be dropped after the shard is unlocked, and whether it has a lease to be
    /// released.
    pub(super) fn remove(&mut self, number: u64) -> Option<(Arc<SessionCore>, bool)> {
        let session = Arc::clone(&self.entries.get(&number)?.session);
        let has_lease = self.mark_ended(&session);
        self.entries.remove(&number);
        Some((session, has_lease))
    }

    /// Marks an admitted session as one with a lease, unless it has ended. Returns whether it did.
    pub(super) fn mark_leased(&mut self, session: &SessionCore) -> bool {
        let number = session.id().number();
        let subject = session.subject_key().and_then(|key| self.subjects.get(&key as &dyn Scoped));
        match self.entries.get_mut(&number).filter(|_| subject.is_some_and(|subject| subject.contains(number))) {
            Some(entry) => {
                entry.has_lease = true;
                true
            }
            None => false,
        }
    }

    /// The sessions with a lease; those of one subject are adjacent.
    pub(super) fn leased(&self) -> Vec<Arc<SessionCore>> {
        let numbers = self.subjects.values().flat_map(|subject| subject.admitted.iter());
        let entries = numbers.filter_map(|number| self.entries.get(&number)).filter(|entry| entry.has_lease);
        entries.map(|entry| Arc::clone(&entry.session)).collect()
    }

    pub(super) fn set_pending_token(&mut self, session: &SessionCore, token: TokenHashes) {
        if let Some(entry) = self.entries.get_mut(&session.id().number()) {
            entry.pending_token = token;
        }
    }

    /// The session uses the pending token now, or dropped it.
    pub(super) fn resolve_pending_token(&mut self, session: &SessionCore, committed: bool) {
        if let Some(entry) = self.entries.get_mut(&session.id().number()) {
            let pending = mem::take(&mut entry.pending_token);
            if committed {
                entry.token = pending;
            }
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<SessionCore>> {
        let entry = self.entries.get(&id.number())?;
        (entry.session.id() == id).then(|| Arc::clone(&entry.session))
    }

    /// How many sessions have not ended.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    pub(super) fn live_of_subject(&self, subject: &ScopedId) -> usize {
        self.subjects.get(subject as &dyn Scoped).map_or(0, Subject::len)
    }

    /// Looks at the first `max` entries of these numbers, and returns the sessions among them; if the hash
    /// of an id is given, only the sessions of its tokens.
    pub(super) fn batch(&self, token: Option<NonZeroU64>, numbers: RangeInclusive<u64>, max: usize) -> Batch {
        let mut last = None;
        let matches = |entry: &Entry| {
            token.is_none_or(|token| entry.token.contains(token) || entry.pending_token.contains(token))
        };
        let entries = self.entries.range(numbers).take(max).inspect(|(number, _)| last = Some(**number));
        let sessions =
            entries.filter(|(_, entry)| matches(entry)).map(|(_, entry)| Arc::clone(&entry.session)).collect();
        (sessions, last)
    }

    /// The same as [`batch`](Self::batch) for one subject, without sessions that have ended.
    pub(super) fn batch_of_subject(&self, subject: &ScopedId, numbers: RangeInclusive<u64>, max: usize) -> Batch {
        let Some(subject) = self.subjects.get(subject as &dyn Scoped) else { return (Vec::new(), None) };
        let mut batch = subject.admitted.batch(*numbers.start(), max);
        batch.extend(subject.others.batch(*numbers.start(), max));
        batch.retain(|number| numbers.contains(number));
        batch.sort_unstable();
        batch.truncate(max);
        let entries = batch.iter().filter_map(|number| self.entries.get(number));
        (entries.map(|entry| Arc::clone(&entry.session)).collect(), batch.last().copied())
    }

    /// The subjects that this id means: several, if it means any issuer.
    pub(super) fn matching_subjects(&self, subject: &ScopedId) -> Vec<ScopedId> {
        if !subject.is_any_issuer() {
            return vec![subject.clone()];
        }
        // Rare enough to go without a map by name.
        self.subjects.keys().filter(|other| other.id() == subject.id()).cloned().collect()
    }
}

impl TokenHashes {
    fn contains(&self, hash: NonZeroU64) -> bool {
        self.id == Some(hash) || self.provider_session == Some(hash)
    }
}

impl Subject {
    fn contains(&self, number: u64) -> bool {
        self.admitted.contains(number) || self.others.contains(number)
    }

    fn len(&self) -> usize {
        self.admitted.len() + self.others.len()
    }
}
