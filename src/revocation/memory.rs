use std::{
    collections::{VecDeque, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    pin::pin,
    sync::Mutex,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, timeout_at},
};

use crate::{
    lock::lock,
    store::{Cursor, Revocation, RevocationBatch, RevocationStore, StoreError},
    time::from_now,
};

/// Keeps revocations in the memory of one process, for servers that are one machine. They are gone with the process: until
/// their tokens expire, these are good again after a restart.
pub struct MemoryRevocations {
    /// Tells the positions in this log from those in any other.
    name: u64,
    log: Mutex<Log>,
    added: Notify,
}

#[derive(Default)]
struct Log {
    /// Their numbers follow each other.
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
/// How many entries are looked at while the log is locked.
const SLICE: usize = 1024;

impl MemoryRevocations {
    /// A store without revocations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn cursor(&self, number: u64) -> Cursor {
        Cursor(format!("{:016x}:{number}", self.name))
    }

    fn number_of(&self, cursor: &Cursor) -> Result<u64, StoreError> {
        let number = cursor.0.split_once(':').filter(|(name, _)| *name == format!("{:016x}", self.name));
        let number = number.and_then(|(_, number)| number.parse().ok());
        number.filter(|number| *number <= lock(&self.log).number).ok_or_else(StoreError::lost)
    }

    async fn after(&self, mut number: u64) -> RevocationBatch {
        let mut revocations = Vec::new();
        while lock(&self.log).slice_after(&mut number, &mut revocations) {
            yield_now().await;
        }
        RevocationBatch::new(self.cursor(number), revocations)
    }
}

impl Log {
    /// Reads some of what comes after this number, and moves it on. Returns whether there is more.
    fn slice_after(&mut self, number: &mut u64, revocations: &mut Vec<(Revocation, Duration)>) -> bool {
        let now = Instant::now();
        // They live for about as long, so those that are over are in front.
        let over = self.entries.iter().take(SLICE).take_while(|entry| entry.until <= now).count();
        self.entries.drain(..over);
        let Some(first) = self.entries.front() else {
            *number = self.number;
            return false;
        };
        let known = usize::try_from((*number + 1).saturating_sub(first.number)).unwrap_or(usize::MAX);
        let slice = self.entries.range(known.min(self.entries.len())..).take(SLICE);
        let current = slice.filter(|entry| entry.until > now);
        revocations.extend(current.map(|entry| (entry.revocation.clone(), entry.until - now)));
        *number = self.number.min((*number).max(first.number - 1) + SLICE as u64);
        *number < self.number
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

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        Ok(self.after(0).await)
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        let number = self.number_of(&after)?;
        let heartbeat = from_now(HEARTBEAT);
        loop {
            let mut added = pin!(self.added.notified());
            // From here on nothing is missed.
            added.as_mut().enable();
            let news = self.after(number).await;
            if !news.revocations.is_empty() || timeout_at(heartbeat, added).await.is_err() {
                return Ok(news);
            }
        }
    }
}

impl Default for MemoryRevocations {
    fn default() -> Self {
        Self { name: RandomState::new().hash_one(()), log: Mutex::default(), added: Notify::new() }
    }
}

impl fmt::Debug for MemoryRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRevocations").field("entries", &lock(&self.log).entries.len()).finish()
    }
}
