//! Whom the store has failed lately, and whether it fails everybody. A handshake waits for an answer: not again and again
//! for one that does not come, and not without need for itself because the store has failed another subject.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::Instant};

use super::{in_time, task::all};
use crate::{
    id::{ScopedId, SessionId},
    lock::lock,
    store::{DynLimitStore, SessionLease},
};

/// How long is not asked after a failure.
const REST: Duration = Duration::from_secs(5);
/// How long the store has to show that it answers others.
const ANSWER: Duration = Duration::from_secs(1);
/// How many others are tried: they may be kept in several places, of which some may be gone.
const OTHERS: usize = 8;
/// How many subjects are remembered; of more than that it is all of them.
const REMEMBERED: usize = 4096;

#[derive(Default)]
pub(super) struct Health {
    state: Mutex<State>,
    /// It was found out whether others are answered.
    found: Notify,
}

#[derive(Default)]
struct State {
    /// Until when the store is not asked for these.
    subjects: HashMap<ScopedId, Instant>,
    /// Until when it is not asked for anybody.
    everybody: Option<Instant>,
    /// Until when it is being found out whether others are answered.
    finding: Option<Instant>,
    answered: Option<Instant>,
}

impl Health {
    /// Whether the store is asked: not for whom it has failed lately, and by one only where it has failed everybody. Waits
    /// while that is being found out.
    pub(super) async fn may_ask(&self, subject: &ScopedId) -> bool {
        loop {
            let mut found = pin!(self.found.notified());
            // From here on it is not missed.
            found.as_mut().enable();
            let until = {
                let (mut state, now) = (lock(&self.state), Instant::now());
                if let Some(until) = state.subjects.get_mut(subject) {
                    if now < *until {
                        return false;
                    }
                    // One finds out for all of this subject.
                    *until = now + REST;
                }
                match (state.everybody, state.finding) {
                    (Some(until), _) if now < until => return false,
                    (Some(_), _) => {
                        state.everybody = Some(now + REST);
                        return true;
                    }
                    (None, Some(until)) if now < until => until,
                    (None, _) => return true,
                }
            };
            let _ = tokio::time::timeout_at(until, found).await;
        }
    }

    /// The store has answered for this subject.
    pub(super) fn has_answered(&self, subject: &ScopedId) {
        let mut state = lock(&self.state);
        if !state.subjects.is_empty() {
            state.subjects.remove(subject);
        }
        state.works();
    }

    /// The store has answered for somebody.
    pub(super) fn works(&self) {
        lock(&self.state).works();
        self.found.notify_waiters();
    }

    /// It has failed this one. Whether it fails others too is found out, unless they were answered since it was asked.
    pub(super) fn has_failed(self: &Arc<Self>, subject: &ScopedId, asked: Instant, store: &Arc<dyn DynLimitStore>) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        if state.subjects.len() >= REMEMBERED {
            state.subjects.retain(|_, until| now < *until);
        }
        if state.subjects.len() >= REMEMBERED {
            state.everybody = Some(now + REST);
            return;
        }
        state.subjects.insert(subject.clone(), now + REST);
        let is_up = state.answered.is_some_and(|answered| answered > asked);
        let is_known = state.everybody.is_some() || state.finding.is_some_and(|until| now < until);
        if is_up || is_known {
            return;
        }
        state.finding = Some(now + ANSWER);
        let (health, store) = (Arc::clone(self), Arc::clone(store));
        tokio::spawn(async move {
            let works = answers_others(&*store).await;
            {
                let mut state = lock(&health.state);
                state.finding = None;
                if works {
                    state.works();
                } else {
                    state.everybody = Some(Instant::now() + REST);
                }
            }
            health.found.notify_waiters();
        });
    }
}

impl State {
    fn works(&mut self) {
        self.answered = Some(Instant::now());
        self.everybody = None;
    }
}

/// Has leases released that nobody has, which changes nothing.
async fn answers_others(store: &dyn DynLimitStore) -> bool {
    let nobody = || {
        let session = SessionId::next();
        vec![SessionLease::new(session.to_string(), session, SystemTime::UNIX_EPOCH)]
    };
    let leases: Vec<_> = (0..OTHERS).map(|_| nobody()).collect();
    let released = leases.iter().map(|leases| in_time(ANSWER, store.release_boxed(leases)));
    all(released).await.iter().any(Result::is_ok)
}
