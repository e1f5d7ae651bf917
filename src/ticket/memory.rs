use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::ConfigError,
    lock::{Mutex, lock},
    store::{StoreError, TicketCapacity, TicketKey, TicketStore},
    time::from_now,
};

/// Keeps tickets in memory, for servers that run as one process.
///
/// Holds up to 100 000 outstanding tickets that take 64 MiB together. One subject gets a small part of that; see
/// [`Tickets::max_per_subject`](super::Tickets::max_per_subject).
pub struct MemoryTickets {
    state: Mutex<State>,
    capacity: TicketCapacity,
}

#[derive(Default)]
struct State {
    tickets: HashMap<TicketKey, Ticket>,
    expiries: BTreeSet<(Instant, TicketKey)>,
    bytes: usize,
}

struct Ticket {
    content: Vec<u8>,
    expires_at: Instant,
}

/// The bytes that a ticket takes besides its content.
const OVERHEAD: usize = 256;

impl MemoryTickets {
    /// A capacity of 100 000 tickets, because so many are requested within 30 seconds when all clients of a large
    /// server reconnect, and of 64 MiB, because so many tickets with small claims take that much.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), capacity: TicketCapacity::new(100_000, 64 * 1024 * 1024) }
    }

    /// Sets how many outstanding tickets the store holds. Beyond that it is [full](crate::store::StoreErrorKind::Full).
    /// Defaults to 100 000.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn capacity(mut self, tickets: usize) -> Result<Self, ConfigError> {
        if tickets == 0 {
            return Err(ConfigError::ZeroLimit("tickets"));
        }
        self.capacity.tickets = tickets;
        Ok(self)
    }

    /// Sets how many bytes the tickets may take together: their claims as JSON, and 256 bytes for each. Defaults to 64
    /// MiB.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_bytes(mut self, bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 {
            return Err(ConfigError::ZeroLimit("bytes of tickets"));
        }
        self.capacity.bytes = bytes;
        Ok(self)
    }

    /// Returns `false` if the key exists.
    fn put_new(&self, key: TicketKey, mut content: Vec<u8>, lifetime: Duration) -> Result<bool, StoreError> {
        let expires_at = from_now(lifetime);
        let mut state = lock(&self.state);
        state.remove_expired(Instant::now());
        if state.tickets.contains_key(&key) {
            return Ok(false);
        }
        let bytes = state.bytes.saturating_add(size(&content));
        if state.tickets.len() >= self.capacity.tickets || bytes > self.capacity.bytes {
            return Err(StoreError::full());
        }
        content.shrink_to_fit();
        state.bytes = bytes;
        state.expiries.insert((expires_at, key));
        state.tickets.insert(key, Ticket { content, expires_at });
        Ok(true)
    }
}

impl State {
    fn remove_expired(&mut self, now: Instant) {
        while let Some(&(expires_at, key)) = self.expiries.first()
            && expires_at <= now
        {
            self.take(key);
        }
    }

    fn take(&mut self, key: TicketKey) -> Option<Ticket> {
        let ticket = self.tickets.remove(&key)?;
        self.expiries.remove(&(ticket.expires_at, key));
        self.bytes -= size(&ticket.content);
        Some(ticket)
    }
}

fn size(content: &[u8]) -> usize {
    content.len().saturating_add(OVERHEAD)
}

impl TicketStore for MemoryTickets {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        if self.put_new(key, content, lifetime)? { Ok(()) } else { Err(StoreError::unavailable()) }
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        let ticket = lock(&self.state).take(key);
        Ok(ticket.filter(|ticket| Instant::now() < ticket.expires_at).map(|ticket| ticket.content))
    }

    async fn use_once(&self, key: TicketKey, lifetime: Duration) -> Result<bool, StoreError> {
        self.put_new(key, Vec::new(), lifetime)
    }

    fn total_capacity(&self) -> TicketCapacity {
        self.capacity
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
        let tickets = lock(&self.state).tickets.len();
        f.debug_struct("MemoryTickets").field("tickets", &tickets).field("capacity", &self.capacity.tickets).finish()
    }
}
