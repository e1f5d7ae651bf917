use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{id::ScopedId, store::SessionLease};

/// The leases of ended sessions that the store may still have, each with the time since when it is over.
#[derive(Default)]
pub(super) struct ReleaseQueue {
    leases: HashMap<ScopedId, Vec<(SessionLease, Instant)>>,
    /// The subjects that the store has failed for, and until when the others come first.
    deferred: HashMap<ScopedId, Instant>,
}

impl ReleaseQueue {
    pub(super) fn push(&mut self, lease: SessionLease) {
        self.leases.entry(lease.subject.clone()).or_default().push((lease, Instant::now()));
    }

    pub(super) fn of_subject(&self, subject: &ScopedId) -> Vec<SessionLease> {
        self.leases.get(subject).into_iter().flatten().map(|(lease, _)| lease.clone()).collect()
    }

    /// At most `max` leases that are due; those of one subject are adjacent.
    pub(super) fn batch(&self, max: usize) -> Vec<SessionLease> {
        let due = self.due().flat_map(|(_, leases)| leases);
        due.map(|(lease, _)| lease.clone()).take(max).collect()
    }

    /// The leases of the subjects that are not deferred.
    fn due(&self) -> impl Iterator<Item = (&ScopedId, &Vec<(SessionLease, Instant)>)> {
        let now = Instant::now();
        self.leases.iter().filter(move |(subject, _)| self.deferred.get(*subject).is_none_or(|until| *until <= now))
    }

    pub(super) fn is_any_due(&self) -> bool {
        self.due().next().is_some()
    }

    /// Defers the subjects of these leases, because the store has failed for them.
    pub(super) fn defer(&mut self, leases: &[SessionLease], until: Instant) {
        let now = Instant::now();
        self.deferred.retain(|_, until| now < *until);
        self.deferred.extend(leases.iter().map(|lease| (lease.subject.clone(), until)));
    }

    /// Removes leases that the store has released.
    pub(super) fn remove(&mut self, leases: &[SessionLease]) {
        for lease in leases {
            if let Some(of_subject) = self.leases.get_mut(&lease.subject) {
                of_subject.retain(|(other, _)| other.session != lease.session);
                if of_subject.is_empty() {
                    self.leases.remove(&lease.subject);
                }
            }
        }
    }

    /// Removes leases that have expired in the store.
    pub(super) fn remove_older_than(&mut self, age: Duration) {
        self.leases.retain(|_, leases| {
            leases.retain(|(_, since)| since.elapsed() < age);
            !leases.is_empty()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}
