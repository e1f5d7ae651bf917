//! A store of limits in memory that can be made to fail.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{
    AtLimit, ScopedId, SessionId,
    store::{Acquire, Acquired, LeaseQuery, LimitStore, SessionLease, StoreError},
};
use tokio::{
    sync::broadcast,
    task::yield_now,
    time::{Instant, sleep},
};

/// Clones are the same store.
#[derive(Clone)]
pub(crate) struct MemoryLimits(Arc<State>);

pub(crate) struct State {
    leases: Mutex<HashMap<ScopedId, Vec<Entry>>>,
    evictions: broadcast::Sender<SessionId>,
    /// Every operation fails.
    pub(crate) fails: AtomicBool,
    /// Every operation on this subject fails.
    pub(crate) fails_for: Mutex<Option<&'static str>>,
    /// No operation answers.
    pub(crate) hangs: AtomicBool,
    /// `evicted` reports nothing.
    pub(crate) hides_evictions: AtomicBool,
    /// `release` fails.
    pub(crate) release_fails: AtomicBool,
    /// Answers half a second after `acquire` has taken effect, and half a second before `release` does.
    pub(crate) slow: AtomicBool,
    /// `evicted` returns at once, with nothing.
    pub(crate) evicts_nobody: AtomicBool,
    /// How many times each operation was called.
    pub(crate) acquire_calls: AtomicUsize,
    pub(crate) renew_calls: AtomicUsize,
    pub(crate) release_calls: AtomicUsize,
    pub(crate) list_calls: AtomicUsize,
    pub(crate) evicted_calls: AtomicUsize,
    /// How many leases the last `acquire` was to release.
    pub(crate) released_by_acquire: AtomicUsize,
}

struct Entry {
    lease: SessionLease,
    expires_at: Instant,
    is_evicted: bool,
}

impl MemoryLimits {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            leases: Mutex::default(),
            evictions: broadcast::Sender::new(64),
            fails: AtomicBool::new(false),
            fails_for: Mutex::default(),
            hangs: AtomicBool::new(false),
            hides_evictions: AtomicBool::new(false),
            release_fails: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            evicts_nobody: AtomicBool::new(false),
            acquire_calls: AtomicUsize::new(0),
            renew_calls: AtomicUsize::new(0),
            release_calls: AtomicUsize::new(0),
            list_calls: AtomicUsize::new(0),
            evicted_calls: AtomicUsize::new(0),
            released_by_acquire: AtomicUsize::new(0),
        }))
    }

    /// How many leases have not expired.
    pub(crate) fn count(&self) -> usize {
        self.count_of(|_| true)
    }

    pub(crate) fn count_of(&self, matches: impl Fn(&str) -> bool) -> usize {
        let leases = self.leases.lock().expect("no panic");
        let live = |entry: &&Entry| entry.expires_at > Instant::now() && !entry.is_evicted;
        leases.values().flatten().filter(live).filter(|entry| matches(entry.lease.subject.id())).count()
    }

    pub(crate) fn remove_all_leases(&self) {
        self.leases.lock().expect("no panic").clear();
    }

    fn acquire_now(&self, request: Acquire<'_>) -> Acquired {
        let mut leases = self.leases.lock().expect("no panic");
        let of_subject = leases.entry(request.lease.subject.clone()).or_default();
        let is = |entry: &Entry, lease: &SessionLease| entry.lease.session == lease.session;
        let is_released = |entry: &Entry| request.released.iter().chain([request.lease]).any(|lease| is(entry, lease));
        of_subject.retain(|entry| entry.expires_at > Instant::now() && !is_released(entry));
        of_subject.sort_by_key(|entry| entry.lease.accepted);
        let count = of_subject.iter().filter(|entry| !entry.is_evicted).count();
        let excess = (count + 1).saturating_sub(request.limit.get());
        if excess > 0 && request.at_limit == AtLimit::RefuseNew {
            return Acquired::Full;
        }
        let mut evicted = Vec::new();
        let expires_at = Instant::now() + request.lifetime;
        for entry in of_subject.iter_mut().filter(|entry| !entry.is_evicted).take(excess) {
            (entry.is_evicted, entry.expires_at) = (true, expires_at);
            evicted.push(entry.lease.session);
            if !self.hides_evictions.load(SeqCst) {
                let _ = self.evictions.send(entry.lease.session);
            }
        }
        of_subject.push(Entry { lease: request.lease.clone(), expires_at, is_evicted: false });
        Acquired::Taken { evicted }
    }

    async fn delay(&self) {
        if self.slow.load(SeqCst) {
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn check_for(&self, leases: &[SessionLease]) -> Result<(), StoreError> {
        let fails_for = *self.fails_for.lock().expect("no panic");
        if leases.iter().any(|lease| Some(lease.subject.id()) == fails_for) {
            return Err(StoreError::unavailable());
        }
        self.check().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        if self.hangs.load(SeqCst) {
            pending::<()>().await;
        }
        if self.fails.load(SeqCst) { Err(StoreError::unavailable()) } else { Ok(()) }
    }
}

impl std::ops::Deref for MemoryLimits {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl LimitStore for MemoryLimits {
    async fn acquire(&self, request: Acquire<'_>) -> Result<Acquired, StoreError> {
        self.acquire_calls.fetch_add(1, SeqCst);
        self.released_by_acquire.store(request.released.len(), SeqCst);
        self.check_for(std::slice::from_ref(request.lease)).await?;
        let acquired = self.acquire_now(request);
        self.delay().await;
        Ok(acquired)
    }

    async fn renew(&self, renewed: &[SessionLease], lifetime: Duration) -> Result<Vec<SessionId>, StoreError> {
        self.renew_calls.fetch_add(1, SeqCst);
        self.check_for(renewed).await?;
        let mut leases = self.leases.lock().expect("no panic");
        let mut evicted = Vec::new();
        let expires_at = Instant::now() + lifetime;
        for lease in renewed {
            let of_subject = leases.entry(lease.subject.clone()).or_default();
            match of_subject.iter_mut().find(|entry| entry.lease.session == lease.session) {
                Some(entry) if entry.is_evicted => evicted.push(lease.session),
                Some(entry) => (entry.lease, entry.expires_at) = (lease.clone(), expires_at),
                None => of_subject.push(Entry { lease: lease.clone(), expires_at, is_evicted: false }),
            }
        }
        Ok(evicted)
    }

    async fn release(&self, released: &[SessionLease]) -> Result<(), StoreError> {
        self.release_calls.fetch_add(1, SeqCst);
        self.check_for(released).await?;
        self.delay().await;
        if self.release_fails.load(SeqCst) {
            return Err(StoreError::unavailable());
        }
        let mut leases = self.leases.lock().expect("no panic");
        let is_released = |entry: &Entry| released.iter().any(|lease| lease.session == entry.lease.session);
        leases.values_mut().for_each(|of_subject| of_subject.retain(|entry| !is_released(entry)));
        Ok(())
    }

    async fn list(&self, query: LeaseQuery<'_>) -> Result<Vec<SessionLease>, StoreError> {
        self.list_calls.fetch_add(1, SeqCst);
        self.check().await?;
        let leases = self.leases.lock().expect("no panic");
        let is_listed = |entry: &&Entry| {
            let is_live = !entry.is_evicted && entry.expires_at > Instant::now();
            is_live && query.after.is_none_or(|after| entry.lease.cursor() > after)
        };
        let matching = leases.iter().filter(|(subject, _)| query.subject.matches(subject));
        let mut listed: Vec<_> =
            matching.flat_map(|(_, entries)| entries).filter(is_listed).map(|entry| entry.lease.clone()).collect();
        listed.sort_by_key(SessionLease::cursor);
        listed.truncate(query.max);
        Ok(listed)
    }

    async fn evicted(&self) -> Result<Vec<SessionId>, StoreError> {
        self.evicted_calls.fetch_add(1, SeqCst);
        if self.evicts_nobody.load(SeqCst) {
            yield_now().await;
            return Ok(Vec::new());
        }
        let mut evictions = self.evictions.subscribe();
        evictions.recv().await.map(|session| vec![session]).map_err(|_| StoreError::unavailable())
    }
}
