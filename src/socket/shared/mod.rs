//! The state that the handler's socket shares with its supervisor.

mod demand;
mod own_messages;
mod probe;
mod read;
mod read_ahead;
mod refresh;
mod write;

use std::{
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Waker},
};

use axum::extract::ws::Message;

use super::{RefreshProtocol, Transport, budget::Budget};
use crate::{
    lock::{Mutex, lock},
    session::{End, EndReason, SessionCore},
};
use own_messages::Writers;
use read_ahead::ReadAhead;
use refresh::RefreshState;

pub(super) use probe::Probe;

/// The connection of a session behind a lock. It is uncontended while the handler and the supervisor run in one task.
pub(super) struct Shared {
    core: Arc<SessionCore>,
    budget: Budget,
    /// The supervisor reads all, because the handler may wait for a refresh instead. It receives what was read ahead.
    is_reading_for_handler: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// `None` once the session has ended.
    transport: Option<Transport>,
    /// Wait for a message, and for a write. They may belong to different tasks, and are woken when the transport is
    /// taken.
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The next message for the handler. Boxed, like what follows, because most sockets have none of it.
    replay: Option<Box<Message>>,
    read_ahead: Option<Box<ReadAhead>>,
    refresh: Option<Box<RefreshState>>,
    /// Set while a message of the supervisor is written.
    writers: Option<Arc<Writers>>,
    /// The supervisor reads, until anything arrives. The handler receives what was read ahead.
    is_probing: bool,
}

impl Shared {
    pub(super) fn new(
        core: Arc<SessionCore>,
        transport: Transport,
        replay: Option<Message>,
        protocol: Option<RefreshProtocol>,
    ) -> Self {
        let refresh = protocol.map(|protocol| Box::new(RefreshState::new(protocol)));
        let state = State {
            transport: Some(transport),
            reader: None,
            writer: None,
            replay: replay.map(Box::new),
            read_ahead: None,
            refresh,
            writers: None,
            is_probing: false,
        };
        Self { core, budget: Budget::new(), is_reading_for_handler: AtomicBool::new(false), state: Mutex::new(state) }
    }

    pub(super) const fn core(&self) -> &Arc<SessionCore> {
        &self.core
    }

    /// Begins a new turn of the supervisor's task; see [`Budget::new_turn`].
    pub(super) fn new_turn(&self) {
        self.budget.new_turn();
    }

    /// Takes the transport, which ends receiving and sending.
    pub(super) fn take_transport(&self) -> Option<Transport> {
        let (transport, reader, writer) = {
            let mut state = lock(&self.state);
            (state.transport.take(), state.reader.take(), state.writer.take())
        };
        for waker in [reader, writer].into_iter().flatten() {
            waker.wake();
        }
        transport
    }

    /// Ends the session of a dropped socket and drops the connection. If the session has ended before, or a violation
    /// of the protocol is not reported to the client yet, it leaves the connection to the supervisor, which sends a
    /// close frame.
    pub(super) fn on_socket_dropped(&self) {
        if self.close() && !self.has_failed() {
            drop(self.take_transport());
        }
    }

    /// The connection is closed, by the client or the handler, or has failed. Returns whether the session has ended by
    /// that.
    fn close(&self) -> bool {
        self.core.end(End { reason: EndReason::Closed, code: None })
    }

    fn has_failed(&self) -> bool {
        lock(&self.state).transport.as_ref().is_some_and(Transport::has_failed)
    }

    pub(super) fn is_terminated(&self) -> bool {
        if self.core.has_ended() {
            return true;
        }
        let state = lock(&self.state);
        let has_messages = state.replay.is_some() || state.read_ahead.is_some();
        state.transport.as_ref().is_none_or(|transport| !has_messages && transport.is_terminated())
    }
}

/// Stores the waker of this task.
fn set_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
