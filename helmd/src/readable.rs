//! Waiting for a descriptor that is no socket or pipe of the runtime: a pidfd, an inotify queue.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor whose readiness is awaited.
#[derive(Debug)]
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Registers the descriptor with the runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "unsound only for types that do not own their descriptor; OwnedFd does"
        )]
        AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
    }

    /// The descriptor.
    pub fn get(&self) -> &OwnedFd {
        self.0.get_ref()
    }

    /// Waits until, at one of its edges, `look` finds something.
    pub async fn until<T>(&self, mut look: impl FnMut(&OwnedFd) -> Option<T>) -> io::Result<T> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Some(found) = look(self.get()) {
                return Ok(found);
            }
            ready.clear_ready();
        }
    }
}
