//! Refreshes that the client requests by messages.
//!
//! The reader finds a request, the supervisor refreshes the session and writes the response, and then the reader goes
//! on. In the meantime the supervisor reads ahead, to notice a client that leaves.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker, ready},
};

use axum::{Error, extract::ws::Message};

use super::{Shared, State, set_waker};
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
    read_ahead: ReadAhead,
    /// Set while the response is written.
    writers: Option<Arc<Writers>>,
}

/// Messages that were read during a refresh. The handler receives them next, in order.
#[derive(Default)]
struct ReadAhead {
    /// `None` is the end of the stream.
    messages: VecDeque<Option<Result<Message, Error>>>,
    bytes: usize,
    /// The client has left, or is leaving: it sent a close frame, the stream has ended, or an error occurred.
    has_left: bool,
}

/// The maximum number of messages that are read ahead. It is enough for a client that sends something and leaves. If a
/// client sends more, its leaving is noticed after the refresh.
const MAX_MESSAGES: usize = 16;
const MAX_BYTES: usize = 64 * 1024;

/// The supervisor that writes a response, and a handler that waits to send meanwhile. The transport knows one writer
/// with one waker, which is this.
#[derive(Default)]
struct Writers {
    handler: Mutex<Option<Waker>>,
    supervisor: Mutex<Option<Waker>>,
}

/// For the reader and the writer.
impl RefreshState {
    pub(super) fn new(protocol: RefreshProtocol) -> Self {
        Self { protocol, request: None, is_in_progress: false, read_ahead: ReadAhead::default(), writers: None }
    }

    pub(super) const fn is_in_progress(&self) -> bool {
        self.is_in_progress
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.read_ahead.messages.is_empty()
    }

    pub(super) fn next_message(&mut self) -> Option<Option<Result<Message, Error>>> {
        self.read_ahead.pop()
    }

    /// Starts a refresh if the message requests one. Returns the rest of the message.
    pub(super) fn start(&mut self, message: &Message) -> Option<Option<Message>> {
        let (request, rest) = self.protocol.read(message)?;
        self.request = Some(request);
        self.is_in_progress = true;
        Some(rest)
    }

    /// While the supervisor writes, a waker that wakes both it and this task.
    pub(super) fn waker_of_both(&self, cx: &Context<'_>) -> Option<Waker> {
        let writers = self.writers.as_ref()?;
        set_waker(&mut lock(&writers.handler), cx);
        Some(Waker::from(Arc::clone(writers)))
    }
}

/// For the supervisor.
impl Shared {
    /// Takes the next request of the client.
    pub(in crate::socket) fn take_refresh_request(&self) -> Option<ReceivedRefresh> {
        lock(&self.state).refresh.as_mut()?.request.take()
    }

    /// Reads ahead during a refresh. Returns whether the client has left, or is leaving.
    pub(in crate::socket) fn read_ahead(&self, cx: &mut Context<'_>) -> bool {
        let mut state = lock(&self.state);
        let State { transport, writer, refresh, .. } = &mut *state;
        let (Some(transport), Some(refresh)) = (transport, refresh) else { return false };
        while refresh.read_ahead.has_room() {
            let Poll::Ready(message) = transport.poll_next(cx) else { return false };
            refresh.read_ahead.push(message);
            if refresh.read_ahead.has_left {
                // Writes the response to a close frame, and replaces the waker of a pending send; see `poll_message`.
                let _ = transport.poll_flush(cx);
                let writer = writer.take();
                drop(state);
                if let Some(writer) = writer {
                    writer.wake();
                }
                return true;
            }
        }
        false
    }

    /// Ends a refresh without a response. The handler receives again.
    pub(in crate::socket) fn cancel_refresh(&self) {
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

    /// Queues the response, if there is one. [`poll_refresh_response`](Self::poll_refresh_response) writes it.
    pub(in crate::socket) fn respond_to_refresh(&self, response: Option<Message>) {
        let mut state = lock(&self.state);
        let State { transport, writer, refresh, .. } = &mut *state;
        if let (Some(transport), Some(response)) = (transport, response) {
            // Without `poll_ready`, for which the handler may be waiting: the buffer may exceed its size by one
            // response.
            let _ = transport.start_send(response);
        }
        if let Some(refresh) = refresh {
            refresh.writers = Some(Arc::new(Writers { handler: Mutex::new(writer.clone()), ..Writers::default() }));
        }
    }

    /// Writes the response. Then the refresh is complete, and the handler receives again.
    pub(in crate::socket) fn poll_refresh_response(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        let State { transport, refresh, .. } = &mut *state;
        let (Some(transport), Some(refresh)) = (transport, refresh) else { return Poll::Ready(()) };
        if let Some(writers) = &refresh.writers {
            set_waker(&mut lock(&writers.supervisor), cx);
            // The reader sees a failure too.
            let _ = ready!(transport.poll_flush(&mut Context::from_waker(&Waker::from(Arc::clone(writers)))));
        }
        refresh.writers = None;
        refresh.is_in_progress = false;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(())
    }
}

impl ReadAhead {
    fn has_room(&self) -> bool {
        !self.has_left && self.messages.len() < MAX_MESSAGES && self.bytes < MAX_BYTES
    }

    fn push(&mut self, message: Option<Result<Message, Error>>) {
        self.has_left = matches!(&message, None | Some(Ok(Message::Close(_)) | Err(_)));
        self.bytes += message.as_ref().map_or(0, len);
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Option<Result<Message, Error>>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.as_ref().map_or(0, len);
        Some(message)
    }
}

fn len(message: &Result<Message, Error>) -> usize {
    match message {
        Ok(Message::Text(text)) => text.len(),
        Ok(Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes)) => bytes.len(),
        Ok(Message::Close(_)) | Err(_) => 0,
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
