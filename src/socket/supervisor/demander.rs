use std::{sync::Arc, task::Context};

use crate::{session::Demand, socket::shared::Shared};

/// Tells the client what the application demands of it, and reads for a handler that waits for the answer.
#[derive(Default)]
pub(super) struct Demander {
    /// The version of the session that was looked at last.
    version: Option<u32>,
    has_demands: bool,
}

impl Demander {
    /// Call it before a refresh is taken.
    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        let core = shared.core();
        let version = core.version();
        if self.version != Some(version) {
            self.version = Some(version);
            self.has_demands = core.has_demands();
            if !self.has_demands {
                shared.stop_reading_for_handler();
            }
        }
        if self.has_demands && shared.read_for_handler(cx) {
            core.abandon_demands();
        }
    }

    pub(super) const fn has_demands(&self) -> bool {
        self.has_demands
    }

    /// The next demand to tell the client of.
    pub(super) fn next(&self, shared: &Shared) -> Option<Arc<Demand>> {
        if self.has_demands { shared.core().next_demand() } else { None }
    }
}
