//! Sending.

use std::task::{Context, Poll, ready};

use axum::{Error, extract::ws::Message};

use super::{Shared, State, set_waker};
use crate::{
    lock::lock,
    session::{EndReason, SessionEnded},
    socket::{Transport, budget::Direction, close::is_io_error},
};

impl Shared {
    pub(in crate::socket) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Error>> {
        self.poll_write(cx, |transport, cx| transport.poll_send(cx, message))
            .map(|sent| sent.unwrap_or_else(|| Err(self.ended())))
    }

    pub(in crate::socket) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Transport::poll_ready).map(|ready| ready.unwrap_or_else(|| Err(self.ended())))
    }

    pub(in crate::socket) fn start_send(&self, message: Message) -> Result<(), Error> {
        if self.budget.has_ended(&self.core) {
            return Err(self.ended());
        }
        match &mut lock(&self.state).transport {
            Some(transport) => transport.start_send(message),
            None => Err(self.ended()),
        }
    }

    pub(in crate::socket) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Transport::poll_flush).map(|flushed| flushed.unwrap_or_else(|| Err(self.ended())))
    }

    /// Succeeds if the session has ended, because the supervisor closes the connection then.
    pub(in crate::socket) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let closed = ready!(self.poll_write(cx, Transport::poll_close));
        self.close();
        Poll::Ready(closed.unwrap_or(Ok(())))
    }

    /// Runs a write. `None` if the session has ended. If the connection has failed, it ends.
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Transport, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Poll<Option<Result<(), Error>>> {
        self.budget.poll(Direction::Writing, &self.core, cx, |has_ended, cx| {
            if has_ended {
                return Poll::Ready(None);
            }
            let mut state = lock(&self.state);
            let both = state.waker_of_both(cx);
            let State { transport, writer, .. } = &mut *state;
            let Some(transport) = transport else { return Poll::Ready(None) };
            let polled = match both {
                None => write(transport, cx),
                Some(waker) => write(transport, &mut Context::from_waker(&waker)),
            };
            match &polled {
                Poll::Pending => set_waker(writer, cx),
                Poll::Ready(Err(error)) if is_io_error(error) => {
                    drop(state);
                    self.close();
                }
                Poll::Ready(_) => {}
            }
            polled.map(Some)
        })
    }

    fn ended(&self) -> Error {
        Error::new(SessionEnded::new(self.core.end_reason().unwrap_or(EndReason::Closed)))
    }
}
