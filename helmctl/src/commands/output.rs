//! `output`

use helm_client::Client;
use helm_proto::v1::{OutputLine, OutputRequest};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::{Printer, json};

pub(super) async fn run(
    client: &Client,
    name: String,
    lines: u32,
    follow: bool,
    stream: Option<String>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = OutputRequest { name, lines: Some(lines), follow, stream: stream.unwrap_or_default() };
    let mut chunks = client.output(request).await?;
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(chunk) = chunk else { return Ok(()) };
        print(chunk?.lines, printer)?;
    }
}

fn print(lines: Vec<OutputLine>, printer: &mut Printer) -> Result<(), Failure> {
    if printer.wants_json() {
        return lines.into_iter().try_for_each(|line| printer.value(&json::Line::from(line), false));
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
