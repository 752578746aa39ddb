//! A stream whose small writes leave together. In go the writes of an HTTP/2 connection, out they come when it flushes,
//! or with the next large one. The crate h2 copies messages into its buffer, so that those of several calls leave in one
//! system call, up to four times the size where a stream says that it can't write several pieces at once; this one
//! says so, and does it all the same.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A write of this size need not wait for company.
const LARGE_BYTES: usize = 4 << 10;

/// A stream whose small writes wait for the next large one, or for a flush.
pub struct Gather<S> {
    stream: S,
    waiting: BytesMut,
}

impl<S> Gather<S> {
    /// Over this stream.
    pub fn new(stream: S) -> Self {
        Self { stream, waiting: BytesMut::new() }
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes what waits.
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, waiting } = &mut *self;
        if waiting.len() + piece.len() < LARGE_BYTES {
            waiting.extend_from_slice(piece);
            return Poll::Ready(Ok(piece.len()));
        }
        loop {
            let both = [IoSlice::new(waiting), IoSlice::new(piece)];
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(context, &both))?;
            let before = waiting.len().min(written);
            waiting.advance(before);
            if written == 0 || written > before {
                return Poll::Ready(Ok(written - before));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Takes at most so many bytes at once, and counts.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        at_most: usize,
        writes: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            piece: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.as_mut().poll_write_vectored(context, &[IoSlice::new(piece)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.writes += 1;
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            let length = all.len().min(self.at_most);
            self.taken.extend_from_slice(&all[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn all_is_written_in_order_however_little_is_taken_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sizes = [1, 9, 300, 4096, 5, 20_000, 4000, 200, 0, 7];
        let pieces: Vec<Vec<u8>> = (1..).zip(sizes).map(|(byte, size)| vec![byte; size]).collect();
        for at_most in [1, 100, 4099, 1 << 20] {
            let mut gather = Gather::new(Slow { at_most, ..Slow::default() });
            runtime.block_on(async {
                for piece in &pieces {
                    gather.write_all(piece).await.unwrap();
                }
                gather.flush().await.unwrap();
            });
            assert_eq!(gather.stream.taken, pieces.concat(), "{at_most} at once");
            if at_most == 1 << 20 {
                // The fourth, the sixth and the eighth take along what waits; the rest is flushed.
                assert_eq!(gather.stream.writes, 4);
            }
        }
    }

    #[test]
    fn a_stream_that_takes_nothing_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut gather = Gather::new(Slow::default());
        runtime.block_on(async {
            gather.write_all(b"x").await.unwrap();
            assert!(gather.flush().await.is_err() && gather.write_all(&[0; 5000]).await.is_err());
        });
    }
}
