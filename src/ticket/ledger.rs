//! Who has how many tickets that were not redeemed, so that nobody takes the places of everybody.

use std::{
    collections::{BTreeSet, HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    lock::lock,
    store::{TicketCapacity, TicketKey},
    time::from_now,
};

/// How many tickets a subject may have by default: more tabs than anybody has, and few beside all that fit into a store.
const TICKETS_EACH: usize = 100;
/// How long the contents of a holder's tickets may be, for each ticket that it may have. The claims of a token of the usual
/// greatest length fit in.
const BYTES_EACH: usize = 10 * 1024;
/// What part of a store's room a subject may have by default.
const PART: usize = 10;
/// How many tickets are counted, whoever has them: 25 MB.
const MOST: usize = 250_000;

/// Counts the tickets that one process has issued. One that was redeemed on another node counts until its time is over.
#[derive(Default)]
pub(super) struct Ledger {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holders: HashMap<u64, Held>,
    tickets: HashMap<TicketKey, Entry>,
    ends: BTreeSet<(Instant, TicketKey)>,
}

#[derive(Default)]
struct Held {
    tickets: usize,
    bytes: usize,
}

struct Entry {
    holders: [Option<u64>; 2],
    bytes: usize,
    until: Instant,
}

/// How much a holder may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    tickets: usize,
    bytes: usize,
}

/// Why a ticket was not counted.
pub(super) enum NoPlace {
    /// A holder has as many as it may have.
    Held,
    /// There are too many of all.
    Full,
}

impl Share {
    pub(super) const fn of(tickets: usize) -> Self {
        Self { tickets, bytes: tickets.saturating_mul(BYTES_EACH) }
    }

    /// What a subject may have by default of such a store.
    pub(super) fn in_room(room: &TicketCapacity) -> Self {
        let Self { tickets, bytes } = Self::of(TICKETS_EACH);
        Self { tickets: tickets.min(room.tickets / PART).max(1), bytes: bytes.min(room.bytes / PART) }
    }
}

impl Ledger {
    /// The name of a holder here: nobody can choose one that is the name of another.
    pub(super) fn holder(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Counts a ticket for its holders, if each of them may have another.
    pub(super) fn reserve(
        &self,
        holders: [Option<(u64, Share)>; 2],
        key: TicketKey,
        bytes: usize,
        lifetime: Duration,
    ) -> Result<(), NoPlace> {
        if holders.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut state = lock(&self.state);
        state.clear();
        if state.tickets.len() >= MOST {
            return Err(NoPlace::Full);
        }
        let none = Held::default();
        let has_place = |(holder, share): &(u64, Share)| {
            let held = state.holders.get(holder).unwrap_or(&none);
            held.tickets < share.tickets && held.bytes.saturating_add(bytes) <= share.bytes
        };
        if !holders.iter().flatten().all(has_place) {
            return Err(NoPlace::Held);
        }
        let (holders, until) = (holders.map(|holder| holder.map(|(name, _)| name)), from_now(lifetime));
        for holder in holders.into_iter().flatten() {
            let held = state.holders.entry(holder).or_default();
            held.tickets += 1;
            held.bytes += bytes;
        }
        state.ends.insert((until, key));
        state.tickets.insert(key, Entry { holders, bytes, until });
        Ok(())
    }

    /// A ticket is redeemed, or was never there.
    pub(super) fn release(&self, key: TicketKey) {
        lock(&self.state).remove(key);
    }
}

impl State {
    fn clear(&mut self) {
        let now = Instant::now();
        while let Some(&(until, key)) = self.ends.first()
            && until <= now
        {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: TicketKey) {
        let Some(Entry { holders, bytes, until }) = self.tickets.remove(&key) else { return };
        self.ends.remove(&(until, key));
        for holder in holders.into_iter().flatten() {
            if let Some(held) = self.holders.get_mut(&holder) {
                held.tickets -= 1;
                held.bytes -= bytes;
                if held.tickets == 0 {
                    self.holders.remove(&holder);
                }
            }
        }
    }
}
