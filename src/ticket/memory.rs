use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;

use super::{TicketKey, TicketStore};
use crate::{ConfigError, StoreError, lock::lock, session::from_now};

/// Keeps tickets in the memory of one process, for servers that are one machine.
pub struct MemoryTickets {
    tickets: Mutex<Shelf>,
    capacity: usize,
}

#[derive(Default)]
struct Shelf {
    tickets: HashMap<TicketKey, Ticket>,
    /// In the order in which they came. As they live for about as long, that is about the order in which they go.
    ends: VecDeque<(Instant, TicketKey)>,
}

struct Ticket {
    content: Vec<u8>,
    until: Instant,
}

impl MemoryTickets {
    /// Room for 100 000 tickets, because that is as many as are bought in 30 seconds by clients that all come at once.
    #[must_use]
    pub fn new() -> Self {
        Self { tickets: Mutex::default(), capacity: 100_000 }
    }

    /// Sets for how many tickets there is room.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn capacity(self, tickets: usize) -> Result<Self, ConfigError> {
        if tickets == 0 {
            return Err(ConfigError::ZeroLimit("tickets"));
        }
        Ok(Self { capacity: tickets, ..self })
    }
}

impl Shelf {
    /// Throws away what nobody has redeemed in time.
    fn clear(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.ends.front()
            && until <= now
        {
            self.ends.pop_front();
            if self.tickets.get(&key).is_some_and(|ticket| ticket.until <= now) {
                self.tickets.remove(&key);
            }
        }
    }
}

impl TicketStore for MemoryTickets {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        let until = from_now(lifetime);
        let mut shelf = lock(&self.tickets);
        shelf.clear(Instant::now());
        // Redeemed ones leave their ends behind, so these are what is counted.
        if shelf.ends.len() >= self.capacity {
            return Err(StoreError::full());
        }
        if shelf.tickets.contains_key(&key) {
            return Err(StoreError::unavailable());
        }
        shelf.ends.push_back((until, key));
        shelf.tickets.insert(key, Ticket { content, until });
        Ok(())
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        let ticket = lock(&self.tickets).tickets.remove(&key);
        Ok(ticket.filter(|ticket| Instant::now() < ticket.until).map(|ticket| ticket.content))
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
        f.debug_struct("MemoryTickets").field("tickets", &tickets).field("capacity", &self.capacity).finish()
    }
}
