use std::task::{Context, Poll};

use axum::extract::ws::Message;

use super::BoxFuture;
use crate::{
    session::Session,
    socket::{RefreshProtocol, refresh_protocol::ReceivedRefresh, shared::Shared},
};

/// Refreshes the session when the client requests it by a message.
pub(super) struct Refresher {
    refresh: Box<dyn Fn(ReceivedRefresh) -> BoxFuture<Option<Message>> + Send>,
    in_progress: Option<BoxFuture<Option<Message>>>,
    /// The response is not written yet.
    is_responding: bool,
}

impl Refresher {
    pub(super) fn new<C: Send + Sync + 'static>(session: Session<C>, protocol: RefreshProtocol) -> Self {
        let refresh = move |ReceivedRefresh { token, message }: ReceivedRefresh| -> BoxFuture<Option<Message>> {
            let (session, protocol) = (session.clone(), protocol.clone());
            Box::pin(async move {
                let outcome = match token {
                    Some(token) => session.refresh(token).await.map(|()| session.core().time_left()),
                    None => Err(session.refuse_malformed()),
                };
                protocol.respond(&message, outcome.as_ref().copied())
            })
        };
        Self { refresh: Box::new(refresh), in_progress: None, is_responding: false }
    }

    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        if self.in_progress.is_none() && !self.is_responding {
            self.in_progress = shared.take_refresh_request().map(|request| (self.refresh)(request));
        }
        if let Some(in_progress) = &mut self.in_progress {
            if let Poll::Ready(response) = in_progress.as_mut().poll(cx) {
                self.in_progress = None;
                self.is_responding = true;
                if let Some(response) = response {
                    shared.queue(response);
                }
            } else if shared.read_ahead(cx) {
                self.in_progress = None;
                shared.end_refresh();
            }
        }
        if self.is_responding && shared.poll_own_messages(cx).is_ready() {
            // When the handler has received the next request, this is polled again.
            self.is_responding = false;
            shared.end_refresh();
        }
    }
}
