//! What the handler's socket and its supervisor share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker, ready},
};

use axum::{Error, extract::ws::Message};

use super::{
    RefreshProtocol, Transport,
    budget::{Budget, Direction},
    close::is_broken,
    refresh_protocol::Asked,
};
use crate::{
    lock::lock,
    session::{End, EndReason, SessionCore},
};

/// The WebSocket behind a lock that nobody waits for: the handler and the supervisor are mostly in one task.
pub(super) struct Shared {
    core: Arc<SessionCore>,
    budget: Budget,
    state: Mutex<State>,
}

struct State {
    /// Gone once the session has ended.
    transport: Option<Transport>,
    /// Who waits for a message, and who waits to send one, perhaps in tasks of their own. They are woken when the
    /// transport is taken away.
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// To be received before anything else. Boxed, like what is next, because most sockets have neither.
    replay: Option<Box<Message>>,
    in_band: Option<Box<InBand>>,
}

/// Refreshes by messages of the client's.
struct InBand {
    protocol: RefreshProtocol,
    request: Option<Asked>,
    /// Until the answer is written the handler receives nothing else: so answers come in order, and a client that asks
    /// without reading is not asked for more.
    under_way: bool,
    ahead: Ahead,
    /// While the answer is being written.
    writers: Option<Arc<Writers>>,
}

/// What was read while a refresh was under way, to notice that the client leaves. The handler receives it before anything
/// else, in order.
#[derive(Default)]
struct Ahead {
    /// `None` is the end of the stream.
    messages: VecDeque<Option<Result<Message, Error>>>,
    bytes: usize,
    /// Nothing can follow, or nothing that matters.
    is_complete: bool,
}

/// How much is read ahead: enough for a client that says something and leaves. One that says more is noticed when the
/// refresh is over.
const MOST_MESSAGES: usize = 16;
const MOST_BYTES: usize = 64 * 1024;

/// The supervisor, which writes an answer, and a handler that waits to send at the same time. To the transport both are one
/// writer with one waker, which is this.
#[derive(Default)]
struct Writers {
    handler: Mutex<Option<Waker>>,
    supervisor: Mutex<Option<Waker>>,
}

/// A handler sends on a socket whose session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended: {reason}")]
pub struct SessionEnded {
    reason: EndReason,
}

impl SessionEnded {
    /// Why it ended.
    #[must_use]
    pub const fn reason(self) -> EndReason {
        self.reason
    }
}

impl Shared {
    pub(super) fn new(
        core: Arc<SessionCore>,
        transport: Transport,
        replay: Option<Message>,
        protocol: Option<RefreshProtocol>,
    ) -> Self {
        let in_band = |protocol| {
            Box::new(InBand { protocol, request: None, under_way: false, ahead: Ahead::default(), writers: None })
        };
        let (replay, in_band) = (replay.map(Box::new), protocol.map(in_band));
        let state = State { transport: Some(transport), reader: None, writer: None, replay, in_band };
        Self { core, budget: Budget::new(), state: Mutex::new(state) }
    }

    pub(super) const fn core(&self) -> &Arc<SessionCore> {
        &self.core
    }

    /// The handler is about to be polled.
    pub(super) fn new_turn(&self) {
        self.budget.new_turn();
    }

    /// Takes the transport away. Reading and sending end.
    pub(super) fn take(&self) -> Option<Transport> {
        let (transport, reader, writer) = {
            let mut state = lock(&self.state);
            (state.transport.take(), state.reader.take(), state.writer.take())
        };
        for waker in [reader, writer].into_iter().flatten() {
            waker.wake();
        }
        transport
    }

    /// The handler dropped its socket, and the connection with it. After an order to end the session, and where the client
    /// has yet to be told that it broke the protocol, the connection is the supervisor's, which closes it in good form.
    pub(super) fn abandon(&self) {
        if self.core.end(End { reason: EndReason::Closed, code: None }) && !self.has_failed() {
            drop(self.take());
        }
    }

    fn has_failed(&self) -> bool {
        lock(&self.state).transport.as_ref().is_some_and(Transport::has_failed)
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.budget.poll(Direction::Reading, &self.core, cx, |has_ended, cx| {
            if has_ended { Poll::Ready(None) } else { self.receive(cx) }
        })
    }

    fn receive(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some(transport) = &mut state.transport else { return Poll::Ready(None) };
        if state.in_band.as_ref().is_some_and(|in_band| in_band.under_way) {
            set(&mut state.reader, cx);
            return Poll::Pending;
        }
        if let Some(replay) = state.replay.take() {
            return Poll::Ready(Some(Ok(*replay)));
        }
        let ahead = state.in_band.as_mut().and_then(|in_band| in_band.ahead.pop());
        let polled = ahead.map_or_else(|| transport.poll_next(cx), Poll::Ready);
        match &polled {
            Poll::Pending => set(&mut state.reader, cx),
            Poll::Ready(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                if let Some(in_band) = &mut state.in_band
                    && let Some((request, rest)) = in_band.protocol.read(message)
                {
                    in_band.request = Some(request);
                    in_band.under_way = true;
                    state.replay = rest.map(Box::new);
                    set(&mut state.reader, cx);
                    drop(guard);
                    self.core.wake_supervisor();
                    return Poll::Pending;
                }
            }
            Poll::Ready(Some(Ok(Message::Close(_)))) => {
                // The answer to a close frame is queued until the next read. Most handlers do not read again but drop
                // the socket, and to the client the connection would have broken. What cannot be written at once is
                // not worth waiting for.
                let _ = transport.poll_flush(cx);
                // Which took the place of whoever waits to send.
                let writer = state.writer.take();
                drop(guard);
                if let Some(writer) = writer {
                    writer.wake();
                }
            }
            // The client is still there, and the handler may say something. If not, the client is told by the close frame.
            Poll::Ready(Some(Err(error))) if !is_broken(error) => {}
            Poll::Ready(None | Some(Err(_))) => {
                drop(guard);
                self.core.end(End { reason: EndReason::Closed, code: None });
            }
            Poll::Ready(Some(Ok(_))) => {}
        }
        polled
    }

    pub(super) fn poll_send(&self, cx: &mut Context<'_>, message: &mut Option<Message>) -> Poll<Result<(), Error>> {
        self.write(cx, |transport, cx| transport.poll_send(cx, message))
            .map(|sent| sent.unwrap_or_else(|| self.ended()))
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.write(cx, Transport::poll_ready).map(|ready| ready.unwrap_or_else(|| self.ended()))
    }

    pub(super) fn start_send(&self, message: Message) -> Result<(), Error> {
        if self.budget.has_ended(&self.core) {
            return Err(self.error());
        }
        match &mut lock(&self.state).transport {
            Some(transport) => transport.start_send(message),
            None => Err(self.error()),
        }
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.write(cx, Transport::poll_flush).map(|flushed| flushed.unwrap_or_else(|| self.ended()))
    }

    /// What is closed already is closed well.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.write(cx, Transport::poll_close).map(|closed| closed.unwrap_or(Ok(())))
    }

    pub(super) fn is_terminated(&self) -> bool {
        if self.core.has_ended() {
            return true;
        }
        let state = lock(&self.state);
        let has_more =
            state.replay.is_some() || state.in_band.as_ref().is_some_and(|in_band| !in_band.ahead.messages.is_empty());
        state.transport.as_ref().is_none_or(|transport| !has_more && transport.is_terminated())
    }

    /// The client's next request to refresh the session.
    pub(super) fn request(&self) -> Option<Asked> {
        lock(&self.state).in_band.as_mut()?.request.take()
    }

    /// Reads ahead while a refresh is under way. Returns whether the client has left, or wants to.
    pub(super) fn look_ahead(&self, cx: &mut Context<'_>) -> bool {
        let mut state = lock(&self.state);
        let State { transport, writer, in_band, .. } = &mut *state;
        let (Some(transport), Some(in_band)) = (transport, in_band) else { return false };
        while in_band.ahead.has_room() {
            let Poll::Ready(message) = transport.poll_next(cx) else { return false };
            let leaves = in_band.ahead.push(message);
            if leaves {
                // The answer to a close frame, and what it displaces; see `receive`.
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

    /// Nobody waits for the answer any more: the handler receives again.
    pub(super) fn give_up_request(&self) {
        let mut state = lock(&self.state);
        if let Some(in_band) = &mut state.in_band {
            in_band.under_way = false;
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Answers it, by the supervisor; then to be [written](Self::write_answer).
    pub(super) fn answer(&self, answer: Option<Message>) {
        let mut state = lock(&self.state);
        let State { transport, writer, in_band, .. } = &mut *state;
        if let (Some(transport), Some(answer)) = (transport, answer) {
            // Without `poll_ready`, which a handler that sends may be waiting for: one answer more does no harm.
            let _ = transport.start_send(answer);
        }
        if let Some(in_band) = in_band {
            in_band.writers = Some(Arc::new(Writers { handler: Mutex::new(writer.clone()), ..Writers::default() }));
        }
    }

    /// Writes the answer, as far as the client lets it. Then the handler receives again.
    pub(super) fn write_answer(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        let State { transport, in_band, .. } = &mut *state;
        let (Some(transport), Some(in_band)) = (transport, in_band) else { return Poll::Ready(()) };
        if let Some(writers) = &in_band.writers {
            set(&mut lock(&writers.supervisor), cx);
            // If it fails, whoever reads is told so.
            let _ = ready!(transport.poll_flush(&mut Context::from_waker(&Waker::from(Arc::clone(writers)))));
        }
        in_band.writers = None;
        in_band.under_way = false;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(())
    }

    /// Runs a write, and notes who waits for it. `None` after the end.
    fn write<T>(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Transport, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        self.budget.poll(Direction::Writing, &self.core, cx, |has_ended, cx| {
            if has_ended {
                return Poll::Ready(None);
            }
            let mut state = lock(&self.state);
            let State { transport, writer, in_band, .. } = &mut *state;
            let Some(transport) = transport else { return Poll::Ready(None) };
            let polled = match in_band.as_ref().and_then(|in_band| in_band.writers.as_ref()) {
                None => write(transport, cx),
                Some(writers) => {
                    set(&mut lock(&writers.handler), cx);
                    write(transport, &mut Context::from_waker(&Waker::from(Arc::clone(writers))))
                }
            };
            if polled.is_pending() {
                set(writer, cx);
            }
            polled.map(Some)
        })
    }

    fn ended<T>(&self) -> Result<T, Error> {
        Err(self.error())
    }

    fn error(&self) -> Error {
        Error::new(SessionEnded { reason: self.core.end_reason().unwrap_or(EndReason::Closed) })
    }
}

impl Ahead {
    fn has_room(&self) -> bool {
        !self.is_complete && self.messages.len() < MOST_MESSAGES && self.bytes < MOST_BYTES
    }

    /// Returns whether the client leaves with this.
    fn push(&mut self, message: Option<Result<Message, Error>>) -> bool {
        let leaves = match &message {
            None | Some(Ok(Message::Close(_))) => true,
            Some(Err(_)) => true,
            Some(Ok(_)) => false,
        };
        self.is_complete = leaves || matches!(message, Some(Err(_)));
        self.bytes += message.as_ref().map_or(0, length);
        self.messages.push_back(message);
        leaves
    }

    fn pop(&mut self) -> Option<Option<Result<Message, Error>>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.as_ref().map_or(0, length);
        Some(message)
    }
}

fn length(message: &Result<Message, Error>) -> usize {
    match message {
        Ok(Message::Text(text)) => text.len(),
        Ok(Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes)) => bytes.len(),
        Ok(Message::Close(_)) | Err(_) => 0,
    }
}

impl Wake for Writers {
    fn wake(self: Arc<Self>) {
        for slot in [&self.handler, &self.supervisor] {
            // Not woken under the lock: it may be polled at once.
            let waker = lock(slot).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

fn set(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
