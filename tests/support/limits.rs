//! A store of limits in the memory of the test, which can be had not to work.

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
    store::{Acquire, Acquired, LimitStore, SessionLease, StoreError},
};
use tokio::{
    sync::broadcast,
    time::{Instant, sleep},
};

/// Clones are the same store.
#[derive(Clone)]
pub(crate) struct MemoryLimits(Arc<State>);

pub(crate) struct State {
    leases: Mutex<HashMap<ScopedId, Vec<Held>>>,
    told: broadcast::Sender<SessionId>,
    /// Answers with an error.
    pub(crate) broken: AtomicBool,
    /// Answers with an error for this subject.
    pub(crate) broken_for: Mutex<Option<&'static str>>,
    /// Does not answer.
    pub(crate) silent: AtomicBool,
    /// Does not tell of evictions.
    pub(crate) discreet: AtomicBool,
    /// Does not release.
    pub(crate) keeping: AtomicBool,
    /// Answers after half a second: what was asked for has happened by then, and a release happens only then.
    pub(crate) slow: AtomicBool,
    /// How often it was asked for a lease.
    pub(crate) asked: AtomicUsize,
    /// How many were to be released when it was last asked for one.
    pub(crate) carried: AtomicUsize,
}

struct Held {
    lease: SessionLease,
    until: Instant,
    is_evicted: bool,
}

impl MemoryLimits {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            leases: Mutex::default(),
            told: broadcast::Sender::new(64),
            broken: AtomicBool::new(false),
            broken_for: Mutex::default(),
            silent: AtomicBool::new(false),
            discreet: AtomicBool::new(false),
            keeping: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            carried: AtomicUsize::new(0),
        }))
    }

    /// How many leases there are that have not run out.
    pub(crate) fn count(&self) -> usize {
        self.count_of(|_| true)
    }

    pub(crate) fn count_of(&self, is_one: impl Fn(&str) -> bool) -> usize {
        let leases = self.leases.lock().expect("no panic");
        let live = |held: &&Held| held.until > Instant::now() && !held.is_evicted;
        leases.values().flatten().filter(live).filter(|held| is_one(held.lease.subject.id())).count()
    }

    pub(crate) fn forget_everything(&self) {
        self.leases.lock().expect("no panic").clear();
    }

    fn take(&self, request: Acquire<'_>) -> Acquired {
        let mut leases = self.leases.lock().expect("no panic");
        let of_subject = leases.entry(request.lease.subject.clone()).or_default();
        let over = |held: &Held| request.released.contains(&held.lease) || held.lease == *request.lease;
        of_subject.retain(|held| held.until > Instant::now() && !over(held));
        of_subject.sort_by_key(|held| held.lease.accepted);
        let count = of_subject.iter().filter(|held| !held.is_evicted).count();
        let more = (count + 1).saturating_sub(request.limit.get());
        if more > 0 && request.at_limit == AtLimit::RefuseNew {
            return Acquired::Full;
        }
        let mut evicted = Vec::new();
        let until = Instant::now() + request.lifetime;
        for held in of_subject.iter_mut().filter(|held| !held.is_evicted).take(more) {
            (held.is_evicted, held.until) = (true, until);
            evicted.push(held.lease.session);
            if !self.discreet.load(SeqCst) {
                let _ = self.told.send(held.lease.session);
            }
        }
        of_subject.push(Held { lease: request.lease.clone(), until, is_evicted: false });
        Acquired::Taken { evicted }
    }

    async fn pause(&self) {
        if self.slow.load(SeqCst) {
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn works_for(&self, leases: &[SessionLease]) -> Result<(), StoreError> {
        let broken = *self.broken_for.lock().expect("no panic");
        if leases.iter().any(|lease| Some(lease.subject.id()) == broken) {
            return Err(StoreError::unavailable());
        }
        self.works().await
    }

    async fn works(&self) -> Result<(), StoreError> {
        if self.silent.load(SeqCst) {
            pending::<()>().await;
        }
        if self.broken.load(SeqCst) { Err(StoreError::unavailable()) } else { Ok(()) }
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
        self.asked.fetch_add(1, SeqCst);
        self.carried.store(request.released.len(), SeqCst);
        self.works_for(std::slice::from_ref(request.lease)).await?;
        let acquired = self.take(request);
        self.pause().await;
        Ok(acquired)
    }

    async fn renew(&self, renewed: &[SessionLease], lifetime: Duration) -> Result<Vec<SessionId>, StoreError> {
        self.works_for(renewed).await?;
        let mut leases = self.leases.lock().expect("no panic");
        let mut evicted = Vec::new();
        let until = Instant::now() + lifetime;
        for lease in renewed {
            let of_subject = leases.entry(lease.subject.clone()).or_default();
            match of_subject.iter_mut().find(|held| held.lease == *lease) {
                Some(held) if held.is_evicted => evicted.push(lease.session),
                Some(held) => held.until = until,
                None => of_subject.push(Held { lease: lease.clone(), until, is_evicted: false }),
            }
        }
        Ok(evicted)
    }

    async fn release(&self, released: &[SessionLease]) -> Result<(), StoreError> {
        self.works_for(released).await?;
        self.pause().await;
        if self.keeping.load(SeqCst) {
            return Err(StoreError::unavailable());
        }
        let mut leases = self.leases.lock().expect("no panic");
        leases.values_mut().for_each(|of_subject| of_subject.retain(|held| !released.contains(&held.lease)));
        Ok(())
    }

    async fn evicted(&self) -> Result<Vec<SessionId>, StoreError> {
        let mut told = self.told.subscribe();
        told.recv().await.map(|session| vec![session]).map_err(|_| StoreError::unavailable())
    }
}
