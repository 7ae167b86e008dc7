//! What commands that stay have in common: they outlive helmd, and end with Ctrl+C.

use helm_client::resume::Feed;
use helm_client::{News, Resuming};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::note;

/// Ctrl+C. Watched from the begin to the end: one that comes while something is printed is not lost.
pub(super) struct Interrupt(Signal);

impl Interrupt {
    pub(super) fn watch() -> Result<Self, Failure> {
        Ok(Self(signal(SignalKind::interrupt())?))
    }

    pub(super) async fn pressed(&mut self) {
        self.0.recv().await;
    }
}

/// Every signal by which somebody wants us to end; watched before there is something to clean up.
pub(crate) struct Ending([Signal; 3]);

impl Ending {
    pub(crate) fn watch() -> Result<Self, Failure> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    pub(crate) async fn told(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// A stream that is printed line by line.
pub(super) struct Following<F: Feed> {
    stream: Resuming<F>,
    interrupt: Interrupt,
    quiet: bool,
}

impl<F: Feed> Following<F> {
    pub(super) fn new(stream: Resuming<F>) -> Result<Self, Failure> {
        Ok(Self { stream, interrupt: Interrupt::watch()?, quiet: false })
    }

    /// One of which a break is to be expected: nothing is said of it.
    pub(super) fn quietly(stream: Resuming<F>) -> Result<Self, Failure> {
        Ok(Self { quiet: true, ..Self::new(stream)? })
    }

    /// Ctrl+C, while something else is waited for.
    pub(super) async fn interrupted(&mut self) {
        self.interrupt.pressed().await;
    }

    /// The next message; `None` after Ctrl+C. Says once that helmd is away, and once that it is back.
    pub(super) async fn next(&mut self) -> Result<Option<F::Message>, Failure> {
        loop {
            let news = tokio::select! {
                news = self.stream.next() => news,
                () = self.interrupt.pressed() => return Ok(None),
            };
            match news.transpose()? {
                Some(News::Message(message)) => return Ok(Some(message)),
                Some(News::Away(_) | News::Back) if self.quiet => {}
                Some(News::Away(None)) => note("helmd is not reachable; waiting"),
                Some(News::Away(Some(lacks))) => note(&format!("{lacks}; waiting")),
                Some(News::Back) => note("reconnected"),
                None => return Ok(None),
            }
        }
    }
}
