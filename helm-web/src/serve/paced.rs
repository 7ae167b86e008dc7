//! The body of a request that must keep coming: at least 1 KB/s, after a time of grace.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// What a body may take before its pace counts.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes that buy a second.
const PER_SECOND: u64 = 1024;

/// A body that ends with an error when it comes too slowly.
#[derive(Debug)]
pub(super) struct Paced {
    body: Incoming,
    begun: Option<Instant>,
    came: u64,
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Told where somebody answers without having read it to its end.
    unread: Arc<AtomicBool>,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Slower than it may be.
    #[error("the body comes at less than {PER_SECOND} bytes a second")]
    TooSlow,
    /// The connection broke.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
}

impl Paced {
    /// This body; time counts from the first look at it.
    pub(super) fn new(body: Incoming, unread: Arc<AtomicBool>) -> Self {
        Self { body, begun: None, came: 0, timer: None, ended: false, unread }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.unread.store(true, Ordering::Relaxed);
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let begun = *this.begun.get_or_insert_with(Instant::now);
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.ended = frame.is_none();
            if let Some(Ok(frame)) = &frame {
                this.came += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)));
        }
        let until = begun + GRACE + Duration::from_secs(this.came / PER_SECOND);
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        timer.as_mut().reset(until);
        timer.as_mut().poll(cx).map(|()| Some(Err(Broken::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
