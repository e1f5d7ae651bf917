//! Whether the client is still there.
//!
//! The supervisor sends a ping and reads ahead until anything arrives, because the handler may not be reading. In the
//! meantime the handler receives what was read ahead.

use std::task::Context;

use super::Shared;
use crate::{lock::lock, websocket::Activity};

/// What a probe has shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::socket) enum Probe {
    /// The client was sent a ping, and nothing has arrived yet.
    Silent,
    /// The client is there, or it cannot be told.
    Unneeded,
    /// The client has left, which the handler receives next.
    Left,
}

impl Shared {
    /// Queues a ping, unless messages went both ways since the last probe. [`poll_probe`](Self::poll_probe) writes it.
    ///
    /// There is no probe after a violation of the protocol, because nothing more is received; nor if the handler has
    /// left so many messages unread that nothing more is read ahead: the client has sent something, so its silence
    /// says nothing.
    pub(in crate::socket) fn start_probe(&self, cx: &mut Context<'_>) -> Probe {
        let mut state = lock(&self.state);
        let Some(transport) = state.transport.as_mut().filter(|transport| !transport.has_failed()) else {
            return Probe::Unneeded;
        };
        let Activity { received, sent } = transport.take_activity();
        if received && sent {
            return Probe::Unneeded;
        }
        drop(state);
        // First what is there: writing to a client that has left may discard it.
        if self.read_ahead(cx) {
            return self.end_probe(Probe::Left, cx);
        }
        let mut state = lock(&self.state);
        if state.is_read_ahead_full() {
            drop(state);
            return self.end_probe(Probe::Unneeded, cx);
        }
        state.is_probing = true;
        if let Some(transport) = &mut state.transport {
            // What has arrived may be older than the ping.
            transport.take_activity();
            transport.ping();
        }
        Probe::Silent
    }

    /// Writes the ping and reads ahead.
    pub(in crate::socket) fn poll_probe(&self, cx: &mut Context<'_>) -> Probe {
        if self.read_ahead(cx) {
            return self.end_probe(Probe::Left, cx);
        }
        let state = lock(&self.state);
        let has_received = state.transport.as_ref().is_some_and(|transport| transport.activity().received);
        if has_received || state.is_read_ahead_full() {
            drop(state);
            return self.end_probe(Probe::Unneeded, cx);
        }
        Probe::Silent
    }

    /// Has the handler read again.
    fn end_probe(&self, shown: Probe, cx: &Context<'_>) -> Probe {
        let mut state = lock(&self.state);
        state.is_probing = false;
        if let Some(transport) = &mut state.transport {
            // The ping and its pong are no messages.
            transport.take_activity();
        }
        let reader = state.reader.take();
        drop(state);
        // The supervisor polls the handler next. A reader in another task has to be woken.
        if let Some(reader) = reader.filter(|reader| !reader.will_wake(cx.waker())) {
            reader.wake();
        }
        shown
    }

    /// Whether a client that has sent nothing takes what it is sent: the ping waits behind that.
    pub(in crate::socket) fn is_taking_messages(&self) -> bool {
        let mut state = lock(&self.state);
        let Some(transport) = &mut state.transport else { return false };
        transport.take_activity().sent && transport.has_unwritten()
    }

    /// Whether the client has left and the handler has not received that yet.
    pub(in crate::socket) fn has_left(&self) -> bool {
        lock(&self.state).has_left()
    }
}
