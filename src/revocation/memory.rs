use std::{
    collections::{VecDeque, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    pin::pin,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, timeout_at},
};

use crate::{
    lock::{Mutex, lock},
    store::{Cursor, Revocation, RevocationBatch, RevocationStore, StoreError},
    time::from_now,
};

/// Keeps revocations in memory, for servers that run as one process. A restart forgets them: revoked tokens are then
/// valid again until they expire.
pub struct MemoryRevocations {
    /// Part of each cursor, so that cursors of other logs are rejected.
    id: u64,
    log: Mutex<Log>,
    added: Notify,
}

#[derive(Default)]
struct Log {
    /// With consecutive numbers.
    entries: VecDeque<Entry>,
    /// The number of the newest entry.
    last: u64,
}

struct Entry {
    number: u64,
    revocation: Revocation,
    expires_at: Instant,
}

const HEARTBEAT: Duration = Duration::from_secs(5);
/// How many entries are read while the log is locked.
const PAGE: usize = 1024;

impl MemoryRevocations {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn cursor(&self, number: u64) -> Cursor {
        Cursor(format!("{:016x}:{number}", self.id))
    }

    fn number_of(&self, cursor: &Cursor) -> Result<u64, StoreError> {
        let number = cursor.0.split_once(':').filter(|(id, _)| *id == format!("{:016x}", self.id));
        let number = number.and_then(|(_, number)| number.parse().ok());
        number.filter(|number| *number <= lock(&self.log).last).ok_or_else(StoreError::lost)
    }

    async fn read_after(&self, mut number: u64) -> RevocationBatch {
        let mut revocations = Vec::new();
        while lock(&self.log).read_page(&mut number, &mut revocations) {
            yield_now().await;
        }
        RevocationBatch::new(self.cursor(number), revocations)
    }
}

impl Log {
    /// Reads a page of entries after this number, and advances the number. Returns whether there are more.
    fn read_page(&mut self, number: &mut u64, revocations: &mut Vec<(Revocation, Duration)>) -> bool {
        let now = Instant::now();
        // Entries have similar lifetimes, so expired ones are mostly in front.
        let expired = self.entries.iter().take(PAGE).take_while(|entry| entry.expires_at <= now).count();
        self.entries.drain(..expired);
        let Some(first) = self.entries.front() else {
            *number = self.last;
            return false;
        };
        let known = usize::try_from((*number + 1).saturating_sub(first.number)).unwrap_or(usize::MAX);
        let page = self.entries.range(known.min(self.entries.len())..).take(PAGE);
        let valid = page.filter(|entry| entry.expires_at > now);
        revocations.extend(valid.map(|entry| (entry.revocation.clone(), entry.expires_at - now)));
        *number = self.last.min((*number).max(first.number - 1) + PAGE as u64);
        *number < self.last
    }
}

impl RevocationStore for MemoryRevocations {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        {
            let mut log = lock(&self.log);
            log.last += 1;
            let (number, expires_at) = (log.last, from_now(keep_for));
            log.entries.push_back(Entry { number, revocation: revocation.clone(), expires_at });
        }
        self.added.notify_waiters();
        Ok(())
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        Ok(self.read_after(0).await)
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        let number = self.number_of(&after)?;
        let heartbeat = from_now(HEARTBEAT);
        loop {
            let mut added = pin!(self.added.notified());
            // Notices what is added from here on.
            added.as_mut().enable();
            let batch = self.read_after(number).await;
            if !batch.revocations.is_empty() || timeout_at(heartbeat, added).await.is_err() {
                return Ok(batch);
            }
        }
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Default for MemoryRevocations {
    fn default() -> Self {
        Self { id: RandomState::new().hash_one(()), log: Mutex::default(), added: Notify::new() }
    }
}

impl fmt::Debug for MemoryRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRevocations").field("entries", &lock(&self.log).entries.len()).finish()
    }
}
