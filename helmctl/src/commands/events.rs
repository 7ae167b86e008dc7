//! `events`

use helm_client::{Client, Home, resume};
use helm_proto::v1::{EventRecord, EventsRequest};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::{Printer, json, list};

use super::follow::Following;

pub(super) async fn past(home: &Home, request: EventsRequest, printer: &mut Printer) -> Result<(), Failure> {
    let mut events = Client::of(home).await?.events(request).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if event.incomplete.is_empty() {
            print(event, printer)?;
        } else {
            crate::render::warn(&event.incomplete);
        }
    }
    Ok(())
}

pub(super) async fn follow(
    home: &Home,
    request: EventsRequest,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut events = Following::new(resume::events(home, request).await?)?;
    while let Some(event) = events.next().await? {
        // Where following begins is no event.
        if !event.kind.is_empty() {
            print(event, printer)?;
        }
    }
    Ok(())
}

fn print(event: EventRecord, printer: &mut Printer) -> Result<(), Failure> {
    if printer.wants_json() {
        printer.value(&json::Event::from(event), false)
    } else {
        printer.line(&list::event(&event))
    }
}
