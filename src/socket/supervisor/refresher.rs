use std::{
    iter,
    task::{Context, Poll},
};

use axum::extract::ws::Message;
use tokio::time::Instant;

use super::{BoxFuture, asker::Asker, demander::Demander};
use crate::{
    session::Session,
    socket::{RefreshProtocol, refresh_protocol::ReceivedRefresh, shared::Shared},
};

/// Refreshes the session when the client requests it by a message, and tells the client what it needs for that.
pub(super) struct Refresher {
    refresh: Box<dyn Fn(ReceivedRefresh) -> BoxFuture<Option<Message>> + Send>,
    in_progress: Option<BoxFuture<Option<Message>>>,
    /// The response is not written yet.
    is_responding: bool,
    /// Something is queued and not written yet.
    is_sending: bool,
    protocol: RefreshProtocol,
    asker: Option<Asker>,
    demander: Demander,
}

impl Refresher {
    pub(super) fn new<C: Send + Sync + 'static>(session: Session<C>, protocol: RefreshProtocol) -> Self {
        let asker = protocol.asking().map(Asker::new);
        let responding = protocol.clone();
        let refresh = move |ReceivedRefresh { token, message }: ReceivedRefresh| -> BoxFuture<Option<Message>> {
            let (session, protocol) = (session.clone(), responding.clone());
            Box::pin(async move {
                let outcome = match token {
                    Some(token) => session.refresh(token).await.map(|()| session.core().time_left()),
                    None => Err(session.refuse_malformed()),
                };
                protocol.respond(&message, outcome.as_ref().copied())
            })
        };
        Self {
            refresh: Box::new(refresh),
            in_progress: None,
            is_responding: false,
            is_sending: false,
            protocol,
            asker,
            demander: Demander::default(),
        }
    }

    /// Queues the first message of the socket, if there is one.
    pub(super) fn greet(&mut self, shared: &Shared) {
        let core = shared.core();
        if let Some(greeting) = self.protocol.greet(core.id(), core.time_left()) {
            self.send(greeting, shared);
        }
    }

    pub(super) fn alarm(&self) -> Option<Instant> {
        self.asker.as_ref()?.alarm()
    }

    /// Looks at the clock when this is polled next.
    pub(super) fn ring(&mut self) {
        if let Some(asker) = &mut self.asker {
            asker.ring();
        }
    }

    /// Returns whether the alarm has changed.
    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        let alarm = self.alarm();
        // A handler that waits for a refresh may not receive the next request.
        while self.poll_refresh(shared, cx) && self.demander.has_demands() {}
        alarm != self.alarm()
    }

    /// Returns whether a refresh has ended.
    fn poll_refresh(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        self.demander.poll(shared, cx);
        if self.in_progress.is_none() && !self.is_responding {
            self.in_progress = shared.take_refresh_request().map(|request| (self.refresh)(request));
        }
        if let Some(in_progress) = &mut self.in_progress {
            if let Poll::Ready(response) = in_progress.as_mut().poll(cx) {
                self.in_progress = None;
                self.is_responding = true;
                match response {
                    Some(response) => self.send(response, shared),
                    // Has the refresh end below.
                    None => self.is_sending = true,
                }
            } else if shared.read_ahead(cx) {
                self.in_progress = None;
                shared.end_refresh();
                return true;
            }
        }
        self.poll_messages(shared, cx)
    }

    /// Writes what is queued, and asks the client for a token if that is due. A client that does not read has one
    /// message queued. Returns whether a refresh has ended.
    fn poll_messages(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        let mut has_ended = false;
        loop {
            if self.is_sending {
                if shared.poll_own_messages(cx).is_pending() {
                    return has_ended;
                }
                self.is_sending = false;
                if self.is_responding {
                    // When the handler has received the next request, this is polled again.
                    self.is_responding = false;
                    shared.end_refresh();
                    has_ended = true;
                }
            }
            let asked = self.asker.as_mut().and_then(|asker| asker.next(shared.core()));
            match asked.or_else(|| self.next_demand(shared)) {
                Some(message) => self.send(message, shared),
                None => return has_ended,
            }
        }
    }

    /// The next demand of the application that the protocol has a message for.
    fn next_demand(&self, shared: &Shared) -> Option<Message> {
        iter::from_fn(|| self.demander.next(shared)).find_map(|demand| self.protocol.demand(&demand))
    }

    fn send(&mut self, message: Message, shared: &Shared) {
        shared.queue(message);
        self.is_sending = true;
    }
}
