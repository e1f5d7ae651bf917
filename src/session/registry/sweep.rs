//! Goes through the sessions a few at a time, so that no call holds a lock, or a thread of the runtime, for long.

use std::{
    collections::VecDeque,
    iter::from_fn,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::yield_now};

use super::inner::Registry;
use crate::{
    id::{ScopedId, SessionId},
    lock::lock,
    session::{End, SessionCore},
};

/// How many entries are looked at while a shard is locked.
const SLICE: usize = 256;
/// For how long a call or a task works on many sessions before others run.
const STRETCH: Duration = Duration::from_millis(1);

/// Which sessions are meant.
#[derive(Clone)]
pub(in crate::session) enum Which {
    All,
    OfSubject(ScopedId),
    OfToken(ScopedId),
}

/// A way through those that were registered when it began.
#[derive(Clone)]
pub(super) struct Sweep {
    which: Which,
    /// The hash of the token's id.
    token: u64,
    /// Each with the shard that it is in, where some subjects are meant.
    subjects: Option<VecDeque<(usize, ScopedId)>>,
    shard: usize,
    from: u64,
    upto: u64,
}

/// An order that a task is still carrying out. It holds for all sessions already: one that is looked at meanwhile ends
/// there and then.
pub(super) struct Order {
    which: Which,
    upto: u64,
    end: End,
}

impl Sweep {
    fn new(registry: &Registry, which: Which) -> Self {
        let token = match &which {
            Which::OfToken(id) => registry.hash(id.id()),
            Which::All | Which::OfSubject(_) => 0,
        };
        let subjects = match &which {
            Which::OfSubject(subject) => {
                let shard = registry.shard_of(subject.id());
                Some(registry.shard(shard).namesakes(subject).into_iter().map(|subject| (shard, subject)).collect())
            }
            Which::All | Which::OfToken(_) => None,
        };
        Self { which, token, subjects, shard: 0, from: 0, upto: SessionId::newest() }
    }

    /// Some more, perhaps none; `None` after the last.
    fn next(&mut self, registry: &Registry) -> Option<Vec<Arc<SessionCore>>> {
        let (lives, last) = match &mut self.subjects {
            // An inclusive range that is turned around is a fault to the map.
            _ if self.from > self.upto => (Vec::new(), None),
            Some(subjects) => {
                let (shard, subject) = subjects.front()?;
                registry.shard(*shard).some_of_subject(subject, self.from..=self.upto, SLICE)
            }
            None => {
                let shard = registry.shards.get(self.shard)?;
                let token = matches!(self.which, Which::OfToken(_)).then_some(self.token);
                lock(shard).some(token, self.from..=self.upto, SLICE)
            }
        };
        match last {
            Some(last) => self.from = last + 1,
            None => {
                self.from = 0;
                match &mut self.subjects {
                    Some(subjects) => drop(subjects.pop_front()?),
                    None => self.shard += 1,
                }
            }
        }
        let Which::OfToken(id) = &self.which else { return Some(lives) };
        Some(lives.into_iter().filter(|core| core.is_in(id.scope())).collect())
    }

    /// How many are left that have not ended.
    fn left(&self, registry: &Registry) -> usize {
        match (&self.which, &self.subjects) {
            // Some may be ended by an earlier order already. This is as rare as it is slow.
            _ if registry.has_orders.load(Ordering::SeqCst) => {
                let mut rest = self.clone();
                from_fn(|| rest.next(registry)).flatten().filter(|core| core.end_reason().is_none()).count()
            }
            (Which::All, _) => registry.shards.iter().map(|shard| lock(shard).live()).sum(),
            (_, Some(subjects)) => {
                subjects.iter().map(|(shard, subject)| registry.shard(*shard).live_of_subject(subject)).sum()
            }
            (_, None) => {
                let mut rest = self.clone();
                let lives = from_fn(|| rest.next(registry)).flatten();
                lives.filter(|core| !core.has_ended()).count()
            }
        }
    }
}

impl Registry {
    /// Goes through them, a few of them at a time.
    pub(super) fn those(&self, which: Which) -> impl Iterator<Item = Arc<SessionCore>> + '_ {
        let mut sweep = Sweep::new(self, which);
        from_fn(move || sweep.next(self)).flatten()
    }

    /// Ends sessions, and returns how many had not ended before.
    ///
    /// Where they are very many, a task ends the rest, so that the caller's is not held up. The order holds for them all
    /// at once.
    pub(super) fn end_those(self: &Arc<Self>, which: Which, end: End) -> usize {
        let mut sweep = Sweep::new(self, which);
        let began = Instant::now();
        let mut count = 0;
        while let Some(lives) = sweep.next(self) {
            count += end.apply(lives);
            if began.elapsed() >= STRETCH
                && let Ok(runtime) = Handle::try_current()
            {
                let left = sweep.left(self);
                if left > 0 {
                    let order = Arc::new(Order { which: sweep.which.clone(), upto: sweep.upto, end });
                    lock(&self.orders).push(Arc::clone(&order));
                    self.has_orders.store(true, Ordering::SeqCst);
                    runtime.spawn(Arc::clone(self).carry_out(sweep, order));
                }
                return count + left;
            }
        }
        count
    }

    async fn carry_out(self: Arc<Self>, mut sweep: Sweep, order: Arc<Order>) {
        let mut began = Instant::now();
        while let Some(lives) = sweep.next(&self) {
            lives.iter().for_each(|core| core.end_by_order(order.end));
            if began.elapsed() >= STRETCH {
                yield_now().await;
                began = Instant::now();
            }
        }
        let mut orders = lock(&self.orders);
        orders.retain(|other| !Arc::ptr_eq(other, &order));
        self.has_orders.store(!orders.is_empty(), Ordering::SeqCst);
    }

    /// How a session is to end by an order that is being carried out. Called while the session is locked.
    pub(in crate::session) fn ordered(&self, core: &SessionCore, token_id: Option<&str>) -> Option<End> {
        // Rare.
        if !self.has_orders.load(Ordering::SeqCst) {
            return None;
        }
        let orders = lock(&self.orders);
        orders.iter().find(|order| order.is_about(core, token_id)).map(|order| order.end)
    }

    /// Collects the sessions that fit, without holding up the task's thread.
    pub(in crate::session) async fn collect(&self, fits: impl Fn(&SessionCore) -> bool) -> Vec<Arc<SessionCore>> {
        let mut sweep = Sweep::new(self, Which::All);
        let mut all = Vec::new();
        let mut began = Instant::now();
        while let Some(lives) = sweep.next(self) {
            all.extend(lives.into_iter().filter(|core| fits(core)));
            if began.elapsed() >= STRETCH {
                yield_now().await;
                began = Instant::now();
            }
        }
        all
    }
}

impl Order {
    fn is_about(&self, core: &SessionCore, token_id: Option<&str>) -> bool {
        core.id().number() <= self.upto
            && match &self.which {
                Which::All => true,
                Which::OfSubject(subject) => core.subject() == Some(subject.id()) && core.is_in(subject.scope()),
                Which::OfToken(id) => token_id == Some(id.id()) && core.is_in(id.scope()),
            }
    }
}

impl End {
    /// Ends sessions without holding up the task's thread.
    pub(in crate::session) async fn apply_slowly(self, lives: impl IntoIterator<Item = Arc<SessionCore>>) {
        let mut began = Instant::now();
        for core in lives {
            core.end(self);
            if began.elapsed() >= STRETCH {
                yield_now().await;
                began = Instant::now();
            }
        }
    }
}
