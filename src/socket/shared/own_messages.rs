//! Messages that the supervisor sends by itself, between those of the handler.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use axum::extract::ws::Message;

use super::{Shared, State, set_waker};
use crate::lock::{Mutex, lock};

/// The supervisor that writes a message, and a handler that waits to send meanwhile. The transport knows one writer
/// with one waker, which is this.
#[derive(Default)]
pub(super) struct Writers {
    handler: Mutex<Option<Waker>>,
    supervisor: Mutex<Option<Waker>>,
}

impl State {
    /// While the supervisor writes, a waker that wakes both it and this task.
    pub(super) fn waker_of_both(&self, cx: &Context<'_>) -> Option<Waker> {
        let writers = self.writers.as_ref()?;
        set_waker(&mut lock(&writers.handler), cx);
        Some(Waker::from(Arc::clone(writers)))
    }
}

impl Shared {
    /// Queues a message. [`poll_own_messages`](Self::poll_own_messages) writes it.
    pub(in crate::socket) fn queue(&self, message: Message) {
        let mut state = lock(&self.state);
        let State { transport, writer, writers, .. } = &mut *state;
        let Some(transport) = transport else { return };
        // Without `poll_ready`, for which the handler may be waiting: the buffer may exceed its size by one message.
        let _ = transport.start_send(message);
        writers.get_or_insert_with(|| Arc::new(Writers { handler: Mutex::new(writer.clone()), ..Writers::default() }));
    }

    /// Writes what is queued.
    pub(in crate::socket) fn poll_own_messages(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        let State { transport, writers, .. } = &mut *state;
        if let (Some(transport), Some(both)) = (transport, &writers) {
            set_waker(&mut lock(&both.supervisor), cx);
            // The reader sees a failure too.
            let _ = ready!(transport.poll_flush(&mut Context::from_waker(&Waker::from(Arc::clone(both)))));
        }
        *writers = None;
        Poll::Ready(())
    }
}

impl Wake for Writers {
    fn wake(self: Arc<Self>) {
        for slot in [&self.handler, &self.supervisor] {
            // Release the lock first: the task may be polled at once.
            let waker = lock(slot).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
