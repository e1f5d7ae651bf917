use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::ConfigError,
    lock::lock,
    store::{StoreError, TicketCapacity, TicketKey, TicketStore},
    time::from_now,
};

/// Keeps tickets in the memory of one process, for servers that are one machine.
///
/// There is room for 100 000 tickets of 64 MiB together, until they are redeemed or their time is over. One subject gets a small
/// part of it; see [`Tickets::max_per_subject`](super::Tickets::max_per_subject).
pub struct MemoryTickets {
    tickets: Mutex<Shelf>,
    room: TicketCapacity,
}

#[derive(Default)]
struct Shelf {
    tickets: HashMap<TicketKey, Ticket>,
    ends: BTreeSet<(Instant, TicketKey)>,
    bytes: usize,
}

struct Ticket {
    content: Vec<u8>,
    until: Instant,
}

/// What a ticket takes beside its content.
const OVERHEAD: usize = 256;

impl MemoryTickets {
    /// Room for 100 000 tickets, because that is as many as are bought in 30 seconds by clients that all come at once, and for
    /// 64 MiB, because that is what so many take with small claims.
    #[must_use]
    pub fn new() -> Self {
        Self { tickets: Mutex::default(), room: TicketCapacity::new(100_000, 64 * 1024 * 1024) }
    }

    /// Sets for how many tickets there is room.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn capacity(mut self, tickets: usize) -> Result<Self, ConfigError> {
        if tickets == 0 {
            return Err(ConfigError::ZeroLimit("tickets"));
        }
        self.room.tickets = tickets;
        Ok(self)
    }

    /// Sets how many bytes the tickets may take together: their claims as JSON, and 256 bytes for each.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_bytes(mut self, bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 {
            return Err(ConfigError::ZeroLimit("bytes of tickets"));
        }
        self.room.bytes = bytes;
        Ok(self)
    }
}

impl Shelf {
    /// Throws away what nobody has redeemed in time.
    fn clear(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.ends.first()
            && until <= now
        {
            self.take(key);
        }
    }

    fn take(&mut self, key: TicketKey) -> Option<Ticket> {
        let ticket = self.tickets.remove(&key)?;
        self.ends.remove(&(ticket.until, key));
        self.bytes -= size(&ticket.content);
        Some(ticket)
    }
}

fn size(content: &[u8]) -> usize {
    content.len().saturating_add(OVERHEAD)
}

impl TicketStore for MemoryTickets {
    async fn put(&self, key: TicketKey, mut content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        let until = from_now(lifetime);
        let mut shelf = lock(&self.tickets);
        shelf.clear(Instant::now());
        let bytes = shelf.bytes.saturating_add(size(&content));
        if shelf.tickets.len() >= self.room.tickets || bytes > self.room.bytes {
            return Err(StoreError::full());
        }
        if shelf.tickets.contains_key(&key) {
            return Err(StoreError::unavailable());
        }
        content.shrink_to_fit();
        shelf.bytes = bytes;
        shelf.ends.insert((until, key));
        shelf.tickets.insert(key, Ticket { content, until });
        Ok(())
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        let ticket = lock(&self.tickets).take(key);
        Ok(ticket.filter(|ticket| Instant::now() < ticket.until).map(|ticket| ticket.content))
    }

    fn total_capacity(&self) -> TicketCapacity {
        self.room
    }
}

impl Default for MemoryTickets {
    fn default() -> Self {
        Self::new()
    }
}

// By hand: the contents are claims.
impl fmt::Debug for MemoryTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tickets = lock(&self.tickets).tickets.len();
        f.debug_struct("MemoryTickets").field("tickets", &tickets).field("capacity", &self.room.tickets).finish()
    }
}
