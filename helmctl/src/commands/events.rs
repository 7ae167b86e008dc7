//! `events`

use helm_client::Client;
use helm_proto::v1::EventsRequest;
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::{Printer, json, list};

pub(super) async fn run(
    client: &Client,
    names: Vec<String>,
    last: u32,
    follow: bool,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut events = client.events(EventsRequest { names, last: Some(last), follow }).await?;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(event) = event else { return Ok(()) };
        let event = event?;
        if printer.wants_json() {
            printer.value(&json::Event::from(event), false)?;
        } else {
            printer.line(&list::event(&event))?;
        }
    }
}
