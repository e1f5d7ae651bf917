use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{limit::SessionLease, scoped_id::ScopedId};

/// The leases that are over and that the store may still have, each with the moment from which on it cannot.
#[derive(Default)]
pub(super) struct Released(HashMap<ScopedId, Vec<(SessionLease, Instant)>>);

impl Released {
    pub(super) fn add(&mut self, lease: SessionLease) {
        self.0.entry(lease.subject.clone()).or_default().push((lease, Instant::now()));
    }

    pub(super) fn of_subject(&self, subject: &ScopedId) -> Vec<SessionLease> {
        self.0.get(subject).into_iter().flatten().map(|(lease, _)| lease.clone()).collect()
    }

    /// Some of them; those of one subject stand together.
    pub(super) fn some(&self, most: usize) -> Vec<SessionLease> {
        self.0.values().flatten().map(|(lease, _)| lease.clone()).take(most).collect()
    }

    /// The store knows.
    pub(super) fn settle(&mut self, leases: &[SessionLease]) {
        for lease in leases {
            if let Some(of_subject) = self.0.get_mut(&lease.subject) {
                of_subject.retain(|(other, _)| other.session != lease.session);
                if of_subject.is_empty() {
                    self.0.remove(&lease.subject);
                }
            }
        }
    }

    /// Forgets those that have run out by themselves.
    pub(super) fn forget_older_than(&mut self, age: Duration) {
        self.0.retain(|_, leases| {
            leases.retain(|(_, since)| since.elapsed() < age);
            !leases.is_empty()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
