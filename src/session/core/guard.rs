//! What a session lasts as long as.

use std::sync::{Arc, atomic::Ordering};

use super::SessionCore;
use crate::{
    lock::lock,
    session::{End, EndReason},
    telemetry,
};

/// Ends the session and its registration when dropped. It is held by the connection, or by an upgrade that may become
/// one.
pub(crate) struct ConnectionGuard(Arc<SessionCore>);

impl SessionCore {
    /// From here on the session lasts as long as the guard, whatever happens to its handles.
    pub(crate) fn guard(self: &Arc<Self>) -> ConnectionGuard {
        self.note_end_from(&self.guarded);
        ConnectionGuard(Arc::clone(self))
    }

    pub(in crate::session) fn release_unless_guarded(&self) {
        if !self.guarded.load(Ordering::Acquire) {
            self.release();
        }
    }

    /// Ends the session, and frees what the registry holds for it.
    fn release(&self) {
        self.end(End { reason: EndReason::Closed, code: None });
        // The lock must be released before they are dropped.
        let places = {
            let mut state = lock(&self.state);
            (state.registration.take(), state.visit.take())
        };
        drop(places);
    }

    /// Warns, once per registry, if the handler dropped the session of a handshake that it accepted.
    pub(crate) fn warn_if_dropped(&self) {
        // A guarded session has a supervisor.
        if self.guarded.load(Ordering::Acquire) || !self.has_ended() {
            return;
        }
        // Any other reason means that the session was still held when it ended.
        let is_closed = lock(&self.state).end.is_some_and(|end| end.reason == EndReason::Closed);
        if is_closed
            && let Some(sessions) = &self.config.sessions
            && !sessions.0.warned_of_dropped.swap(true, Ordering::Relaxed)
        {
            telemetry::session_dropped(self.id());
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.release();
    }
}
