//! What the three streams that stay have in common: they outlive helmd, and end with Ctrl+C.

use helm_client::resume::Feed;
use helm_client::{News, Resuming};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::note;

/// The next message; `None` after Ctrl+C. Says once that helmd is away, and once that it is back.
pub(super) async fn next<F: Feed>(stream: &mut Resuming<F>) -> Result<Option<F::Message>, Failure> {
    loop {
        let news = tokio::select! {
            news = stream.next() => news,
            _ = tokio::signal::ctrl_c() => return Ok(None),
        };
        match news.transpose()? {
            Some(News::Message(message)) => return Ok(Some(message)),
            Some(News::Away) => note("helmd is not reachable; waiting"),
            Some(News::Back) => note("reconnected"),
            None => return Ok(None),
        }
    }
}
