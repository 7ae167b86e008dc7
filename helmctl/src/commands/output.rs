//! `output`

use helm_client::{Client, Home, Resuming};
use helm_proto::v1::{OutputLine, OutputRequest};
use helm_shapes::fleet;
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::Printer;

use super::follow::Following;

pub(super) async fn past(home: &Home, request: OutputRequest, printer: &mut Printer) -> Result<(), Failure> {
    let mut chunks = Client::of(home).await?.output(request).await?;
    while let Some(chunk) = chunks.next().await {
        print(chunk?.lines, printer)?;
    }
    Ok(())
}

pub(super) async fn follow(
    home: &Home,
    request: OutputRequest,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let stream = Resuming::open(home, OutputRequest { follow: true, ..request }).await?;
    let mut chunks = Following::new(stream)?;
    while let Some(chunk) = chunks.next().await? {
        print(chunk.lines, printer)?;
    }
    Ok(())
}

fn print(lines: Vec<OutputLine>, printer: &mut Printer) -> Result<(), Failure> {
    if printer.wants_json() {
        return lines.into_iter().try_for_each(|line| printer.value(&fleet::Line::from(line), false));
    }
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(&line.text);
        if !line.partial {
            bytes.push(b'\n');
        }
    }
    printer.raw(&bytes)
}
