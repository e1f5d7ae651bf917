//! Refreshes that the client requests by messages.
//!
//! The reader finds a request, the supervisor refreshes the session and writes the response, and then the reader goes
//! on. In the meantime the supervisor reads ahead, to notice a client that leaves.

use axum::extract::ws::Message;

use super::Shared;
use crate::{
    lock::lock,
    socket::{RefreshProtocol, refresh_protocol::ReceivedRefresh},
};

pub(super) struct RefreshState {
    protocol: RefreshProtocol,
    /// The request that the supervisor has not taken yet.
    request: Option<ReceivedRefresh>,
    /// Until the response is written, the handler receives nothing. So responses are in order, and a client that sends
    /// requests without reading is not read from.
    is_in_progress: bool,
}

/// For the reader.
impl RefreshState {
    pub(super) const fn new(protocol: RefreshProtocol) -> Self {
        Self { protocol, request: None, is_in_progress: false }
    }

    pub(super) const fn is_in_progress(&self) -> bool {
        self.is_in_progress
    }

    /// Starts a refresh if the message requests one. Returns the rest of the message.
    pub(super) fn start(&mut self, message: &Message) -> Option<Option<Message>> {
        let (request, rest) = self.protocol.read(message)?;
        self.request = Some(request);
        self.is_in_progress = true;
        Some(rest)
    }
}

/// For the supervisor.
impl Shared {
    /// Takes the next request of the client.
    pub(in crate::socket) fn take_refresh_request(&self) -> Option<ReceivedRefresh> {
        lock(&self.state).refresh.as_mut()?.request.take()
    }

    /// Ends a refresh. The handler receives again.
    pub(in crate::socket) fn end_refresh(&self) {
        let mut state = lock(&self.state);
        if let Some(refresh) = &mut state.refresh {
            refresh.is_in_progress = false;
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
