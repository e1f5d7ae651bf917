//! Limits. The leases of a subject are in one sorted set, and in a cluster the subjects are spread over all slots.
//! Evictions are published on a channel.

use std::{error::Error, slice, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{join, join_all};
use redis::{Cmd, FromRedisValue};
use sha2::{Digest, Sha256};

use super::{
    Redis,
    command::milliseconds,
    failure::Failure,
    scripts::{LIMITS, Script},
    topology::Subscription,
};
use crate::{
    id::{Scope, ScopedId, SessionId},
    lock::lock,
    store::{Acquire, Acquired, AtLimit, LeaseQuery, LimitStore, SessionLease, StoreError},
};

/// The longest time to wait for an answer. It is shorter than the caller waits for this store, so that a silent
/// connection is noticed here.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_millis(1500);

impl Redis {
    /// The keys of a subject's leases and of their details. The text in braces decides on the slot. It is a hash with a
    /// fixed length, and distinguishes all subjects.
    pub(super) fn lease_keys(&self, subject: &ScopedId) -> [String; 2] {
        let mut hash = Sha256::new();
        match subject.scope() {
            Scope::Any => hash.update([0]),
            Scope::Unnamed => hash.update([1]),
            Scope::Named(issuer) => {
                hash.update([2]);
                hash.update((issuer.len() as u64).to_be_bytes());
                hash.update(issuer);
            }
        }
        hash.update(subject.id());
        let hash = URL_SAFE_NO_PAD.encode(hash.finalize());
        ["sessions", "details"].map(|name| format!("{}:{name}:{{{hash}}}", self.prefix))
    }

    fn evictions_channel(&self) -> String {
        format!("{}:evicted", self.prefix)
    }

    /// Runs a script for each subject, concurrently. A failure does not stop the others.
    async fn for_each_subject<T: FromRedisValue>(
        &self,
        leases: &[SessionLease],
        script: &Script,
        add_arguments: impl Fn(&mut Cmd, &[SessionLease]),
    ) -> Result<Vec<T>, Failure> {
        let runs = leases.chunk_by(|one, other| one.subject == other.subject).map(|leases| {
            let mut args = Cmd::new();
            if let Some(first) = leases.first() {
                args.arg(&self.lease_keys(&first.subject));
            }
            add_arguments(&mut args, leases);
            async move { self.run_script(script, &args, self.timeout.min(MAX_TIMEOUT)).await }
        });
        join_all(runs).await.into_iter().collect()
    }

    /// The next eviction, or `None` if other servers may be where others publish now.
    async fn next_eviction(&self, subscription: &mut Subscription) -> Result<Option<SessionId>, StoreError> {
        let Some(message) = self.next_message(subscription).await? else { return Ok(None) };
        let id: String = message.get_payload().map_err(unreadable)?;
        id.parse().map(Some).map_err(unreadable)
    }
}

impl LimitStore for Redis {
    // Each script may run twice. Acquiring or renewing a lease again changes only its expiry, and releasing it again
    // changes nothing. If one was given up on, it may run after the release, which therefore leaves a mark. If the
    // answer with evicted sessions is lost, these learn of it by the channel and at their next renewal.
    async fn acquire(&self, request: Acquire<'_>) -> Result<Acquired, StoreError> {
        let (lease, mut args) = (request.lease, Cmd::new());
        args.arg(&self.lease_keys(&lease.subject))
            .arg(milliseconds(request.lifetime))
            .arg(member(lease))
            .arg(&*lease.details)
            .arg(request.limit.get())
            .arg(if request.at_limit == AtLimit::EvictOldest { "evict" } else { "refuse" })
            .arg(self.evictions_channel());
        for lease in request.released {
            args.arg(member(lease));
        }
        let acquire = self.run_script(&LIMITS.acquire, &args, self.timeout.min(MAX_TIMEOUT));
        let (evicted, ()) = join(acquire, self.index_issuers(slice::from_ref(lease), request.lifetime)).await;
        let evicted = evicted.inspect_err(|_| self.unanswered.note(request.lifetime));
        let evicted: Option<Vec<String>> = evicted?;
        evicted.map_or(Ok(Acquired::Full), |evicted| Ok(Acquired::Taken { evicted: session_ids(&evicted)? }))
    }

    async fn renew(&self, leases: &[SessionLease], lifetime: Duration) -> Result<Vec<SessionId>, StoreError> {
        let add_arguments = |args: &mut Cmd, leases: &[SessionLease]| {
            args.arg(milliseconds(lifetime));
            for lease in leases {
                args.arg(member(lease)).arg(&*lease.details);
            }
        };
        let renew = self.for_each_subject(leases, &LIMITS.renew, add_arguments);
        let (evicted, ()) = join(renew, self.index_issuers(leases, lifetime)).await;
        let evicted = evicted.inspect_err(|_| self.unanswered.note(lifetime));
        let evicted: Vec<Vec<String>> = evicted?;
        session_ids(evicted.iter().flatten())
    }

    async fn release(&self, leases: &[SessionLease]) -> Result<(), StoreError> {
        let remembered = self.unanswered.remember_for().map_or(0, milliseconds);
        let add_arguments = |args: &mut Cmd, leases: &[SessionLease]| {
            args.arg(remembered);
            for lease in leases {
                args.arg(member(lease));
            }
        };
        self.for_each_subject::<()>(leases, &LIMITS.release, add_arguments).await?;
        Ok(())
    }

    async fn list(&self, query: LeaseQuery<'_>) -> Result<Vec<SessionLease>, StoreError> {
        Ok(self.list_leases(query).await?)
    }

    async fn evicted(&self) -> Result<Vec<SessionId>, StoreError> {
        // Put back only after success: not after an error, and not if the caller drops this future.
        let open = lock(&self.subscription).take();
        let mut subscription = match open {
            Some(subscription) => subscription,
            None => self.subscribe(&self.evictions_channel()).await?,
        };
        let session = loop {
            match self.next_eviction(&mut subscription).await? {
                Some(session) => break session,
                None => subscription = self.subscribe(&self.evictions_channel()).await?,
            }
        };
        *lock(&self.subscription) = Some(subscription);
        Ok(vec![session])
    }
}

/// The member of a lease: the time when the session was accepted, in twelve digits, and its id.
fn member(lease: &SessionLease) -> String {
    lease.cursor().to_string()
}

fn session_ids<'a>(ids: impl IntoIterator<Item = &'a String>) -> Result<Vec<SessionId>, StoreError> {
    let ids = ids.into_iter().map(|id| id.parse());
    ids.collect::<Result<_, _>>().map_err(unreadable)
}

fn unreadable(error: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::unavailable().with_source(error)
}
