//! `kick`: no more waiting between two starts.

use helm_client::Client;
use helm_proto::v1::{StartRequest, Wait};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::{Printer, safe};

/// Starts at once what waits for its next start. A start skips the waiting; it is asked for those only that wait.
pub(super) async fn run(
    client: &mut Client,
    names: Vec<String>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let status = client.status(names).await?.services;
    let (waiting, others): (Vec<_>, Vec<_>) =
        status.into_iter().partition(|s| matches!(s.state.as_str(), "backoff" | "failed"));
    for s in &others {
        printer.line(&format!("{}: {}, nothing to skip", s.name, s.state))?;
    }
    if waiting.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = waiting.iter().map(|s| s.name.clone()).collect();
    let wait = Some(Wait { no_wait: true, timeout_ms: 0 });
    let mut progress = client.start(StartRequest { names, mode: String::new(), wait }).await?;
    while let Some(message) = progress.next().await {
        message?;
    }
    for s in &waiting {
        printer.line(&format!("{}: is started now; before: {}", s.name, safe(&s.reason)))?;
    }
    Ok(())
}
