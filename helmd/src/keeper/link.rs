//! One connection to a keeper: framed messages over its Unix stream socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use helm_shim::codec::{CodecError, Decoder, encode};
use helm_shim::rundir::ServiceDir;
use helm_shim::wire::{Order, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// An order that a keeper does not take in for this long shows that it is stuck; it can be killed and replaced.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// A connection.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Link {
    /// A new keeper gets the other end as its standard input.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self::over(UnixStream::from_std(ours)?), theirs.into()))
    }

    /// Connects to a keeper that is there already. A Unix socket connects at once or not at all.
    pub fn connect(place: &ServiceDir) -> io::Result<Self> {
        let stream = place.connect()?;
        stream.set_nonblocking(true)?;
        Ok(Self::over(UnixStream::from_std(stream)?))
    }

    fn over(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default(), buffer: Vec::new() }
    }

    /// Sends an order.
    pub async fn send(&mut self, order: &Order) -> io::Result<()> {
        let bytes = encode(order);
        timeout(WRITE_WITHIN, self.stream.write_all(&bytes)).await?
    }

    /// The next report. Cancel-safe: what was read stays in the decoder.
    pub async fn next(&mut self) -> io::Result<Report> {
        loop {
            match self.decoder.take() {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => {}
                // A keeper of another version says something that we do not know: the rest is as good as ever.
                Err(e @ CodecError::Unknown(_)) => {
                    tracing::warn!("a keeper's message: {e}");
                    continue;
                }
                Err(e @ CodecError::TooLong(_)) => return Err(io::Error::other(e)),
            }
            self.buffer.clear();
            if self.buffer.capacity() == 0 {
                self.buffer.reserve_exact(1024);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.decoder.feed(&self.buffer);
        }
    }
}
