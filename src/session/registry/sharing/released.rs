use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{id::ScopedId, store::SessionLease};

/// The leases that are over and that the store may still have, each with the moment from which on it cannot.
#[derive(Default)]
pub(super) struct Released {
    leases: HashMap<ScopedId, Vec<(SessionLease, Instant)>>,
    /// The subjects for which the store has failed, and until when others come first.
    deferred: HashMap<ScopedId, Instant>,
}

impl Released {
    pub(super) fn add(&mut self, lease: SessionLease) {
        self.leases.entry(lease.subject.clone()).or_default().push((lease, Instant::now()));
    }

    pub(super) fn of_subject(&self, subject: &ScopedId) -> Vec<SessionLease> {
        self.leases.get(subject).into_iter().flatten().map(|(lease, _)| lease.clone()).collect()
    }

    /// Some of them; those of one subject stand together.
    pub(super) fn some(&self, most: usize) -> Vec<SessionLease> {
        let due = self.due().flat_map(|(_, leases)| leases);
        due.map(|(lease, _)| lease.clone()).take(most).collect()
    }

    fn due(&self) -> impl Iterator<Item = (&ScopedId, &Vec<(SessionLease, Instant)>)> {
        let now = Instant::now();
        self.leases.iter().filter(move |(subject, _)| self.deferred.get(*subject).is_none_or(|until| *until <= now))
    }

    pub(super) fn is_any_due(&self) -> bool {
        self.due().next().is_some()
    }

    /// The store has failed for these: others come first.
    pub(super) fn defer(&mut self, leases: &[SessionLease], until: Instant) {
        let now = Instant::now();
        self.deferred.retain(|_, until| now < *until);
        self.deferred.extend(leases.iter().map(|lease| (lease.subject.clone(), until)));
    }

    /// The store knows.
    pub(super) fn settle(&mut self, leases: &[SessionLease]) {
        for lease in leases {
            if let Some(of_subject) = self.leases.get_mut(&lease.subject) {
                of_subject.retain(|(other, _)| other.session != lease.session);
                if of_subject.is_empty() {
                    self.leases.remove(&lease.subject);
                }
            }
        }
    }

    /// Forgets those that have run out by themselves.
    pub(super) fn forget_older_than(&mut self, age: Duration) {
        self.leases.retain(|_, leases| {
            leases.retain(|(_, since)| since.elapsed() < age);
            !leases.is_empty()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}
