use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::skim::Skim;

/// A connection from which only so many bytes can be read until [`lift`](Rationed::lift) is called.
///
/// Until then it hands out one byte at a time, so that a reader which stops at the end of a message has taken nothing
/// of the next one, and can be exchanged for another reader.
pub(crate) struct Rationed<S = TokioIo<Upgraded>> {
    stream: S,
    /// How many bytes may still be read; `None` for any number.
    ration: Option<usize>,
    /// Read from the stream and not handed out yet.
    ahead: Bytes,
    /// Where in the client's frames the reader is, while there is a ration.
    skim: Option<Box<Skim>>,
}

/// How much is read from the stream at once while there is a ration.
const CHUNK: usize = 1024;
/// How much is discarded at once.
const PIECE: usize = 8 * 1024;

impl<S> Rationed<S> {
    pub(in crate::socket) fn new(stream: S, bytes: usize) -> Self {
        Self { stream, ration: Some(bytes), ahead: Bytes::new(), skim: Some(Box::default()) }
    }

    /// Lets the rest be read as it comes.
    pub(super) fn lift(mut self) -> Self {
        self.ration = None;
        self.skim = None;
        self
    }

    pub(in crate::socket) const fn is_rationed(&self) -> bool {
        self.ration.is_some()
    }
}

impl<S: AsyncRead + Unpin> Rationed<S> {
    /// Reads and discards, whatever the ration is: until the end of the client's close frame, or of the stream, or until
    /// `most` bytes were read. A frame that is longer than that is not even begun with.
    ///
    /// Cancel safe.
    pub(in crate::socket) async fn discard(&mut self, mut most: usize) {
        let mut skim = self.skim.take().unwrap_or_default();
        skim.push(&std::mem::take(&mut self.ahead));
        while !skim.has_closed() && skim.announced() <= most as u64 {
            let piece = poll_fn(|cx| {
                // Here and not in the future, which waits for seconds, and for everybody who was refused.
                let mut piece = [0; PIECE];
                let mut piece = ReadBuf::new(&mut piece);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
                skim.push(piece.filled());
                Poll::Ready(Ok::<_, io::Error>(piece.filled().len()))
            });
            most = match piece.await {
                Ok(read @ 1..) if read < most => most - read,
                _ => break,
            };
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rationed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ration.is_some() && this.ahead.is_empty() {
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            this.ahead = Bytes::copy_from_slice(chunk.filled());
        }
        if this.ahead.is_empty() {
            // The end, if there is a ration; nothing is kept back, if there is none.
            return if this.ration.is_some() {
                Poll::Ready(Ok(()))
            } else {
                Pin::new(&mut this.stream).poll_read(cx, buf)
            };
        }
        let most = match &mut this.ration {
            Some(0) => return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into())),
            Some(left) => {
                *left -= 1;
                1
            }
            None => usize::MAX,
        };
        let ready = this.ahead.split_to(most.min(this.ahead.len()).min(buf.remaining()));
        if let Some(skim) = &mut this.skim {
            skim.push(&ready);
        }
        buf.put_slice(&ready);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rationed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
