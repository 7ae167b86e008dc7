//! A whole export on its way to its reader: for as long as that reads, and its credential counts.

use std::time::Duration;

use axum::body::{Body, Bytes};
use helm_client::{ClientError, stream::Stream};
use helm_proto::v1::SearchLogsResponse;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::form::Form;
use crate::auth::credential::Credential;

/// Messages that wait for the reader.
const AHEAD: usize = 4;
/// A reader that takes nothing for so long is gone.
const SLOWEST: Duration = Duration::from_secs(30);

/// Why an export breaks off before its end: the connection is closed, so that nobody takes it for whole.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Helmd(#[from] ClientError),
    #[error("the reader took nothing for {} s", SLOWEST.as_secs())]
    Stalled,
    #[error("{0}")]
    Credential(String),
    #[error("it could not be packed: {0}")]
    Packing(#[from] std::io::Error),
    #[error("helm-web is leaving")]
    Leaving,
    #[error("helmd left before the end")]
    Unfinished,
}

/// The body of an export that is found by and by. `head`: what stands before the first entry.
pub(super) fn body(
    found: Stream<SearchLogsResponse>,
    form: Form,
    head: &str,
    credential: Credential,
) -> Body {
    let (sink, body) = mpsc::channel(AHEAD);
    let app = credential.app.clone();
    let (head, stop) = (head.to_owned(), app.stop.clone());
    app.tasks.spawn(async move {
        let carrying = carry(found, form, head, &credential, &sink);
        let came = tokio::select! {
            came = carrying => came,
            () = stop.cancelled() => Err(Broken::Leaving),
            () = sink.closed() => return,
        };
        if let Err(why) = came {
            tracing::info!("an export for {} breaks off: {why}", credential.caller.principal.from);
            // A reader that takes nothing does not hear this either; its connection ends by its own bound.
            let _ = timeout(SLOWEST, sink.send(Err(why))).await;
        }
    });
    Body::from_stream(ReceiverStream::new(body))
}

/// All that is found, while the credential counts: also while the reader takes its time.
async fn carry(
    found: Stream<SearchLogsResponse>,
    form: Form,
    head: String,
    credential: &Credential,
    sink: &mpsc::Sender<Result<Bytes, Broken>>,
) -> Result<(), Broken> {
    tokio::select! {
        came = pass_on(found, form, head, sink) => came,
        why = credential.until_over() => Err(Broken::Credential(why)),
    }
}

async fn pass_on(
    mut found: Stream<SearchLogsResponse>,
    form: Form,
    head: String,
    sink: &mpsc::Sender<Result<Bytes, Broken>>,
) -> Result<(), Broken> {
    let mut packer = form.packer();
    send(sink, packer.take(head)?).await?;
    let mut is_whole = false;
    while let Some(message) = found.next().await {
        let SearchLogsResponse { entries, end, .. } = message?;
        is_whole = !end.is_empty();
        send(sink, packer.take(form.lines(entries))?).await?;
    }
    if !is_whole {
        return Err(Broken::Unfinished);
    }
    send(sink, packer.end()?).await
}

async fn send(sink: &mpsc::Sender<Result<Bytes, Broken>>, bytes: Bytes) -> Result<(), Broken> {
    if bytes.is_empty() {
        return Ok(());
    }
    match timeout(SLOWEST, sink.send(Ok(bytes))).await {
        // Nobody is there to read any more: whoever waits for that is told.
        Ok(_) => Ok(()),
        Err(_) => Err(Broken::Stalled),
    }
}
