//! Receiving.

use std::task::{Context, Poll};

use axum::{Error, extract::ws::Message};

use super::{Shared, set_waker};
use crate::{
    lock::lock,
    socket::{budget::Direction, close::is_io_error},
};

impl Shared {
    pub(in crate::socket) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.budget.poll(Direction::Reading, &self.core, cx, |has_ended, cx| {
            if has_ended {
                return Poll::Ready(None);
            }
            let polled = self.poll_message(cx);
            if polled.is_ready() {
                self.go_on_reading_ahead();
            }
            polled
        })
    }

    fn poll_message(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        if state.transport.is_none() {
            return Poll::Ready(None);
        }
        if state.refresh.as_ref().is_some_and(|refresh| refresh.is_in_progress()) {
            set_waker(&mut state.reader, cx);
            return Poll::Pending;
        }
        if let Some(replay) = state.replay.take() {
            return Poll::Ready(Some(Ok(*replay)));
        }
        let queued = state.next_read_ahead();
        let is_checked = queued.as_ref().is_some_and(|queued| queued.is_checked);
        let Some(transport) = &mut state.transport else { return Poll::Ready(None) };
        let polled = match queued {
            Some(queued) => Poll::Ready(queued.received),
            None if state.is_probing || self.is_reading_for_handler() => Poll::Pending,
            None => transport.poll_next(cx),
        };
        match &polled {
            Poll::Pending => set_waker(&mut state.reader, cx),
            Poll::Ready(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) if !is_checked => {
                if let Some(refresh) = &mut state.refresh
                    && let Some(rest) = refresh.start(message)
                {
                    state.replay = rest.map(Box::new);
                    set_waker(&mut state.reader, cx);
                    drop(guard);
                    self.core.wake_supervisor();
                    return Poll::Pending;
                }
            }
            Poll::Ready(Some(Ok(Message::Close(_)))) => {
                // The transport writes the response to a close frame at the next read. There is none, so write now what
                // can be written without waiting. The supervisor writes the rest.
                let _ = transport.poll_flush(cx);
                drop(guard);
                self.close();
            }
            // The client has violated the protocol. The handler may still send before the close frame.
            Poll::Ready(Some(Err(error))) if !is_io_error(error) => {}
            Poll::Ready(None | Some(Err(_))) => {
                drop(guard);
                self.close();
            }
            Poll::Ready(Some(Ok(_))) => {}
        }
        polled
    }
}
