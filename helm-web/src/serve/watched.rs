//! The stream of a connection, that tells when bytes come, and ends where none are taken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::Connection;

/// A client that takes nothing of its answer for so long is gone.
const STALLED: Duration = Duration::from_secs(30);

/// Who was answered before all of the body was read may be sending still: so long, and so many bytes, are waited for, or the kernel would
/// cut the connection off before the answer is read.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// A stream whose reads are told to its [`Connection`], and whose writes do not wait for ever.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    connection: Connection,
    /// How long a write may wait.
    within: Duration,
    /// Runs while one does.
    stalls: Option<Pin<Box<Sleep>>>,
    /// A request was answered before its body ended.
    unread: Arc<AtomicBool>,
    /// Until when the rest of it is waited for, and how many bytes of it are.
    lingers: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, connection: Connection, unread: Arc<AtomicBool>) -> Self {
        Self { stream, connection, within: STALLED, stalls: None, unread, lingers: None }
    }

    /// The same, or the end of the time that a write may wait.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalls = None;
            return written;
        }
        let within = self.within;
        let stalls = self.stalls.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + within)));
        stalls.as_mut().poll(cx).map(|()| {
            let words = format!("the client took nothing for {} s", within.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, words))
        })
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.connection.bytes_came();
        }
        read
    }
}

impl<S: Read + Unpin> Watched<S> {
    /// Reads, for nobody, what still comes: until its end, or that of the time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingers = self
            .lingers
            .get_or_insert_with(|| (Box::pin(sleep_until(Instant::now() + LINGER)), LINGER_BYTES));
        let (until, left) = (&mut lingers.0, &mut lingers.1);
        let mut bytes = [0; 16 << 10];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, read.unfilled()) {
                Poll::Ready(Ok(())) => match read.filled().len() {
                    0 => return Poll::Ready(()),
                    came if came < *left => *left -= came,
                    _ => return Poll::Ready(()),
                },
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return until.as_mut().poll(cx),
            }
        }
    }
}

impl<S: Read + Write + Unpin> Write for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.unread.load(Ordering::Relaxed) {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt;

    use super::super::connections::Connections;
    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_ended() {
        let (near, mut far) = tokio::io::duplex(8);
        let connection = Connections::new(1000).admit(Some(1000)).expect("there is room");
        let mut stream = Watched::new(TokioIo::new(near), connection, Arc::default());
        let write = async |stream: &mut Watched<_>| {
            poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, &[7; 8])).await
        };
        assert_eq!(write(&mut stream).await.expect("there is room"), 8);
        // The buffer is full until the reader takes something: that is waited for.
        let mut read = [0; 8];
        let (written, taken) = tokio::join!(write(&mut stream), far.read_exact(&mut read));
        assert!(written.is_ok() && taken.is_ok() && stream.stalls.is_none());
        stream.within = Duration::from_millis(1);
        let stalled = write(&mut stream).await;
        assert_eq!(stalled.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
    }
}
