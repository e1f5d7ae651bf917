//! Lists the sessions of a subject, on all nodes that share a store.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    slice, vec,
};

use super::{Filter, Registry, SessionInfo, Sessions};
use crate::{
    id::{ScopedId, SessionCursor, SessionId},
    session::SessionCore,
    store::{LeaseQuery, SessionLease, StoreError},
};

/// A request for the live sessions of a subject; see [`Sessions::of_subject`]. Await it, or [`find`](Self::find) one.
#[derive(Clone)]
#[must_use = "nothing is listed unless this is awaited"]
pub struct OfSubject {
    sessions: Sessions,
    subject: ScopedId,
    after: Option<SessionCursor>,
    limit: usize,
}

/// Some sessions of a subject, the oldest first; see [`Sessions::of_subject`].
#[derive(Clone, Debug)]
pub struct SessionPage {
    sessions: Vec<SessionInfo>,
    has_more: bool,
}

const DEFAULT_LIMIT: usize = 100;
pub(super) const MAX_LIMIT: usize = 1000;

impl OfSubject {
    pub(super) const fn new(sessions: Sessions, subject: ScopedId) -> Self {
        Self { sessions, subject, after: None, limit: DEFAULT_LIMIT }
    }

    /// Sets where the page begins: after this place, which [`SessionPage::next`] of the page before returned. Defaults
    /// to the beginning of the list.
    pub fn after(self, cursor: impl Into<Option<SessionCursor>>) -> Self {
        Self { after: cursor.into(), ..self }
    }

    /// Sets how many sessions the page has at most. Defaults to 100. Less than one means one, and more than 1000 means
    /// 1000, so that the number may come from a client.
    pub fn limit(self, sessions: usize) -> Self {
        Self { limit: sessions.clamp(1, MAX_LIMIT), ..self }
    }

    /// Finds one live session of the subject, on whatever node it is. `None` if there is no such session, or it is
    /// another subject's. Call it before you let a user end a session by its id.
    ///
    /// The list is read from its beginning, whatever [`after`](Self::after) and [`limit`](Self::limit) are. A session
    /// of this node is found without the store.
    ///
    /// # Errors
    ///
    /// As for the [list](Sessions::of_subject).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn find(self, id: SessionId) -> Result<Option<SessionInfo>, StoreError> {
        let registry = &self.sessions.0;
        let is_own = |session: &SessionCore| is_listed(session) && is_of(&self.subject, session);
        if let Some(session) = registry.get(id).filter(|session| is_own(session)) {
            return Ok(Some(SessionInfo::of(&session)));
        }
        let mut after = None;
        loop {
            let page = registry.page(&self.subject, after, MAX_LIMIT).await?;
            after = page.next();
            let found = page.into_iter().find(|session| session.id() == id);
            if found.is_some() || after.is_none() {
                return Ok(found);
            }
        }
    }
}

impl IntoFuture for OfSubject {
    type Output = Result<SessionPage, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.sessions.0.page(&self.subject, self.after, self.limit).await })
    }
}

impl SessionPage {
    /// The sessions, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> &[SessionInfo] {
        &self.sessions
    }

    /// Where the next page begins, for [`OfSubject::after`]. `None` if there are no more sessions.
    #[must_use]
    pub fn next(&self) -> Option<SessionCursor> {
        self.sessions.last().filter(|_| self.has_more).map(SessionInfo::cursor)
    }
}

impl IntoIterator for SessionPage {
    type Item = SessionInfo;
    type IntoIter = vec::IntoIter<SessionInfo>;

    fn into_iter(self) -> Self::IntoIter {
        self.sessions.into_iter()
    }
}

impl<'a> IntoIterator for &'a SessionPage {
    type Item = &'a SessionInfo;
    type IntoIter = slice::Iter<'a, SessionInfo>;

    fn into_iter(self) -> Self::IntoIter {
        self.sessions.iter()
    }
}

impl fmt::Debug for OfSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfSubject")
            .field("subject", &self.subject)
            .field("after", &self.after)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Registry {
    pub(super) async fn page(
        &self,
        subject: &ScopedId,
        after: Option<SessionCursor>,
        limit: usize,
    ) -> Result<SessionPage, StoreError> {
        // One more than the page has, to know whether there are more.
        let mut sessions = self.local(subject, after, limit + 1).await;
        if let Some(limits) = &self.shared_limits {
            let mut read = after;
            loop {
                let leases = limits.list(LeaseQuery::new(subject, limit + 1).after(read)).await?;
                let last = leases.last().map(SessionLease::cursor);
                // A store must make progress.
                let is_last = leases.len() <= limit || last <= read;
                read = last;
                // This node knows its own sessions better.
                let is_remote = |lease: &&SessionLease| lease.session.node() != self.node;
                let remote = leases.iter().filter(is_remote).filter(|lease| subject.matches(&lease.subject));
                sessions.extend(remote.map(|lease| (lease.cursor(), SessionInfo::of_lease(lease))));
                let is_complete = read.is_none_or(|read| sessions.range(..=read).count() > limit);
                if is_last || is_complete {
                    break;
                }
            }
        }
        let has_more = sessions.len() > limit;
        Ok(SessionPage { sessions: sessions.into_values().take(limit).collect(), has_more })
    }

    /// The oldest sessions of this registry after this place.
    async fn local(
        &self,
        subject: &ScopedId,
        after: Option<SessionCursor>,
        max: usize,
    ) -> BTreeMap<SessionCursor, SessionInfo> {
        let place = |session: &SessionCore| SessionCursor::new(session.connected_at(), session.id());
        let is_after = |session: &SessionCore| after.is_none_or(|after| place(session) > after);
        let filter = Filter::Subject(subject.clone());
        let mut sessions = self.collect_from(filter, |session| is_after(session) && is_listed(session)).await;
        sessions.sort_by_cached_key(|session| place(session));
        sessions.iter().take(max).map(|session| (place(session), SessionInfo::of(session))).collect()
    }
}

fn is_listed(session: &SessionCore) -> bool {
    session.end_reason().is_none() && session.is_counted()
}

fn is_of(subject: &ScopedId, session: &SessionCore) -> bool {
    session.subject() == Some(subject.id()) && session.is_in(subject.scope())
}
