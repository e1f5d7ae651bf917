use std::{collections::VecDeque, fmt, pin::pin, sync::Mutex, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{News, Position, Revocation, RevocationStore};
use crate::{StoreError, lock::lock, session::from_now};

/// Keeps revocations in the memory of one process, for servers that are one machine. They are gone with the process: until
/// their tokens expire, these are good again after a restart.
#[derive(Default)]
pub struct MemoryRevocations {
    log: Mutex<Log>,
    added: Notify,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<Entry>,
    /// That of the newest entry.
    number: u64,
}

struct Entry {
    number: u64,
    revocation: Revocation,
    until: Instant,
}

const HEARTBEAT: Duration = Duration::from_secs(5);

impl MemoryRevocations {
    /// A store without revocations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn after(&self, number: u64) -> News {
        let mut log = lock(&self.log);
        let now = Instant::now();
        // They live for about as long, so those that are over are in front.
        while log.entries.front().is_some_and(|entry| entry.until <= now) {
            log.entries.pop_front();
        }
        let new = log.entries.iter().filter(|entry| entry.number > number);
        let left = |entry: &Entry| entry.until.saturating_duration_since(now);
        let revocations = new.map(|entry| (entry.revocation.clone(), left(entry))).collect();
        News::new(Position(log.number.to_string()), revocations)
    }
}

impl RevocationStore for MemoryRevocations {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        {
            let mut log = lock(&self.log);
            log.number += 1;
            let (number, until) = (log.number, from_now(keep_for));
            log.entries.push_back(Entry { number, revocation: revocation.clone(), until });
        }
        self.added.notify_waiters();
        Ok(())
    }

    async fn load(&self) -> Result<News, StoreError> {
        Ok(self.after(0))
    }

    async fn next(&self, after: Position) -> Result<News, StoreError> {
        let number = after.0.parse().map_err(|_| StoreError::unavailable())?;
        if number > lock(&self.log).number {
            return Err(StoreError::unavailable());
        }
        let heartbeat = from_now(HEARTBEAT);
        loop {
            let mut added = pin!(self.added.notified());
            // From here on nothing is missed.
            added.as_mut().enable();
            let news = self.after(number);
            if !news.revocations.is_empty() || timeout_at(heartbeat, added).await.is_err() {
                return Ok(news);
            }
        }
    }
}

impl fmt::Debug for MemoryRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRevocations").field("entries", &lock(&self.log).entries.len()).finish()
    }
}
