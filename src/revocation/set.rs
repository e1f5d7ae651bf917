//! All revocations that one node knows of.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{Revocation, order::Standing};
use crate::{
    SessionId,
    scoped_id::{Scoped, ScopedId},
    session::from_now,
};

/// Each with the moment at which nothing can stand on it any more.
#[derive(Default)]
pub(super) struct Set {
    tokens: HashMap<ScopedId, Instant>,
    sessions: HashMap<SessionId, Instant>,
    subjects: HashMap<ScopedId, (SystemTime, Instant)>,
    issued_until: Option<(SystemTime, Instant)>,
    /// The number of entries at which the old ones are looked for again.
    clear_at: usize,
}

const CLEAR_AT_LEAST: usize = 1024;

impl Set {
    /// Returns whether somebody may be revoked by it who was not before.
    pub(super) fn add(&mut self, revocation: Revocation, keep_for: Duration) -> bool {
        self.clear_if_grown();
        let until = from_now(keep_for);
        match revocation {
            Revocation::Token(id) => extend(self.tokens.entry(id), until),
            Revocation::Session(id) => extend(self.sessions.entry(id), until),
            Revocation::Subject { subject, until: moment } => match self.subjects.entry(subject) {
                Entry::Occupied(mut entry) => later(entry.get_mut(), moment, until),
                Entry::Vacant(entry) => {
                    entry.insert((moment, until));
                    true
                }
            },
            Revocation::IssuedUntil(moment) => match &mut self.issued_until {
                Some(entry) => later(entry, moment, until),
                None => {
                    self.issued_until = Some((moment, until));
                    true
                }
            },
        }
    }

    pub(super) fn has(&self, standing: Standing<'_>) -> bool {
        let now = Instant::now();
        let named = |until: Option<&Instant>| until.is_some_and(|&until| now < until);
        let by_time = |order: Option<&(SystemTime, Instant)>| {
            order.is_some_and(|&(moment, until)| now < until && standing.was_issued_by(moment))
        };
        let is_token = |id| standing.named(id).iter().any(|id| named(self.tokens.get(id as &dyn Scoped)));
        let is_subject = |id| standing.named(id).iter().any(|id| by_time(self.subjects.get(id as &dyn Scoped)));
        standing.token_id.is_some_and(is_token)
            || named(self.sessions.get(&standing.session))
            || standing.subject.is_some_and(is_subject)
            || by_time(self.issued_until.as_ref())
    }

    /// Each with how long it is still to be kept.
    pub(super) fn all(&self) -> Vec<(Revocation, Duration)> {
        let now = Instant::now();
        let tokens = self.tokens.iter().map(|(id, &until)| (Revocation::Token(id.clone()), until));
        let sessions = self.sessions.iter().map(|(&id, &until)| (Revocation::Session(id), until));
        let subjects = self.subjects.iter().map(|(subject, &(moment, until))| {
            (Revocation::Subject { subject: subject.clone(), until: moment }, until)
        });
        let issued = self.issued_until.iter().map(|&(moment, until)| (Revocation::IssuedUntil(moment), until));
        let all = tokens.chain(sessions).chain(subjects).chain(issued);
        all.map(|(order, until)| (order, until.saturating_duration_since(now)))
            .filter(|(_, left)| !left.is_zero())
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len() + self.sessions.len() + self.subjects.len() + usize::from(self.issued_until.is_some())
    }

    /// Throws away what is over, each time that there is twice as much as was left.
    fn clear_if_grown(&mut self) {
        if self.len() < self.clear_at.max(CLEAR_AT_LEAST) {
            return;
        }
        let now = Instant::now();
        self.tokens.retain(|_, until| now < *until);
        self.sessions.retain(|_, until| now < *until);
        self.subjects.retain(|_, (_, until)| now < *until);
        self.clear_at = self.len().saturating_mul(2);
    }
}

fn extend<K>(entry: Entry<'_, K, Instant>, until: Instant) -> bool {
    match entry {
        Entry::Occupied(mut entry) => {
            let was_over = *entry.get() <= Instant::now();
            *entry.get_mut() = (*entry.get()).max(until);
            was_over
        }
        Entry::Vacant(entry) => {
            entry.insert(until);
            true
        }
    }
}

/// An order that came late does not take back what a later one said.
fn later(entry: &mut (SystemTime, Instant), moment: SystemTime, until: Instant) -> bool {
    let is_news = moment > entry.0 || entry.1 <= Instant::now();
    *entry = (entry.0.max(moment), entry.1.max(until));
    is_news
}
