//! The issuers that subjects with leases have, so that a subject of any issuer can be found.
//!
//! All nodes write them into one set. There are few, so a node writes them again now and then, and not with each lease.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use redis::Cmd;
use tokio::time::Instant;

use super::{Redis, command::milliseconds, limits::MAX_TIMEOUT, scripts::LIMITS};
use crate::{
    id::{Scope, ScopedId},
    lock::{Mutex, lock},
    store::SessionLease,
    time::from_now,
};

/// The issuers that this process has written, each with when it did, and until when the set has it.
#[derive(Clone, Default)]
pub(super) struct IndexedIssuers(Arc<Mutex<HashMap<String, (Instant, Instant)>>>);

impl IndexedIssuers {
    /// The issuers of these leases that are to be written now, for leases that last this long.
    fn due(&self, leases: &[SessionLease], lifetime: Duration) -> Vec<String> {
        let issuers: BTreeSet<String> = leases
            .chunk_by(|one, other| one.subject == other.subject)
            .filter_map(|leases| leases.first())
            .map(|lease| to_text(&lease.subject))
            .collect();
        let (mut indexed, now) = (lock(&self.0), Instant::now());
        // Again with each renewal, because the set may have been lost.
        let needed = from_now(lifetime);
        let is_fresh = |(written, until): &(Instant, Instant)| written.elapsed() < lifetime / 4 && *until >= needed;
        let due: Vec<_> = issuers.into_iter().filter(|issuer| !indexed.get(issuer).is_some_and(is_fresh)).collect();
        if !due.is_empty() {
            let until = from_now(lifetime.saturating_mul(2));
            indexed.retain(|_, (_, until)| *until > now);
            indexed.extend(due.iter().map(|issuer| (issuer.clone(), (now, until))));
        }
        due
    }

    fn forget(&self, issuers: &[String]) {
        let mut indexed = lock(&self.0);
        for issuer in issuers {
            indexed.remove(issuer);
        }
    }
}

impl Redis {
    pub(super) fn issuers_key(&self) -> String {
        format!("{}:issuers", self.prefix)
    }

    /// Writes the issuers of these leases, if that is due. A failure concerns no lease: the server of the leases may be
    /// another one. The next call tries again.
    pub(super) async fn index_issuers(&self, leases: &[SessionLease], lifetime: Duration) {
        let issuers = self.issuers.due(leases, lifetime);
        if issuers.is_empty() {
            return;
        }
        let mut args = Cmd::new();
        args.arg(self.issuers_key()).arg(milliseconds(lifetime.saturating_mul(2))).arg(&issuers);
        if self.run_script::<()>(&LIMITS.index, &args, self.timeout.min(MAX_TIMEOUT)).await.is_err() {
            self.issuers.forget(&issuers);
        }
    }
}

/// The issuer of a subject, for [`with_issuer`].
fn to_text(subject: &ScopedId) -> String {
    match subject.scope() {
        Scope::Any => "any".to_owned(),
        Scope::Unnamed => "unnamed".to_owned(),
        Scope::Named(issuer) => format!("={issuer}"),
    }
}

/// The subject of this issuer.
pub(super) fn with_issuer(issuer: &str, id: &str) -> Option<ScopedId> {
    match issuer {
        "any" => Some(ScopedId::any_issuer(id)),
        "unnamed" => Some(ScopedId::without_issuer(id)),
        named => Some(ScopedId::of(named.strip_prefix('=')?, id)),
    }
}
