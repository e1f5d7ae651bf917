//! The events of refusals.

use std::{error::Error, sync::Arc};

use super::{Rejection, RejectionKind, refusal::Cause};
use crate::telemetry::{Refused, Throttle, handshake_refused};

/// Bounds the events that anybody can cause, for each kind of them by itself.
#[derive(Clone, Debug)]
pub(crate) struct Throttles {
    pub(crate) incomplete: Arc<Throttle>,
    pub(crate) subprotocol: Arc<Throttle>,
    pub(crate) hook: Arc<Throttle>,
    /// A refresh route without its parameter.
    pub(crate) path: Arc<Throttle>,
    refused: Arc<[Arc<Throttle>]>,
}

impl Throttles {
    fn of(&self, kind: RejectionKind) -> &Arc<Throttle> {
        self.refused.get(kind as usize).unwrap_or(&self.incomplete)
    }
}

impl Default for Throttles {
    fn default() -> Self {
        let throttle = || Arc::new(Throttle::new());
        Self {
            incomplete: throttle(),
            subprotocol: throttle(),
            hook: throttle(),
            path: throttle(),
            refused: (0..RejectionKind::COUNT).map(|_| throttle()).collect(),
        }
    }
}

impl Rejection {
    /// Emits the event.
    pub(crate) fn log(&self, throttles: &Throttles, request: impl FnOnce() -> Refused) {
        let details = || {
            let compared = match &self.cause {
                Some(Cause::Verify(error)) => {
                    error.compared().map(|(expected, found)| (expected.to_owned(), found.to_owned()))
                }
                _ => None,
            };
            let request = request();
            Refused { compared: compared.or(request.compared), ..request }
        };
        handshake_refused(self.kind.as_str(), || self.reason(), self.source(), throttles.of(self.kind), details);
    }
}
