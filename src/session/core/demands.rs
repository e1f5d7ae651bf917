//! What the application demands of the client during a session. The supervisor of its socket sends it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{SessionCore, state::State};
use crate::{lock::lock, session::EndReason, time::from_now, verify::StepUp};

/// A new token that the client is to send.
pub(crate) struct Demand {
    pub(crate) step_up: StepUp,
    pub(crate) until: Instant,
}

/// A demand that a handler waits for. It is withdrawn when this is dropped.
pub(in crate::session) struct Demanded<'a> {
    core: &'a SessionCore,
    demand: Arc<Demand>,
}

#[derive(Default)]
pub(super) struct Demands {
    waiting: Vec<Waiting>,
    /// The handler may have to learn that from here, because it does not receive.
    has_left: bool,
}

struct Waiting {
    demand: Arc<Demand>,
    is_sent: bool,
}

/// For the application.
impl SessionCore {
    pub(in crate::session) fn demand(&self, step_up: &StepUp) -> Demanded<'_> {
        let demand = Arc::new(Demand { step_up: step_up.clone(), until: from_now(step_up.time()) });
        let waiting = Waiting { demand: Arc::clone(&demand), is_sent: false };
        self.change(|state| state.demands.get_or_insert_default().waiting.push(waiting));
        Demanded { core: self, demand }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let change = self.count_change(&state);
        drop(state);
        self.notify(change);
    }
}

impl Demanded<'_> {
    pub(in crate::session) fn until(&self) -> Instant {
        self.demand.until
    }

    /// Waits until there were other than `seen` refreshes, and sets that. Fails if the session ends, or its client
    /// leaves.
    pub(in crate::session) async fn answered(&self, seen: &mut u32) -> Result<(), EndReason> {
        let core = self.core;
        let has_left = || lock(&core.state).demands.as_ref().is_some_and(|demands| demands.has_left);
        core.wait_for(|| match core.refresh_count() {
            refreshes if refreshes != *seen => {
                *seen = refreshes;
                Some(Ok(()))
            }
            _ => has_left().then_some(Err(EndReason::Closed)),
        })
        .await?
    }

    /// Has the client told again: its answer was not enough.
    pub(in crate::session) fn repeat(&self) {
        self.core.change(|state| {
            let mut waiting = state.demands.iter_mut().flat_map(|demands| &mut demands.waiting);
            if let Some(own) = waiting.find(|waiting| Arc::ptr_eq(&waiting.demand, &self.demand)) {
                own.is_sent = false;
            }
        });
    }
}

impl Drop for Demanded<'_> {
    fn drop(&mut self) {
        self.core.change(|state| {
            let Some(demands) = &mut state.demands else { return };
            demands.waiting.retain(|waiting| !Arc::ptr_eq(&waiting.demand, &self.demand));
            if demands.waiting.is_empty() {
                state.demands = None;
            }
        });
    }
}

/// For the supervisor.
impl SessionCore {
    /// Whether the client is to send a new token, for which a handler waits.
    pub(crate) fn has_demands(&self) -> bool {
        lock(&self.state).demands.as_ref().is_some_and(|demands| !demands.has_left)
    }

    /// The next demand that the client does not know of. It then counts as sent.
    pub(crate) fn next_demand(&self) -> Option<Arc<Demand>> {
        let mut state = lock(&self.state);
        let next = state.demands.as_mut()?.waiting.iter_mut().find(|waiting| !waiting.is_sent)?;
        next.is_sent = true;
        Some(Arc::clone(&next.demand))
    }

    /// The client has left, so no demand will be met.
    pub(crate) fn abandon_demands(&self) {
        self.change(|state| {
            if let Some(demands) = &mut state.demands {
                demands.has_left = true;
            }
        });
    }
}
