//! Issuers that are added by their first token, within bounds.

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{
    Issuer, IssuerRule, KeysError, KeysErrorKind,
    budget::Budget,
    client::DefaultClient,
    refresh::{IssuerRefresh, RefreshTask},
};
use crate::{
    error::ConfigError,
    lock::{Mutex, lock},
    telemetry,
    verify::VerifyError,
};

/// How many issuers there are without a valid token. Each may be fetching its keys.
const MAX_NEWCOMERS: usize = 16;
/// How long an issuer is kept without a valid token. Longer than a handshake waits for keys.
const PROBATION: Duration = Duration::from_secs(30);
/// An issuer that was used this recently is not replaced.
const IN_USE: Duration = Duration::from_secs(60);
/// An issuer that was not used for this long is dropped.
const MAX_IDLE: Duration = Duration::from_secs(24 * 3600);
/// When a token may be retried that has found no place.
const RETRY: Duration = Duration::from_secs(1);
/// When a token may be retried for which the rule returns unusable keys.
const RETRY_MISCONFIGURED: Duration = Duration::from_secs(60);

/// The issuers of one rule.
///
/// Verification takes no lock. Adding or dropping an issuer takes the lock on the budget, and swaps in another map.
pub(crate) struct OnDemand {
    rule: IssuerRule,
    runtime: Handle,
    default_client: Arc<DefaultClient>,
    /// What [`Added::last_used`] counts from.
    start: Instant,
    added: ArcSwap<AddedByName>,
    budget: Mutex<Budget>,
}

type AddedByName = HashMap<Arc<str>, Arc<Added>>;

/// An issuer that a token has added. Its task ends when the last reference is dropped.
pub(crate) struct Added {
    issuer: Arc<Issuer>,
    rule: Weak<OnDemand>,
    added_at: Instant,
    /// Milliseconds from the start until a token was valid. Zero if none was yet.
    last_used: AtomicU64,
    _task: RefreshTask,
}

impl OnDemand {
    pub(super) fn new(rule: IssuerRule, runtime: Handle, default_client: Arc<DefaultClient>) -> Arc<Self> {
        let start = Instant::now();
        let budget = Mutex::new(Budget::new(rule.limit, start));
        Arc::new(Self { rule, runtime, default_client, start, added: ArcSwap::default(), budget })
    }

    /// See [`IssuerRule::expected`].
    pub(crate) fn expected(&self) -> String {
        self.rule.expected()
    }

    pub(crate) fn allows(&self, iss: &str) -> bool {
        self.rule.allows(iss)
    }

    /// The issuer with this name, if it is there.
    pub(crate) fn get(&self, iss: &str) -> Option<Arc<Added>> {
        self.added.load().get(iss).cloned()
    }

    /// Adds an issuer that the rule allows, and begins to fetch its keys. Fails if there is no room for it now.
    pub(crate) fn add(self: &Arc<Self>, iss: &str) -> Result<Arc<Added>, VerifyError> {
        let mut budget = lock(&self.budget);
        if let Some(added) = self.get(iss) {
            return Ok(added);
        }
        let now = Instant::now();
        // Before anything else, because it costs least.
        budget.check(now)?;
        let mut added = AddedByName::clone(&self.added.load());
        make_room(&mut added)?;
        budget.spend();
        let newcomer = match self.start(iss, now) {
            Ok(newcomer) => newcomer,
            Err(error) => {
                // Emit the event without the lock: a subscriber may block.
                drop(budget);
                return Err(misconfigured(iss, error));
            }
        };
        added.insert(Arc::from(iss), Arc::clone(&newcomer));
        self.added.store(Arc::new(added));
        Ok(newcomer)
    }

    /// The issuers, sorted by name.
    pub(crate) fn issuers(&self) -> Vec<Arc<Issuer>> {
        let mut issuers: Vec<_> = self.added.load().values().map(|added| Arc::clone(&added.issuer)).collect();
        issuers.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        issuers
    }

    fn start(self: &Arc<Self>, iss: &str, now: Instant) -> Result<Arc<Added>, ConfigError> {
        let (issuer, refresh) = self.rule.keys_of(iss)?.build(&self.default_client)?;
        let refresh = refresh.map(|refresh| IssuerRefresh { is_of_rule: true, ..refresh });
        Ok(Arc::new_cyclic(|added| Added {
            issuer,
            rule: Arc::downgrade(self),
            added_at: now,
            last_used: AtomicU64::new(0),
            _task: RefreshTask::run(&self.runtime, refresh_while_used(refresh, added.clone())),
        }))
    }

    /// Drops an issuer.
    fn drop_added(&self, added: &Arc<Added>) {
        let _guard = lock(&self.budget);
        self.remove(added);
    }

    /// Makes room for an issuer that has verified its first token. If there is none, it stays a newcomer.
    fn keep(&self, kept: &Added, now: Instant) {
        let _guard = lock(&self.budget);
        let added = self.added.load();
        let in_use = || added.values().filter(|other| !other.is_newcomer());
        if in_use().count() <= self.rule.limit {
            return;
        }
        let oldest = in_use().min_by_key(|other| other.last_used.load(Ordering::Relaxed)).cloned();
        let Some(oldest) = oldest.filter(|oldest| oldest.idle_for(now) >= IN_USE) else {
            kept.last_used.store(0, Ordering::Relaxed);
            return;
        };
        self.remove(&oldest);
    }

    /// Swaps in a map without this issuer. The caller holds the lock.
    fn remove(&self, added: &Arc<Added>) {
        let mut left = AddedByName::clone(&self.added.load());
        left.retain(|_, other| !Arc::ptr_eq(other, added));
        self.added.store(Arc::new(left));
    }
}

impl Added {
    pub(crate) const fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Notes that a token of this issuer is valid.
    pub(crate) fn mark_used(&self) {
        let Some(rule) = self.rule.upgrade() else { return };
        let now = Instant::now();
        let millis = now.saturating_duration_since(rule.start).as_millis();
        let since_start = u64::try_from(millis).unwrap_or(u64::MAX).max(1);
        if self.last_used.swap(since_start, Ordering::Relaxed) == 0 {
            rule.keep(self, now);
        }
    }

    /// Whether no token was valid yet.
    fn is_newcomer(&self) -> bool {
        self.last_used.load(Ordering::Relaxed) == 0
    }

    fn idle_for(&self, now: Instant) -> Duration {
        let last_used = Duration::from_millis(self.last_used.load(Ordering::Relaxed));
        let start = self.rule.upgrade().map_or(now, |rule| rule.start);
        now.saturating_duration_since(start).saturating_sub(last_used)
    }
}

/// Makes room for one more newcomer. A newcomer that has fetched its keys, and has no valid token, has had its chance.
fn make_room(added: &mut AddedByName) -> Result<(), VerifyError> {
    let newcomers = || added.values().filter(|added| added.is_newcomer());
    if newcomers().count() < MAX_NEWCOMERS {
        return Ok(());
    }
    let oldest = newcomers().filter(|newcomer| newcomer.issuer.has_fetched()).min_by_key(|newcomer| newcomer.added_at);
    let Some(oldest) = oldest.cloned() else {
        return Err(VerifyError::unavailable(RETRY).with_source("too many new issuers are fetching their keys"));
    };
    added.remove(oldest.issuer.name());
    Ok(())
}

/// Refreshes the keys of an issuer until it is no longer used, then drops it.
async fn refresh_while_used(refresh: Option<IssuerRefresh>, added: Weak<Added>) {
    let mut refreshing = pin!(async {
        match refresh {
            Some(refresh) => match refresh.run().await {},
            None => std::future::pending::<()>().await,
        }
    });
    let mut patience = PROBATION;
    loop {
        let _ = timeout(patience, refreshing.as_mut()).await;
        let Some(added) = added.upgrade() else { return };
        let idle = added.idle_for(Instant::now());
        if added.is_newcomer() || idle >= MAX_IDLE {
            if let Some(rule) = added.rule.upgrade() {
                rule.drop_added(&added);
            }
            return;
        }
        patience = MAX_IDLE.saturating_sub(idle);
    }
}

// By hand: a client need not be `Debug`.
impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").field("rule", &self.rule).field("issuers", &self.issuers()).finish_non_exhaustive()
    }
}

fn misconfigured(iss: &str, error: ConfigError) -> VerifyError {
    let error = KeysError::new(KeysErrorKind::Misconfigured).with_source(error);
    telemetry::key_refresh_failed(iss, true, error.kind().as_str(), &error);
    VerifyError::unavailable(RETRY_MISCONFIGURED).with_source(error)
}
