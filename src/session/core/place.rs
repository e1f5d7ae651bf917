//! The place of a session in the limits.

#[cfg(feature = "streams")]
use std::mem;

use super::SessionCore;
use crate::{
    address_limits::Visit,
    lock::lock,
    session::{AdmissionError, SessionKind},
    telemetry::LiveSession,
};

impl SessionCore {
    /// Counts the session in the metrics, from its admission to its end.
    pub(crate) fn count_live(&self, kind: SessionKind) {
        self.keep_live(self.config.meter.session(kind.as_str(), self.connected.monotonic));
    }

    /// Call it without the lock, as all that counts: a recorder may block.
    fn keep_live(&self, live: LiveSession) {
        let mut state = lock(&self.state);
        match state.end {
            None => state.live = live,
            Some(end) => {
                drop(state);
                live.end(end.reason.as_str());
            }
        }
    }

    /// Keeps the place among the connections of the client's address for as long as the connection.
    pub(crate) fn keep_place(&self, visit: Box<Visit>) {
        lock(&self.state).visit = Some(visit);
    }

    /// Makes the session that of a stream, and counts it as a connection if it is registered. Returns whether it counts
    /// since now.
    ///
    /// The caller holds a guard already, which carries out the end of the session from here on.
    #[cfg(feature = "streams")]
    pub(crate) fn count_as_stream(&self) -> Result<bool, AdmissionError> {
        self.become_stream();
        if self.is_counted() {
            return Ok(false);
        }
        let Some(registry) = self.registry() else { return Ok(false) };
        let slot = registry.slot()?;
        match &mut lock(&self.state).registration {
            Some(registration) => registration.count(slot),
            None => return Ok(false),
        }
        registry.admit(self).map(|()| true)
    }

    #[cfg(feature = "streams")]
    fn become_stream(&self) {
        let mut live = {
            let mut state = lock(&self.state);
            state.kind = SessionKind::Stream;
            mem::take(&mut state.live)
        };
        live.change_kind(SessionKind::Stream.as_str());
        self.keep_live(live);
    }

    /// Takes a lease for the session, if it is counted and the limits are shared across nodes.
    pub(crate) async fn acquire_lease(&self) -> Result<(), AdmissionError> {
        if self.config.shares_limits()
            && self.is_counted()
            && let Some(registry) = self.registry()
        {
            registry.acquire_lease(self).await?;
        }
        Ok(())
    }
}
