//! The way from a stream to its client. So many bytes may wait in it; while there is no room the stream waits, and misses what the
//! hub cannot hold for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::serve::connections::HangUp;

/// Bytes that may wait for a client; a frame that has more waits alone.
const ROOM: u32 = 256 << 10;
/// Frames that may.
const FRAMES: usize = 64;
/// How long a client has for the last word, and for what waits before it; then its connection is cut.
const LAST_WORD: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    is_last: bool,
    _room: OwnedSemaphorePermit,
}

/// Nobody is there any more to take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Where a stream puts what it tells.
#[derive(Debug)]
pub struct Outlet {
    room: Arc<Semaphore>,
    frames: mpsc::Sender<Waiting>,
    hang_up: HangUp,
}

/// The body of a stream's answer.
#[derive(Debug)]
pub struct Frames {
    frames: mpsc::Receiver<Waiting>,
    is_over: bool,
}

/// Both ends, for a connection that can be cut.
#[must_use]
pub fn outlet(hang_up: HangUp) -> (Outlet, Frames) {
    let (sender, frames) = mpsc::channel(FRAMES);
    let room = Arc::new(Semaphore::new(ROOM as usize));
    (Outlet { room, frames: sender, hang_up }, Frames { frames, is_over: false })
}

fn weight(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(ROOM).clamp(1, ROOM)
}

impl Outlet {
    /// Waits until there is room.
    ///
    /// # Errors
    /// The client has gone.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.put(bytes, false).await
    }

    async fn put(&self, bytes: Bytes, is_last: bool) -> Result<(), Gone> {
        let room = self.room.clone().acquire_many_owned(weight(&bytes)).await;
        // It is never closed.
        let room = room.map_err(|_| Gone)?;
        self.frames.send(Waiting { bytes, is_last, _room: room }).await.map_err(|_| Gone)
    }

    /// Where there is room: a client for which something waits needs no word more.
    pub fn offer(&self, bytes: Bytes) {
        if let Ok(room) = self.room.clone().try_acquire_many_owned(weight(&bytes)) {
            let _ = self.frames.try_send(Waiting { bytes, is_last: false, _room: room });
        }
    }

    /// Until the client has gone.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }

    /// The last word. A client that does not take it in time loses its connection.
    pub async fn end(self, bytes: Bytes) {
        let taken = async {
            if self.put(bytes, true).await.is_ok() {
                self.frames.closed().await;
            }
        };
        if timeout(LAST_WORD, taken).await.is_err() {
            self.hang_up.now();
        }
    }

    /// Without a word.
    pub fn cut(self) {
        self.hang_up.now();
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.frames.poll_recv(cx));
        self.is_over = next.as_ref().is_none_or(|next| next.is_last);
        Poll::Ready(next.map(|next| Ok(Frame::data(next.bytes))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::serve::connections::Connections;

    #[tokio::test]
    async fn bytes_wait_for_room_and_the_last_word_ends_the_body() {
        let connection = Connections::new(0).admit(Some(0)).unwrap();
        let (outlet, mut frames) = outlet(connection.hang_up());
        let large = Bytes::from(vec![b'x'; 2 * ROOM as usize]);
        outlet.send(large.clone()).await.unwrap();
        outlet.offer(Bytes::from_static(b"?"));
        let mut second = Box::pin(outlet.send(Bytes::from_static(b"2")));
        assert!(at_first(&mut second).await.is_none(), "there is no room");
        assert_eq!(frames.frame().await.unwrap().unwrap().into_data().unwrap(), large);
        second.await.unwrap();
        let end = tokio::spawn(outlet.end(Bytes::from_static(b"end")));
        for word in [&b"2"[..], b"end"] {
            assert_eq!(frames.frame().await.unwrap().unwrap().into_data().unwrap(), word);
        }
        assert!(frames.frame().await.is_none());
        drop(frames);
        end.await.unwrap();
        assert!(!connection.is_cut());
    }

    #[tokio::test]
    async fn who_does_not_take_the_last_word_is_cut_off() {
        let connection = Connections::new(0).admit(Some(0)).unwrap();
        let (outlet, _frames) = outlet(connection.hang_up());
        outlet.end(Bytes::from_static(b"end")).await;
        assert!(connection.is_cut());
    }

    /// What it gives at the first look; `None`: it waits.
    async fn at_first<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
