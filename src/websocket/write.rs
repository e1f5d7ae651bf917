//! Sending.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use axum::extract::ws::{CloseFrame, Message};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Error, State, WebSocket, decoder::close_payload};

/// Who polls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Reader,
    Writer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Waits until another message may be sent. Writes, if the write buffer is full.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state != State::Open {
            return Poll::Ready(Err(Error::closed()));
        }
        while self.write_buffer.len() >= self.decoder.limits.write_buffer.max(1) {
            ready!(self.poll_write_some(cx, Side::Writer))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a message. [`poll_flush`](Self::poll_flush) writes it.
    pub(crate) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        if self.state != State::Open {
            return Err(Error::closed());
        }
        let is_close = matches!(message, Message::Close(_));
        self.write_buffer.push(message, self.io.is_write_vectored())?;
        if is_close {
            self.state = State::CloseSent;
        }
        Ok(())
    }

    /// Queues a ping, behind what is unwritten. Reading writes it, and so does [`poll_flush`](Self::poll_flush).
    pub(crate) const fn ping(&mut self) {
        if matches!(self.state, State::Open) {
            self.write_buffer.set_ping();
            self.awaits_pong = true;
        }
    }

    /// Whether something is queued and unwritten.
    pub(crate) const fn has_unwritten(&self) -> bool {
        !self.write_buffer.is_empty()
    }

    /// Writes everything.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Side::Writer)
    }

    /// Sends a close frame unless one was sent, writes everything, and shuts down the writing side of the connection.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state == State::Open {
            self.write_buffer.set_close(close_payload(Some(&CloseFrame { code: 1000, reason: "".into() })));
            self.state = State::CloseSent;
        }
        ready!(self.poll_write(cx, Side::Writer))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(Error::from)
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<Result<(), Error>> {
        loop {
            if self.write_buffer.has_response() {
                self.write_buffer.encode_responses();
            }
            if self.write_buffer.is_empty() {
                break;
            }
            ready!(self.poll_write_some(cx, side))?;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.write_buffer.set_flushed();
        let (own, other) = self.wakers(side);
        *own = None;
        // The other side may wait for this.
        if let Some(other) = other.take() {
            other.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<io::Result<()>> {
        // The connection stores one waker, and both sides may wait to write.
        let polled = match self.wakers(side).1 {
            Some(other) if !other.will_wake(cx.waker()) => {
                let both = Waker::from(Arc::new(WakeBoth(other.clone(), cx.waker().clone())));
                self.poll_write_io(&mut Context::from_waker(&both))
            }
            _ => self.poll_write_io(cx),
        };
        let Poll::Ready(len) = polled else {
            match self.wakers(side).0 {
                Some(own) => own.clone_from(cx.waker()),
                own => *own = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        match len? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            len => {
                self.activity.sent = true;
                self.write_buffer.advance(len);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_write_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.io);
        match self.write_buffer.next_slices() {
            Some(slices) => io.poll_write_vectored(cx, &slices),
            None => io.poll_write(cx, self.write_buffer.next_slice()),
        }
    }

    /// The wakers of this side and of the other.
    const fn wakers(&mut self, side: Side) -> (&mut Option<Waker>, &mut Option<Waker>) {
        match side {
            Side::Reader => (&mut self.reader, &mut self.writer),
            Side::Writer => (&mut self.writer, &mut self.reader),
        }
    }
}

struct WakeBoth(Waker, Waker);

impl Wake for WakeBoth {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}
