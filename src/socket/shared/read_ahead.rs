//! Messages that the supervisor has read before the handler asked for them.

use std::{
    collections::VecDeque,
    mem::{self, discriminant},
    task::{Context, Poll},
};

use axum::{Error, extract::ws::Message};

use super::{Shared, State};
use crate::lock::lock;

/// A message, or an error, or `None` at the end of the stream.
type Received = Option<Result<Message, Error>>;

/// A message that was read ahead.
pub(super) struct Queued {
    pub(super) received: Received,
    /// It is known to hold no request for a refresh.
    pub(super) is_checked: bool,
}

/// What was read ahead. The handler receives it next, in order.
#[derive(Default)]
pub(super) struct ReadAhead {
    messages: VecDeque<Queued>,
    bytes: usize,
    /// The client has left, or is leaving: it sent a close frame, the stream has ended, or an error occurred.
    has_left: bool,
}

/// The maximum number of messages that are read ahead. It is enough for a client that sends something and leaves. If a
/// client sends more, its leaving is noticed when the handler has received some of them.
const MAX_MESSAGES: usize = 16;
const MAX_BYTES: usize = 64 * 1024;

impl State {
    /// The next message that was read ahead.
    pub(super) fn next_read_ahead(&mut self) -> Option<Queued> {
        let read_ahead = self.read_ahead.as_mut()?;
        let message = read_ahead.pop();
        if read_ahead.messages.is_empty() {
            self.read_ahead = None;
        }
        message
    }

    /// Starts the first refresh that was requested ahead, unless one is in progress.
    pub(super) fn start_refresh_ahead(&mut self) {
        let (Some(refresh), Some(read_ahead)) = (&mut self.refresh, &mut self.read_ahead) else { return };
        if refresh.is_in_progress() {
            return;
        }
        let start = |queued: &mut Queued| {
            if mem::replace(&mut queued.is_checked, true) {
                return None;
            }
            match &queued.received {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => refresh.start(message),
                _ => None,
            }
        };
        let found = read_ahead.messages.iter_mut().map(start).enumerate().find_map(|(at, rest)| Some((at, rest?)));
        if let Some((at, rest)) = found {
            read_ahead.replace(at, rest);
            if read_ahead.messages.is_empty() {
                self.read_ahead = None;
            }
        }
    }

    /// Whether nothing more can be read ahead, although the client has not left.
    pub(super) fn is_read_ahead_full(&self) -> bool {
        self.read_ahead.as_ref().is_some_and(|read_ahead| !read_ahead.has_left && !read_ahead.has_room())
    }

    /// Whether the client has left and the handler has not received that yet.
    pub(super) fn has_left(&self) -> bool {
        self.read_ahead.as_ref().is_some_and(|read_ahead| read_ahead.has_left)
    }
}

impl Shared {
    /// Reads ahead. Returns whether the client has left, or is leaving.
    pub(in crate::socket) fn read_ahead(&self, cx: &mut Context<'_>) -> bool {
        let mut state = lock(&self.state);
        let State { transport, writer, read_ahead, .. } = &mut *state;
        let Some(transport) = transport else { return false };
        while read_ahead.as_ref().is_none_or(|read_ahead| read_ahead.has_room()) {
            let Poll::Ready(message) = transport.poll_next(cx) else { return false };
            let read_ahead = read_ahead.get_or_insert_default();
            read_ahead.push(message);
            if read_ahead.has_left {
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
        state.has_left()
    }
}

impl ReadAhead {
    fn has_room(&self) -> bool {
        !self.has_left && self.messages.len() < MAX_MESSAGES && self.bytes < MAX_BYTES
    }

    fn push(&mut self, message: Received) {
        if let Some(Ok(newest @ (Message::Ping(_) | Message::Pong(_)))) = &message {
            // Only the newest of each matters (RFC 6455 §5.5.3), and a handler that never receives must not be full of
            // them.
            let is_older = |queued: &Queued| matches!(&queued.received, Some(Ok(queued)) if discriminant(queued) == discriminant(newest));
            self.messages.retain(|queued| !is_older(queued));
            self.count_bytes();
        }
        self.has_left = matches!(&message, None | Some(Ok(Message::Close(_)) | Err(_)));
        self.bytes += len(&message);
        self.messages.push_back(Queued { received: message, is_checked: false });
    }

    fn pop(&mut self) -> Option<Queued> {
        let message = self.messages.pop_front()?;
        self.bytes -= len(&message.received);
        Some(message)
    }

    /// Replaces a message by this one, or by nothing.
    fn replace(&mut self, at: usize, message: Option<Message>) {
        match (message, self.messages.get_mut(at)) {
            (Some(message), Some(queued)) => queued.received = Some(Ok(message)),
            _ => drop(self.messages.remove(at)),
        }
        self.count_bytes();
    }

    fn count_bytes(&mut self) {
        self.bytes = self.messages.iter().map(|queued| len(&queued.received)).sum();
    }
}

fn len(message: &Received) -> usize {
    match message {
        Some(Ok(Message::Text(text))) => text.len(),
        Some(Ok(Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes))) => bytes.len(),
        Some(Ok(Message::Close(_)) | Err(_)) | None => 0,
    }
}
