//! An in-memory connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes that a client sends and receives.
pub struct Wire {
    pub to_read: Vec<u8>,
    pub taken: usize,
    /// Whether the connection ends after [`to_read`](Self::to_read).
    pub is_ended: bool,
    /// The most bytes that the next read returns. If `is_slow`, every second read is pending.
    pub read_lens: Box<dyn FnMut() -> usize>,
    pub is_slow: bool,
    pub was_pending: bool,
    pub written: Vec<u8>,
    /// The most bytes that the next write accepts.
    pub write_lens: Box<dyn FnMut() -> usize>,
    /// The number of bytes that can be written before a write is pending.
    pub room: usize,
    pub is_vectored: bool,
    pub is_shut_down: bool,
}

impl Wire {
    pub fn new(to_read: Vec<u8>) -> Self {
        Self {
            to_read,
            taken: 0,
            is_ended: false,
            read_lens: Box::new(|| usize::MAX),
            is_slow: false,
            was_pending: false,
            written: Vec::new(),
            write_lens: Box::new(|| usize::MAX),
            room: usize::MAX,
            is_vectored: false,
            is_shut_down: false,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        assert!(buf.remaining() > 0, "a read into nothing looks like the end");
        if self.is_slow && !self.was_pending {
            self.was_pending = true;
            return Poll::Pending;
        }
        self.was_pending = false;
        let left = self.to_read.len() - self.taken;
        if left == 0 && !self.is_ended {
            return Poll::Pending;
        }
        let len = left.min(buf.remaining()).min((self.read_lens)());
        buf.put_slice(&self.to_read[self.taken..][..len]);
        self.taken += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.is_shut_down, "a write behind the end");
        assert!(self.is_vectored || pieces.len() == 1, "several pieces at once");
        if self.room == 0 {
            return Poll::Pending;
        }
        let most = self.room.min((self.write_lens)());
        let before = self.written.len();
        for piece in pieces {
            let len = piece.len().min(most - (self.written.len() - before));
            self.written.extend_from_slice(&piece[..len]);
        }
        let len = self.written.len() - before;
        assert!(len > 0, "a write of nothing");
        self.room -= len;
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut_down = true;
        Poll::Ready(Ok(()))
    }
}
