use std::{
    collections::{BTreeMap, HashMap},
    mem,
    ops::RangeInclusive,
    sync::Arc,
};

use super::numbers::Numbers;
use crate::{
    id::{Scoped, ScopedId, SessionId},
    session::{
        SessionCore,
        limits::{AdmissionError, Limits},
    },
    store::{AtLimit, SessionLease},
};

/// A part of the registry: all the sessions of some subjects.
#[derive(Default)]
pub(super) struct Shard {
    /// By [`SessionId::number`], in this order, so that one can go through them a few at a time.
    entries: BTreeMap<u64, Entry>,
    subjects: HashMap<ScopedId, Subject>,
    /// How many of the entries have not ended.
    live: usize,
}

struct Entry {
    core: Arc<SessionCore>,
    /// The hash of the token's `jti`. It is looked for by going through all entries: rarely, and fast.
    token: Option<u64>,
    /// That of the one that it may come to stand on.
    next_token: Option<u64>,
    /// It has ended.
    retired: bool,
    /// It has a lease among all nodes, as far as is known, which is renewed, and released at its end.
    shared: bool,
}

/// The sessions of a subject that have not ended.
#[derive(Default)]
struct Subject {
    admitted: Numbers,
    others: Numbers,
}

/// Some sessions, and the number of the last entry that was looked at; `None` if there was none.
type Some = (Vec<Arc<SessionCore>>, Option<u64>);

impl Shard {
    pub(super) fn insert(&mut self, core: Arc<SessionCore>, token: Option<u64>) {
        let number = core.id().number();
        if let Some(subject) = core.scoped_subject() {
            self.subjects.entry(subject).or_default().others.insert(number);
        }
        let entry = Entry { core, token, next_token: None, retired: false, shared: false };
        self.entries.insert(number, entry);
        self.live += 1;
    }

    /// Counts a session among those of its subject. Returns the one that has to go for it.
    pub(super) fn admit(
        &mut self,
        core: &SessionCore,
        limits: &Limits,
    ) -> Result<Option<Arc<SessionCore>>, AdmissionError> {
        let number = core.id().number();
        let subject = core.holder().and_then(|holder| self.subjects.get_mut(&holder as &dyn Scoped));
        // It may have ended by now. Then there is nothing to count, and its supervisor sees to the rest.
        let Some(subject) = subject.filter(|subject| subject.has(number)) else {
            return Ok(None);
        };
        let mut evicted = None;
        if let Some((most, at_limit)) = limits.per_subject
            && subject.admitted.len() >= most.get()
        {
            match at_limit {
                AtLimit::RefuseNew => return Err(AdmissionError::TooManySessions { retry_after: limits.retry_after }),
                AtLimit::EvictOldest => {
                    if let Some(oldest) = subject.admitted.first() {
                        evicted = self.entries.get(&oldest).map(|entry| Arc::clone(&entry.core));
                        subject.admitted.remove(oldest);
                    }
                }
            }
        }
        subject.others.remove(number);
        subject.admitted.insert(number);
        Ok(evicted)
    }

    /// An ended session no longer counts as one of its subject's. Returns whether there is a lease to be released.
    pub(super) fn retire(&mut self, core: &SessionCore) -> bool {
        let number = core.id().number();
        let Some(entry) = self.entries.get_mut(&number) else { return false };
        if !mem::replace(&mut entry.retired, true) {
            self.live -= 1;
        }
        if let Some(holder) = core.holder()
            && let Some(subject) = self.subjects.get_mut(&holder as &dyn Scoped)
        {
            if !subject.admitted.remove(number) {
                subject.others.remove(number);
            }
            if subject.len() == 0 {
                self.subjects.remove(&holder as &dyn Scoped);
            }
        }
        mem::take(&mut entry.shared)
    }

    /// Notes that an admitted session has a lease, unless it has ended. Returns whether it was noted.
    pub(super) fn note_shared(&mut self, core: &SessionCore) -> bool {
        let number = core.id().number();
        let subject = core.holder().and_then(|holder| self.subjects.get(&holder as &dyn Scoped));
        match self.entries.get_mut(&number).filter(|_| subject.is_some_and(|subject| subject.has(number))) {
            Some(entry) => {
                entry.shared = true;
                true
            }
            None => false,
        }
    }

    /// The leases that there are; those of one subject stand together.
    pub(super) fn shared(&self) -> Vec<SessionLease> {
        let numbers = self.subjects.values().flat_map(|subject| subject.admitted.all());
        let entries = numbers.filter_map(|number| self.entries.get(&number)).filter(|entry| entry.shared);
        entries.filter_map(|entry| entry.core.session_lease()).collect()
    }

    /// Returns what is to be dropped when the shard is no longer locked, and whether it has a lease to be released.
    pub(super) fn remove(&mut self, number: u64) -> Option<(Arc<SessionCore>, bool)> {
        let core = Arc::clone(&self.entries.get(&number)?.core);
        let is_shared = self.retire(&core);
        self.entries.remove(&number);
        Some((core, is_shared))
    }

    pub(super) fn note_next_token(&mut self, core: &SessionCore, token: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(&core.id().number()) {
            entry.next_token = token;
        }
    }

    /// The session stands on the next token, or it does not.
    pub(super) fn settle_token(&mut self, core: &SessionCore, is_taken: bool) {
        if let Some(entry) = self.entries.get_mut(&core.id().number()) {
            let next = entry.next_token.take();
            if is_taken {
                entry.token = next;
            }
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<SessionCore>> {
        let entry = self.entries.get(&id.number())?;
        (entry.core.id() == id).then(|| Arc::clone(&entry.core))
    }

    /// How many have not ended.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    /// Goes through the entries; of a token, if its hash is given. At most so many are looked at.
    pub(super) fn some(&self, token: Option<u64>, numbers: RangeInclusive<u64>, most: usize) -> Some {
        let mut last = None;
        let is_one = |entry: &Entry| token.is_none() || entry.token == token || entry.next_token == token;
        let entries = self.entries.range(numbers).take(most).inspect(|(number, _)| last = Some(**number));
        let lives = entries.filter(|(_, entry)| is_one(entry)).map(|(_, entry)| Arc::clone(&entry.core)).collect();
        (lives, last)
    }

    /// The subjects of this name: the one, if the issuer is named too.
    pub(super) fn namesakes(&self, subject: &ScopedId) -> Vec<ScopedId> {
        if !subject.is_any_issuer() {
            return vec![subject.clone()];
        }
        // Rare, so the map is not kept by name as well.
        self.subjects.keys().filter(|other| other.id() == subject.id()).cloned().collect()
    }

    /// The same as [`some`](Self::some), of one subject. Ended ones are not among them.
    pub(super) fn some_of_subject(&self, subject: &ScopedId, numbers: RangeInclusive<u64>, most: usize) -> Some {
        let Some(subject) = self.subjects.get(subject as &dyn Scoped) else { return (Vec::new(), None) };
        let mut some = subject.admitted.some(*numbers.start(), most);
        some.extend(subject.others.some(*numbers.start(), most));
        some.retain(|number| numbers.contains(number));
        some.sort_unstable();
        some.truncate(most);
        let entries = some.iter().filter_map(|number| self.entries.get(number));
        (entries.map(|entry| Arc::clone(&entry.core)).collect(), some.last().copied())
    }

    pub(super) fn live_of_subject(&self, subject: &ScopedId) -> usize {
        self.subjects.get(subject as &dyn Scoped).map_or(0, Subject::len)
    }
}

impl Subject {
    fn has(&self, number: u64) -> bool {
        self.admitted.has(number) || self.others.has(number)
    }

    fn len(&self) -> usize {
        self.admitted.len() + self.others.len()
    }
}
