//! Iterates over sessions in batches, so that no lock and no runtime thread is held for long.

use std::{
    collections::VecDeque,
    iter::from_fn,
    num::NonZeroU64,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::task::yield_now;

use super::Registry;
use crate::{
    id::{ScopedId, SessionId},
    lock::lock,
    session::SessionCore,
};

/// How many entries are looked at under one lock of a shard. The models in `tests/races` have few sessions.
const BATCH: usize = if cfg!(shuttle) { 1 } else { 256 };

/// How long a call or a task works on many sessions before it yields. The models yield wherever that is possible.
pub(super) const TIME_SLICE: Duration = Duration::from_millis(if cfg!(shuttle) { 0 } else { 1 });

/// Which sessions are meant.
#[derive(Clone)]
pub(super) enum Filter {
    All,
    Subject(ScopedId),
    Token(ScopedId),
    ProviderSession(ScopedId),
}

/// A cursor over the matching sessions that were registered when it was created.
#[derive(Clone)]
pub(super) struct Scan {
    pub(super) filter: Filter,
    /// With the id of a token or a provider session: its hash.
    token: Option<NonZeroU64>,
    /// With a subject: the remaining matching subjects, each with its shard.
    subjects: Option<VecDeque<(usize, ScopedId)>>,
    shard: usize,
    /// The next number in the current shard.
    next: u64,
    pub(super) newest: u64,
}

impl Scan {
    pub(super) fn new(registry: &Registry, filter: Filter) -> Self {
        let token = match &filter {
            Filter::Token(id) => Some(registry.hash_token(id.id())),
            Filter::ProviderSession(id) => Some(registry.hash_provider_session(id.id())),
            Filter::All | Filter::Subject(_) => None,
        };
        let subjects = match &filter {
            Filter::Subject(subject) => {
                let shard = registry.shard_of_subject(subject.id());
                let subjects = registry.shard(shard).matching_subjects(subject);
                Some(subjects.into_iter().map(|subject| (shard, subject)).collect())
            }
            Filter::All | Filter::Token(_) | Filter::ProviderSession(_) => None,
        };
        Self { filter, token, subjects, shard: 0, next: 0, newest: SessionId::newest_number() }
    }

    /// The next sessions, possibly none; `None` after the last.
    pub(super) fn next(&mut self, registry: &Registry) -> Option<Vec<Arc<SessionCore>>> {
        let (sessions, last) = match &mut self.subjects {
            // `BTreeMap::range` panics if the start is greater than the end.
            _ if self.next > self.newest => (Vec::new(), None),
            Some(subjects) => {
                let (shard, subject) = subjects.front()?;
                registry.shard(*shard).batch_of_subject(subject, self.next..=self.newest, BATCH)
            }
            None => {
                let shard = registry.shards.get(self.shard)?;
                lock(shard).batch(self.token, self.next..=self.newest, BATCH)
            }
        };
        match last {
            Some(last) => self.next = last + 1,
            None => {
                self.next = 0;
                match &mut self.subjects {
                    Some(subjects) => drop(subjects.pop_front()?),
                    None => self.shard += 1,
                }
            }
        }
        let (Filter::Token(id) | Filter::ProviderSession(id)) = &self.filter else { return Some(sessions) };
        Some(sessions.into_iter().filter(|session| session.is_in(id.scope())).collect())
    }

    /// How many of the remaining sessions have not ended.
    pub(super) fn count_live(&self, registry: &Registry) -> usize {
        match (&self.filter, &self.subjects) {
            // A running bulk end may have ended some of them. This is rare, and slow.
            _ if registry.has_bulk_ends.load(Ordering::SeqCst) => {
                let mut rest = self.clone();
                from_fn(|| rest.next(registry)).flatten().filter(|session| session.end_reason().is_none()).count()
            }
            (Filter::All, _) => registry.shards.iter().map(|shard| lock(shard).live()).sum(),
            (_, Some(subjects)) => {
                subjects.iter().map(|(shard, subject)| registry.shard(*shard).live_of_subject(subject)).sum()
            }
            (_, None) => {
                let mut rest = self.clone();
                let sessions = from_fn(|| rest.next(registry)).flatten();
                sessions.filter(|session| !session.has_ended()).count()
            }
        }
    }
}

impl Registry {
    pub(super) fn scan(&self, filter: Filter) -> impl Iterator<Item = Arc<SessionCore>> + '_ {
        let mut scan = Scan::new(self, filter);
        from_fn(move || scan.next(self)).flatten()
    }

    /// Collects the sessions that satisfy this, and yields regularly.
    pub(in crate::session) async fn collect(&self, predicate: impl Fn(&SessionCore) -> bool) -> Vec<Arc<SessionCore>> {
        self.collect_from(Filter::All, predicate).await
    }

    pub(super) async fn collect_from(
        &self,
        filter: Filter,
        predicate: impl Fn(&SessionCore) -> bool,
    ) -> Vec<Arc<SessionCore>> {
        let mut scan = Scan::new(self, filter);
        let mut all = Vec::new();
        let mut slice_start = Instant::now();
        while let Some(sessions) = scan.next(self) {
            all.extend(sessions.into_iter().filter(|session| predicate(session)));
            if slice_start.elapsed() >= TIME_SLICE {
                yield_now().await;
                slice_start = Instant::now();
            }
        }
        all
    }
}
