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
    /// Whether another message may be sent. Writes, if too much waits to be written.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state != State::Open {
            return Poll::Ready(Err(Error::closed()));
        }
        while self.outbox.len() >= self.decoder.limits.write_buffer.max(1) {
            ready!(self.poll_write_some(cx, Side::Writer))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a message to be written by [`poll_flush`](Self::poll_flush).
    pub(crate) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        if self.state != State::Open {
            return Err(Error::closed());
        }
        let is_close = matches!(message, Message::Close(_));
        self.outbox.push(message, self.io.is_write_vectored())?;
        if is_close {
            self.state = State::Closing;
        }
        Ok(())
    }

    /// Writes everything.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Side::Writer)
    }

    /// Sends a close frame unless one was sent, writes everything, and ends the writing side of the connection.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state == State::Open {
            self.outbox.close(close_payload(Some(&CloseFrame { code: 1000, reason: "".into() })));
            self.state = State::Closing;
        }
        ready!(self.poll_write(cx, Side::Writer))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(Error::from)
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<Result<(), Error>> {
        loop {
            if self.outbox.has_answer() {
                self.outbox.encode_answers();
            }
            if self.outbox.is_empty() {
                break;
            }
            ready!(self.poll_write_some(cx, side))?;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.outbox.settle();
        // The other side may wait for the same.
        let (own, other) = self.waiting(side);
        *own = None;
        if let Some(other) = other.take() {
            other.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<io::Result<()>> {
        // The connection has room for one waker, and both sides may wait to write.
        let polled = match self.waiting(side).1 {
            Some(other) if !other.will_wake(cx.waker()) => {
                let both = Waker::from(Arc::new(Both(other.clone(), cx.waker().clone())));
                self.write_to_io(&mut Context::from_waker(&both))
            }
            _ => self.write_to_io(cx),
        };
        let Poll::Ready(len) = polled else {
            let (own, _) = self.waiting(side);
            match own {
                Some(own) => own.clone_from(cx.waker()),
                None => *own = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        match len? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            len => {
                self.outbox.advance(len);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn write_to_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.io);
        match self.outbox.pieces() {
            Some(pieces) => io.poll_write_vectored(cx, &pieces),
            None => io.poll_write(cx, self.outbox.piece()),
        }
    }

    /// The wakers of this side and the other.
    const fn waiting(&mut self, side: Side) -> (&mut Option<Waker>, &mut Option<Waker>) {
        match side {
            Side::Reader => (&mut self.reader, &mut self.writer),
            Side::Writer => (&mut self.writer, &mut self.reader),
        }
    }
}

struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}
