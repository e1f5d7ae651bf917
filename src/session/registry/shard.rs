use std::{collections::HashMap, mem, sync::Arc};

use crate::{
    limit::SessionLease,
    scoped_id::{Scope, Scoped, ScopedId},
    session::{
        Life, SessionId,
        limits::{AdmissionError, AtLimit, Limits},
    },
};

/// A part of the registry: all the sessions of some subjects.
#[derive(Default)]
pub(super) struct Shard {
    /// By [`SessionId::number`].
    entries: HashMap<u64, Entry>,
    subjects: HashMap<ScopedId, Subject>,
}

struct Entry {
    life: Arc<Life>,
    /// The hash of the token's `jti`. It is looked for by going through all entries: rarely, and fast.
    token: Option<u64>,
    /// That of the one that it may come to stand on.
    next_token: Option<u64>,
    admitted: bool,
    /// It has a lease among all nodes, as far as is known, which is renewed, and released at its end.
    shared: bool,
}

/// The sessions of a subject that have not ended, the oldest first.
#[derive(Default)]
struct Subject {
    /// In order. Most subjects have one.
    numbers: Vec<u64>,
    admitted: usize,
}

impl Shard {
    pub(super) fn insert(&mut self, life: Arc<Life>, token: Option<u64>) {
        let number = life.id().number();
        if let Some(subject) = life.scoped_subject() {
            self.subjects.entry(subject).or_default().insert(number);
        }
        self.entries.insert(number, Entry { life, token, next_token: None, admitted: false, shared: false });
    }

    /// Counts a session among those of its subject. Returns the one that has to go for it.
    pub(super) fn admit(&mut self, life: &Life, limits: &Limits) -> Result<Option<Arc<Life>>, AdmissionError> {
        let number = life.id().number();
        let subject = life.holder().and_then(|holder| self.subjects.get_mut(&holder as &dyn Scoped));
        // It may have ended by now. Then there is nothing to count, and its supervisor sees to the rest.
        let Some(subject) = subject.filter(|subject| subject.has(number)) else {
            return Ok(None);
        };
        let mut evicted = None;
        if let Some((most, at_limit)) = limits.per_subject
            && subject.admitted >= most.get()
        {
            match at_limit {
                AtLimit::RefuseNew => return Err(AdmissionError::TooManySessions { retry_after: limits.retry_after }),
                AtLimit::EvictOldest => {
                    let is_admitted = |entry: &&Entry| entry.admitted;
                    let mut oldest_first = subject.numbers.iter().filter_map(|number| self.entries.get(number));
                    if let Some(oldest) = oldest_first.find(is_admitted) {
                        evicted = Some(Arc::clone(&oldest.life));
                        subject.remove(oldest);
                    }
                }
            }
        }
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.admitted = true;
            subject.admitted += 1;
        }
        Ok(evicted)
    }

    /// An ended session no longer counts as one of its subject's. Returns whether there is a lease to be released.
    pub(super) fn retire(&mut self, life: &Life) -> bool {
        let Some(entry) = self.entries.get_mut(&life.id().number()) else { return false };
        if let Some(holder) = life.holder()
            && let Some(subject) = self.subjects.get_mut(&holder as &dyn Scoped)
        {
            subject.remove(entry);
            if subject.numbers.is_empty() {
                self.subjects.remove(&holder as &dyn Scoped);
            }
        }
        mem::take(&mut entry.shared)
    }

    /// Notes that an admitted session has a lease, unless it has ended. Returns whether it was noted.
    pub(super) fn note_shared(&mut self, life: &Life) -> bool {
        let number = life.id().number();
        let subject = life.holder().and_then(|holder| self.subjects.get(&holder as &dyn Scoped));
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
        let numbers = self.subjects.values().flat_map(|subject| &subject.numbers);
        let entries = numbers.filter_map(|number| self.entries.get(number)).filter(|entry| entry.shared);
        entries.filter_map(|entry| entry.life.session_lease()).collect()
    }

    /// Returns what is to be dropped when the shard is no longer locked, and whether it has a lease to be released.
    pub(super) fn remove(&mut self, number: u64) -> Option<(Arc<Life>, bool)> {
        let life = Arc::clone(&self.entries.get(&number)?.life);
        let is_shared = self.retire(&life);
        self.entries.remove(&number);
        Some((life, is_shared))
    }

    pub(super) fn note_next_token(&mut self, life: &Life, token: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(&life.id().number()) {
            entry.next_token = token;
        }
    }

    /// The session stands on the next token, or it does not.
    pub(super) fn settle_token(&mut self, life: &Life, is_taken: bool) {
        if let Some(entry) = self.entries.get_mut(&life.id().number()) {
            let next = entry.next_token.take();
            if is_taken {
                entry.token = next;
            }
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Life>> {
        let entry = self.entries.get(&id.number())?;
        (entry.life.id() == id).then(|| Arc::clone(&entry.life))
    }

    pub(super) fn all(&self) -> Vec<Arc<Life>> {
        self.entries.values().map(|entry| Arc::clone(&entry.life)).collect()
    }

    /// Those whose token may be the one with this hash, in this scope.
    pub(super) fn of_token(&self, token: u64, scope: Scope<'_>) -> Vec<Arc<Life>> {
        let entries =
            self.entries.values().filter(|entry| entry.token == Some(token) || entry.next_token == Some(token));
        entries.map(|entry| &entry.life).filter(|life| life.is_in(scope)).map(Arc::clone).collect()
    }

    pub(super) fn of_subject(&self, subject: &ScopedId) -> Vec<Arc<Life>> {
        if !subject.is_any_issuer() {
            return self.lives(self.subjects.get(subject as &dyn Scoped));
        }
        // Rare, so the map is not kept by name as well.
        let namesakes = self.subjects.iter().filter(|(other, _)| other.id() == subject.id());
        self.lives(namesakes.map(|(_, subject)| subject))
    }

    fn lives<'a>(&'a self, subjects: impl IntoIterator<Item = &'a Subject>) -> Vec<Arc<Life>> {
        let numbers = subjects.into_iter().flat_map(|subject| &subject.numbers);
        numbers.filter_map(|number| self.entries.get(number)).map(|entry| Arc::clone(&entry.life)).collect()
    }
}

impl Subject {
    fn insert(&mut self, number: u64) {
        // Nearly always the greatest. And no more memory than it takes for one.
        if self.numbers.is_empty() {
            self.numbers.reserve_exact(1);
        }
        let at = self.numbers.partition_point(|&other| other < number);
        self.numbers.insert(at, number);
    }

    fn has(&self, number: u64) -> bool {
        self.numbers.binary_search(&number).is_ok()
    }

    fn remove(&mut self, entry: &Entry) {
        if let Ok(at) = self.numbers.binary_search(&entry.life.id().number()) {
            self.numbers.remove(at);
            if entry.admitted {
                self.admitted -= 1;
            }
        }
    }
}
