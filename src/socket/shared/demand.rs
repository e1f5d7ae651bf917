//! Reading for a handler that waits for a refresh, and so may not receive the client's request for it.

use std::{sync::atomic::Ordering, task::Context};

use super::Shared;
use crate::lock::lock;

/// For the reader.
impl Shared {
    pub(super) fn is_reading_for_handler(&self) -> bool {
        self.is_reading_for_handler.load(Ordering::Relaxed)
    }

    /// The handler has received something, so more may be read ahead.
    pub(super) fn go_on_reading_ahead(&self) {
        if self.is_reading_for_handler() {
            self.core.wake_supervisor();
        }
    }
}

/// For the supervisor.
impl Shared {
    /// Reads ahead, and starts a refresh that the client requests. Returns whether the client has left, or is leaving.
    pub(in crate::socket) fn read_for_handler(&self, cx: &mut Context<'_>) -> bool {
        self.is_reading_for_handler.store(true, Ordering::Relaxed);
        let has_left = self.read_ahead(cx);
        let mut state = lock(&self.state);
        // A client that leaves does not wait for the answer.
        if !has_left {
            state.start_refresh_ahead();
        }
        let reader = if state.read_ahead.is_some() { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        has_left
    }

    /// Has the handler read again.
    pub(in crate::socket) fn stop_reading_for_handler(&self) {
        if self.is_reading_for_handler.swap(false, Ordering::Relaxed) {
            let reader = lock(&self.state).reader.take();
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }
}
