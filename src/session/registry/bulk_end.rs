//! Ends many sessions, and leaves to a task what takes too long.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tokio::{runtime::Handle, task::yield_now};

use super::{
    Filter, Registry,
    scan::{Scan, TIME_SLICE},
};
use crate::{
    lock::lock,
    session::{End, SessionCore, TokenInfo},
};

/// Ends all sessions that match, in a task that is still running. The sessions count as ended already: whatever looks
/// at one of them ends it.
pub(super) struct BulkEnd {
    filter: Filter,
    newest: u64,
    end: End,
}

impl Registry {
    /// Ends sessions, and returns how many had not ended before.
    ///
    /// If that takes longer than a time slice, a task ends the rest, so that the caller's thread is not blocked. All of
    /// them count as ended at once.
    pub(super) fn bulk_end(self: &Arc<Self>, filter: Filter, end: End) -> usize {
        let mut scan = Scan::new(self, filter);
        let start = Instant::now();
        let mut count = 0;
        while let Some(sessions) = scan.next(self) {
            count += end.apply(sessions);
            if start.elapsed() >= TIME_SLICE
                && let Ok(runtime) = Handle::try_current()
            {
                let rest = scan.count_live(self);
                if rest > 0 {
                    let bulk_end = Arc::new(BulkEnd { filter: scan.filter.clone(), newest: scan.newest, end });
                    lock(&self.bulk_ends).push(Arc::clone(&bulk_end));
                    self.has_bulk_ends.store(true, Ordering::SeqCst);
                    runtime.spawn(Arc::clone(self).run_bulk_end(scan, bulk_end));
                }
                return count + rest;
            }
        }
        count
    }

    async fn run_bulk_end(self: Arc<Self>, mut scan: Scan, bulk_end: Arc<BulkEnd>) {
        let mut slice_start = Instant::now();
        while let Some(sessions) = scan.next(&self) {
            sessions.iter().for_each(|session| session.end_in_bulk(bulk_end.end));
            if slice_start.elapsed() >= TIME_SLICE {
                yield_now().await;
                slice_start = Instant::now();
            }
        }
        let mut bulk_ends = lock(&self.bulk_ends);
        bulk_ends.retain(|other| !Arc::ptr_eq(other, &bulk_end));
        self.has_bulk_ends.store(!bulk_ends.is_empty(), Ordering::SeqCst);
    }

    /// The end that a running bulk end has for this session. Called under the lock of the session.
    pub(super) fn bulk_end_of(&self, session: &SessionCore, token: &TokenInfo) -> Option<End> {
        // The common case.
        if !self.has_bulk_ends.load(Ordering::SeqCst) {
            return None;
        }
        let bulk_ends = lock(&self.bulk_ends);
        bulk_ends.iter().find(|bulk_end| bulk_end.matches(session, token)).map(|bulk_end| bulk_end.end)
    }
}

impl BulkEnd {
    fn matches(&self, session: &SessionCore, token: &TokenInfo) -> bool {
        session.id().number() <= self.newest
            && match &self.filter {
                Filter::All => true,
                Filter::Subject(subject) => session.subject() == Some(subject.id()) && session.is_in(subject.scope()),
                Filter::Token(id) => token.id.as_deref() == Some(id.id()) && session.is_in(id.scope()),
                Filter::ProviderSession(id) => {
                    token.provider_session.as_deref() == Some(id.id()) && session.is_in(id.scope())
                }
            }
    }
}

impl End {
    /// Ends these sessions, and yields regularly.
    pub(in crate::session) async fn apply_yielding(self, sessions: impl IntoIterator<Item = Arc<SessionCore>>) {
        let mut slice_start = Instant::now();
        for session in sessions {
            session.end(self);
            if slice_start.elapsed() >= TIME_SLICE {
                yield_now().await;
                slice_start = Instant::now();
            }
        }
    }
}
