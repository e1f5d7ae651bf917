//! All revocations that one node knows of.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    order::Target,
    sharded::{SHARDS, Sharded},
};
use crate::{
    id::{Scoped, ScopedId, SessionId},
    store::Revocation,
    time::from_now,
};

#[derive(Default)]
pub(super) struct Set {
    tokens: Sharded<ScopedId, Kept>,
    sessions: Sharded<SessionId, Kept>,
    subjects: Sharded<ScopedId, (SystemTime, Kept)>,
    issued_until: Option<(SystemTime, Kept)>,
}

/// The number of a load of the store; later ones are greater.
pub(super) type Load = u64;
/// Of an order that the store has not shown to this node.
pub(super) const NEVER: Load = 0;
/// In how many steps the whole set is looked at.
pub(super) const SLICES: usize = SHARDS;

#[derive(Clone, Copy)]
struct Kept {
    /// When nothing can depend on it any more.
    until: Instant,
    /// The last load that contained it, itself or in the news that followed.
    seen: Load,
}

/// An order that the store does not have, or has not shown yet.
pub(super) struct Unseen {
    pub(super) order: Revocation,
    pub(super) keep_for: Duration,
    /// Whether the store had it before.
    pub(super) was_there: bool,
}

impl Set {
    /// Returns whether it may revoke something that was not revoked before.
    pub(super) fn add(&mut self, order: &Revocation, keep_for: Duration, seen: Load) -> bool {
        let new = Kept { until: from_now(keep_for), seen };
        match order {
            Revocation::Token(id) => match self.tokens.get_mut(id as &dyn Scoped) {
                Some(kept) => kept.extend(new),
                None => {
                    self.tokens.insert(id.clone(), new, Kept::is_over);
                    true
                }
            },
            Revocation::Session(id) => match self.sessions.get_mut(id) {
                Some(kept) => kept.extend(new),
                None => {
                    self.sessions.insert(*id, new, Kept::is_over);
                    true
                }
            },
            Revocation::Subject { subject, until } => match self.subjects.get_mut(subject as &dyn Scoped) {
                Some(entry) => later(entry, *until, new),
                None => {
                    self.subjects.insert(subject.clone(), (*until, new), |(_, kept)| kept.is_over());
                    true
                }
            },
            Revocation::IssuedUntil(moment) => match &mut self.issued_until {
                Some(entry) => later(entry, *moment, new),
                None => {
                    self.issued_until = Some((*moment, new));
                    true
                }
            },
        }
    }

    pub(super) fn has(&self, target: Target<'_>, clock_skew: Duration) -> bool {
        let now = Instant::now();
        let named = |kept: Option<&Kept>| kept.is_some_and(|kept| now < kept.until);
        let by_time = |order: Option<&(SystemTime, Kept)>| {
            order.is_some_and(|&(moment, kept)| now < kept.until && target.was_issued_by(moment, clock_skew))
        };
        let is_token = |id| target.named(id).iter().any(|id| named(self.tokens.get(id as &dyn Scoped)));
        let is_subject = |id| target.named(id).iter().any(|id| by_time(self.subjects.get(id as &dyn Scoped)));
        target.token_id.is_some_and(is_token)
            || named(self.sessions.get(&target.session))
            || target.subject.is_some_and(is_subject)
            || by_time(self.issued_until.as_ref())
    }

    /// Whether the store has shown this order, or a later one that includes it, since this load; or it is over.
    pub(super) fn was_seen(&self, order: &Revocation, since: Load) -> bool {
        let is_later = |entry: Option<&(SystemTime, Kept)>, moment: &SystemTime| {
            entry.is_none_or(|(other, kept)| other > moment || kept.was_seen(since))
        };
        match order {
            Revocation::Token(id) => self.tokens.get(id as &dyn Scoped).is_none_or(|kept| kept.was_seen(since)),
            Revocation::Session(id) => self.sessions.get(id).is_none_or(|kept| kept.was_seen(since)),
            Revocation::Subject { subject, until } => is_later(self.subjects.get(subject as &dyn Scoped), until),
            Revocation::IssuedUntil(moment) => is_later(self.issued_until.as_ref(), moment),
        }
    }

    /// The orders of one slice that the store has not shown since this load.
    pub(super) fn unseen(&self, slice: usize, since: Load) -> Vec<Unseen> {
        let is_unseen = |kept: &Kept| !kept.was_seen(since);
        let tokens = self.tokens.shard(slice).filter(|(_, kept)| is_unseen(kept));
        let sessions = self.sessions.shard(slice).filter(|(_, kept)| is_unseen(kept));
        let subjects = self.subjects.shard(slice).filter(|(_, (_, kept))| is_unseen(kept));
        let issued = self.issued_until.iter().filter(|(_, kept)| slice == 0 && is_unseen(kept));
        let tokens = tokens.map(|(id, kept)| kept.unseen(Revocation::Token(id.clone())));
        let sessions = sessions.map(|(id, kept)| kept.unseen(Revocation::Session(*id)));
        let subjects = subjects.map(|(subject, (until, kept))| {
            kept.unseen(Revocation::Subject { subject: subject.clone(), until: *until })
        });
        let issued = issued.map(|(moment, kept)| kept.unseen(Revocation::IssuedUntil(*moment)));
        tokens.chain(sessions).chain(subjects).chain(issued).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len() + self.sessions.len() + self.subjects.len() + usize::from(self.issued_until.is_some())
    }
}

impl Kept {
    fn extend(&mut self, new: Self) -> bool {
        let was_over = self.is_over();
        self.until = self.until.max(new.until);
        self.seen = self.seen.max(new.seen);
        was_over
    }

    fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }

    /// One that is over need not be seen.
    fn was_seen(&self, since: Load) -> bool {
        self.seen >= since || self.is_over()
    }

    fn unseen(&self, order: Revocation) -> Unseen {
        let keep_for = self.until.saturating_duration_since(Instant::now());
        Unseen { order, keep_for, was_there: self.seen != NEVER }
    }
}

/// An order that came late does not take back what a later one said. A store that has shown the earlier one need not have the
/// later one.
fn later((moment, kept): &mut (SystemTime, Kept), new_moment: SystemTime, new: Kept) -> bool {
    let is_news = new_moment > *moment || kept.is_over();
    kept.until = kept.until.max(new.until);
    if new_moment > *moment {
        kept.seen = new.seen;
    } else if new_moment == *moment {
        kept.seen = kept.seen.max(new.seen);
    }
    *moment = new_moment.max(*moment);
    is_news
}
