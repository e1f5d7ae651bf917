//! Counts outstanding tickets per owner, so that no owner can fill the store.

use std::{
    collections::{BTreeSet, HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    lock::{Mutex, lock},
    store::{TicketCapacity, TicketKey},
    time::from_now,
};

/// The default quota of a subject: more tickets than anybody has tabs, and few compared to what a store holds.
const DEFAULT_TICKETS: usize = 100;
/// The bytes of content in a quota, per ticket. The claims of the longest token that is accepted by default fit.
const BYTES_PER_TICKET: usize = 10 * 1024;
/// The default quota is at most this fraction of the store: one tenth.
const STORE_FRACTION: usize = 10;
/// The number of tickets that are counted for all owners together, which takes 25 MB.
const MAX_COUNTED: usize = 250_000;

/// Counts the outstanding tickets that this process issued. A ticket that is redeemed on another node counts until it
/// expires.
#[derive(Default)]
pub(super) struct QuotaTracker {
    hasher: RandomState,
    state: Mutex<State>,
}

/// The hash of a subject or a key, with a random seed: nobody can choose one that collides with another.
pub(super) type OwnerId = u64;

#[derive(Default)]
struct State {
    usage: HashMap<OwnerId, Usage>,
    tickets: HashMap<TicketKey, Entry>,
    expiries: BTreeSet<(Instant, TicketKey)>,
}

#[derive(Default)]
struct Usage {
    tickets: usize,
    bytes: usize,
}

struct Entry {
    owners: [Option<OwnerId>; 2],
    bytes: usize,
    expires_at: Instant,
}

/// How much an owner may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    tickets: usize,
    bytes: usize,
}

/// Why a ticket was not counted.
pub(super) enum QuotaError {
    /// An owner has reached its quota.
    Exceeded,
    /// There are too many tickets to count.
    TrackerFull,
}

impl Quota {
    pub(super) const fn of(tickets: usize) -> Self {
        Self { tickets, bytes: tickets.saturating_mul(BYTES_PER_TICKET) }
    }

    /// The default quota of a subject in a store of this capacity.
    pub(super) fn default_for(capacity: &TicketCapacity) -> Self {
        let Self { tickets, bytes } = Self::of(DEFAULT_TICKETS);
        Self {
            tickets: tickets.min(capacity.tickets / STORE_FRACTION).max(1),
            bytes: bytes.min(capacity.bytes / STORE_FRACTION),
        }
    }
}

impl QuotaTracker {
    pub(super) fn owner(&self, key: impl Hash) -> OwnerId {
        self.hasher.hash_one(key)
    }

    /// Counts a ticket for its owners if each of them is below its quota.
    pub(super) fn reserve(
        &self,
        owners: [Option<(OwnerId, Quota)>; 2],
        key: TicketKey,
        bytes: usize,
        lifetime: Duration,
    ) -> Result<(), QuotaError> {
        if owners.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut state = lock(&self.state);
        state.remove_expired();
        if state.tickets.len() >= MAX_COUNTED {
            return Err(QuotaError::TrackerFull);
        }
        let unused = Usage::default();
        let is_below_quota = |(owner, quota): &(OwnerId, Quota)| {
            let usage = state.usage.get(owner).unwrap_or(&unused);
            usage.tickets < quota.tickets && usage.bytes.saturating_add(bytes) <= quota.bytes
        };
        if !owners.iter().flatten().all(is_below_quota) {
            return Err(QuotaError::Exceeded);
        }
        let (owners, expires_at) = (owners.map(|owner| owner.map(|(id, _)| id)), from_now(lifetime));
        for owner in owners.into_iter().flatten() {
            let usage = state.usage.entry(owner).or_default();
            usage.tickets += 1;
            usage.bytes += bytes;
        }
        state.expiries.insert((expires_at, key));
        state.tickets.insert(key, Entry { owners, bytes, expires_at });
        Ok(())
    }

    /// Stops counting a ticket: it was redeemed, or not stored.
    pub(super) fn release(&self, key: TicketKey) {
        lock(&self.state).remove(key);
    }
}

impl State {
    fn remove_expired(&mut self) {
        let now = Instant::now();
        while let Some(&(expires_at, key)) = self.expiries.first()
            && expires_at <= now
        {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: TicketKey) {
        let Some(Entry { owners, bytes, expires_at }) = self.tickets.remove(&key) else { return };
        self.expiries.remove(&(expires_at, key));
        for owner in owners.into_iter().flatten() {
            if let Some(usage) = self.usage.get_mut(&owner) {
                usage.tickets -= 1;
                usage.bytes -= bytes;
                if usage.tickets == 0 {
                    self.usage.remove(&owner);
                }
            }
        }
    }
}
