//! All revocations that one node knows.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub(super) use super::sharded::SHARDS;
use super::{
    sharded::Sharded,
    sync::{LoadId, NEVER_LOADED},
    target::Target,
};
use crate::{
    id::{Scoped, ScopedId, SessionId},
    store::Revocation,
    time::from_now,
};

#[derive(Default)]
pub(super) struct RevocationSet {
    tokens: Sharded<ScopedId, Entry>,
    sessions: Sharded<SessionId, Entry>,
    provider_sessions: Sharded<ScopedId, Entry>,
    subjects: Sharded<ScopedId, (SystemTime, Entry)>,
    issued_until: Option<(SystemTime, Entry)>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// When every token that the revocation can be about has expired.
    expires_at: Instant,
    /// The last load in which the store returned the revocation, or after which it returned or confirmed it.
    seen_in: LoadId,
}

/// A revocation that the store has lost, or has not returned yet.
pub(super) struct Missing {
    pub(super) revocation: Revocation,
    pub(super) keep_for: Duration,
    /// Whether the store had it before.
    pub(super) was_seen: bool,
}

impl RevocationSet {
    /// Returns whether the revocation may revoke something that was not revoked before.
    pub(super) fn add(&mut self, revocation: &Revocation, keep_for: Duration, seen_in: LoadId) -> bool {
        let new = Entry { expires_at: from_now(keep_for), seen_in };
        match revocation {
            Revocation::Token(id) => add_id(&mut self.tokens, id, new),
            Revocation::ProviderSession(id) => add_id(&mut self.provider_sessions, id, new),
            Revocation::Session(id) => match self.sessions.get_mut(id) {
                Some(entry) => entry.extend(new),
                None => {
                    self.sessions.insert(*id, new, Entry::is_expired);
                    true
                }
            },
            Revocation::Subject { subject, until } => match self.subjects.get_mut(subject as &dyn Scoped) {
                Some(entry) => extend_until(entry, *until, new),
                None => {
                    self.subjects.insert(subject.clone(), (*until, new), |(_, entry)| entry.is_expired());
                    true
                }
            },
            Revocation::IssuedUntil(until) => match &mut self.issued_until {
                Some(entry) => extend_until(entry, *until, new),
                None => {
                    self.issued_until = Some((*until, new));
                    true
                }
            },
        }
    }

    pub(super) fn is_revoked(&self, target: Target<'_>, clock_skew: Duration) -> bool {
        let now = Instant::now();
        let by_id = |entry: Option<&Entry>| entry.is_some_and(|entry| now < entry.expires_at);
        let by_time = |entry: Option<&(SystemTime, Entry)>| {
            entry.is_some_and(|&(until, entry)| now < entry.expires_at && target.was_issued_by(until, clock_skew))
        };
        let by_token = |id| target.scoped(id).iter().any(|id| by_id(self.tokens.get(id as &dyn Scoped)));
        let by_provider_session =
            |id| target.scoped(id).iter().any(|id| by_id(self.provider_sessions.get(id as &dyn Scoped)));
        let by_subject = |id| target.scoped(id).iter().any(|id| by_time(self.subjects.get(id as &dyn Scoped)));
        target.token_id.is_some_and(by_token)
            || by_id(self.sessions.get(&target.session))
            || target.provider_session.is_some_and(by_provider_session)
            || target.subject.is_some_and(by_subject)
            || by_time(self.issued_until.as_ref())
    }

    /// Whether the store has returned this revocation, or a later one that includes it, in this load or since. True if
    /// it has expired.
    pub(super) fn was_seen_since(&self, revocation: &Revocation, load: LoadId) -> bool {
        let by_time = |entry: Option<&(SystemTime, Entry)>, until: &SystemTime| {
            entry.is_none_or(|(other, entry)| other > until || entry.was_seen_since(load))
        };
        let by_id = |entry: Option<&Entry>| entry.is_none_or(|entry| entry.was_seen_since(load));
        match revocation {
            Revocation::Token(id) => by_id(self.tokens.get(id as &dyn Scoped)),
            Revocation::Session(id) => by_id(self.sessions.get(id)),
            Revocation::ProviderSession(id) => by_id(self.provider_sessions.get(id as &dyn Scoped)),
            Revocation::Subject { subject, until } => by_time(self.subjects.get(subject as &dyn Scoped), until),
            Revocation::IssuedUntil(until) => by_time(self.issued_until.as_ref(), until),
        }
    }

    /// The revocations of one shard that the store has not returned in this load or since.
    pub(super) fn missing_since(&self, shard: usize, load: LoadId) -> Vec<Missing> {
        let is_missing = |entry: &Entry| !entry.was_seen_since(load);
        let tokens = self.tokens.shard(shard).filter(|(_, entry)| is_missing(entry));
        let sessions = self.sessions.shard(shard).filter(|(_, entry)| is_missing(entry));
        let provider_sessions = self.provider_sessions.shard(shard).filter(|(_, entry)| is_missing(entry));
        let subjects = self.subjects.shard(shard).filter(|(_, (_, entry))| is_missing(entry));
        let issued = self.issued_until.iter().filter(|(_, entry)| shard == 0 && is_missing(entry));
        let tokens = tokens.map(|(id, entry)| entry.missing(Revocation::Token(id.clone())));
        let sessions = sessions.map(|(id, entry)| entry.missing(Revocation::Session(*id)));
        let provider_sessions =
            provider_sessions.map(|(id, entry)| entry.missing(Revocation::ProviderSession(id.clone())));
        let subjects = subjects.map(|(subject, (until, entry))| {
            entry.missing(Revocation::Subject { subject: subject.clone(), until: *until })
        });
        let issued = issued.map(|(until, entry)| entry.missing(Revocation::IssuedUntil(*until)));
        tokens.chain(sessions).chain(provider_sessions).chain(subjects).chain(issued).collect()
    }

    pub(super) fn len(&self) -> usize {
        let by_id = self.tokens.len() + self.sessions.len() + self.provider_sessions.len();
        by_id + self.subjects.len() + usize::from(self.issued_until.is_some())
    }
}

impl Entry {
    /// Returns whether the entry had expired.
    fn extend(&mut self, new: Self) -> bool {
        let was_expired = self.is_expired();
        self.expires_at = self.expires_at.max(new.expires_at);
        self.seen_in = self.seen_in.max(new.seen_in);
        was_expired
    }

    fn is_expired(&self) -> bool {
        self.expires_at <= Instant::now()
    }

    /// True if it has expired: the store need not return it.
    fn was_seen_since(&self, load: LoadId) -> bool {
        self.seen_in >= load || self.is_expired()
    }

    fn missing(&self, revocation: Revocation) -> Missing {
        let keep_for = self.expires_at.saturating_duration_since(Instant::now());
        Missing { revocation, keep_for, was_seen: self.seen_in != NEVER_LOADED }
    }
}

fn add_id(entries: &mut Sharded<ScopedId, Entry>, id: &ScopedId, new: Entry) -> bool {
    match entries.get_mut(id as &dyn Scoped) {
        Some(entry) => entry.extend(new),
        None => {
            entries.insert(id.clone(), new, Entry::is_expired);
            true
        }
    }
}

/// The later time wins, whichever revocation arrives first. A store that has returned the earlier one need not have the
/// later. Returns whether the revocation may revoke something that was not revoked before.
fn extend_until((until, entry): &mut (SystemTime, Entry), new_until: SystemTime, new: Entry) -> bool {
    let revokes_more = new_until > *until || entry.is_expired();
    entry.expires_at = entry.expires_at.max(new.expires_at);
    if new_until > *until {
        entry.seen_in = new.seen_in;
    } else if new_until == *until {
        entry.seen_in = entry.seen_in.max(new.seen_in);
    }
    *until = new_until.max(*until);
    revokes_more
}
