//! A circuit breaker for the limit store, because handshakes wait for it. It opens for a subject when a call for that
//! subject fails, and for all subjects when the store does not respond for others either: a store may be a cluster of
//! which only a part is down.

use std::{
    collections::HashMap,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{per_subject::join_all, with_timeout};
use crate::{
    id::{ScopedId, SessionId},
    lock::{Mutex, lock},
    store::{DynLimitStore, SessionLease},
};

/// How long the breaker stays open after a failure.
const OPEN_TIME: Duration = Duration::from_secs(5);
/// How long the store has to respond to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long handshakes wait for a probe. Longer than its timeout, so that they learn its outcome. They wait this long
/// only if its task was aborted.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How many subjects are probed: each may be in another part of the store.
const PROBES: usize = 8;
/// The breaker opens for all subjects when it is open for this many.
const MAX_SUBJECTS: usize = 4096;

#[derive(Default)]
pub(super) struct CircuitBreaker {
    state: Mutex<State>,
    /// A probe is done, or a call has succeeded.
    probed: Notify,
}

#[derive(Default)]
struct State {
    /// The subjects that the breaker is open for, and until when.
    subjects: HashMap<ScopedId, Instant>,
    /// Until when it is open for all subjects.
    all: Option<Instant>,
    /// Until when handshakes wait for the running probe.
    probing: Option<Instant>,
    last_success: Option<Instant>,
}

impl CircuitBreaker {
    /// Whether the store may be called for this subject. Waits for a running probe. Once the breaker has been open for
    /// its time, one call is allowed, and the breaker stays open for the others until that call has succeeded.
    pub(super) async fn allows(&self, subject: &ScopedId) -> bool {
        loop {
            let mut probed = pin!(self.probed.notified());
            // From here on no notification is missed.
            probed.as_mut().enable();
            let until = {
                let (mut state, now) = (lock(&self.state), Instant::now());
                if let Some(until) = state.subjects.get_mut(subject) {
                    if now < *until {
                        return false;
                    }
                    *until = now + OPEN_TIME;
                }
                match (state.all, state.probing) {
                    (Some(until), _) if now < until => return false,
                    (Some(_), _) => {
                        state.all = Some(now + OPEN_TIME);
                        return true;
                    }
                    (None, Some(until)) => until,
                    (None, None) => return true,
                }
            };
            if timeout_at(until, probed).await.is_err() {
                return true;
            }
        }
    }

    pub(super) fn subject_succeeded(&self, subject: &ScopedId) {
        let mut state = lock(&self.state);
        if !state.subjects.is_empty() {
            state.subjects.remove(subject);
        }
        state.succeeded();
    }

    /// The store has responded for some subject.
    pub(super) fn succeeded(&self) {
        lock(&self.state).succeeded();
        self.probed.notify_waiters();
    }

    /// A call for this subject has failed. Probes whether the store fails for others too, unless another call has
    /// succeeded since this one was made.
    pub(super) fn subject_failed(
        self: &Arc<Self>,
        subject: &ScopedId,
        called_at: Instant,
        store: &Arc<dyn DynLimitStore>,
    ) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        if state.subjects.len() >= MAX_SUBJECTS {
            state.subjects.retain(|_, until| now < *until);
        }
        if state.subjects.len() >= MAX_SUBJECTS {
            state.all = Some(now + OPEN_TIME);
            return;
        }
        state.subjects.insert(subject.clone(), now + OPEN_TIME);
        let is_up = state.last_success.is_some_and(|success| success > called_at);
        let is_known = state.all.is_some() || state.probing.is_some_and(|until| now < until);
        if is_up || is_known {
            return;
        }
        state.probing = Some(now + MAX_WAIT);
        let (breaker, store) = (Arc::clone(self), Arc::clone(store));
        tokio::spawn(async move {
            let is_up = responds(&*store).await;
            {
                let mut state = lock(&breaker.state);
                state.probing = None;
                if is_up {
                    state.succeeded();
                } else {
                    state.all = Some(Instant::now() + OPEN_TIME);
                }
            }
            breaker.probed.notify_waiters();
        });
    }
}

impl State {
    fn succeeded(&mut self) {
        self.last_success = Some(Instant::now());
        self.all = None;
    }
}

/// Probes the store: releases leases that do not exist, which changes nothing.
async fn responds(store: &dyn DynLimitStore) -> bool {
    let probe = || {
        let session = SessionId::next();
        vec![SessionLease::new(session.to_string(), session, SystemTime::UNIX_EPOCH)]
    };
    let leases: Vec<_> = (0..PROBES).map(|_| probe()).collect();
    let released = leases.iter().map(|leases| with_timeout(PROBE_TIMEOUT, store.release_boxed(leases)));
    join_all(released).await.iter().any(Result::is_ok)
}
