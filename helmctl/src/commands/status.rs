//! `status`

use std::io;

use helm_client::{Client, ClientError};
use helm_proto::v1::ServiceStatus;
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::screen::Block;
use crate::render::{Printer, json, status, width};

/// How often relative times are redrawn.
const REDRAW: std::time::Duration = std::time::Duration::from_secs(1);

pub(super) async fn once(
    client: &mut Client,
    names: Vec<String>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let answer = client.status(names).await?;
    if printer.wants_json() {
        return printer.value(&json::Statuses::new(answer.services, answer.hold), true);
    }
    printer.block(&status::table(&answer.services, answer.hold, width(io::stdout())))
}

/// Stays: a table that is redrawn on a terminal, else (or as JSON) what changed.
pub(super) async fn watch(client: &Client, names: Vec<String>, printer: &mut Printer) -> Result<(), Failure> {
    let screen = printer.can_redraw() && !printer.wants_json();
    let changes = client.watch_status(names).await?.timeout_repeating(tokio::time::interval(REDRAW));
    tokio::pin!(changes);
    let (mut all, mut hold, mut block) = (Vec::new(), false, Block::default());
    loop {
        let next = tokio::select! {
            next = changes.next() => next,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        match next {
            Some(Ok(message)) => {
                let message = message?;
                hold = message.hold;
                if !screen {
                    show(message.services, hold, printer)?;
                    continue;
                }
                merge(&mut all, message.complete, message.services);
            }
            Some(Err(_)) if screen => {}
            Some(Err(_)) => continue,
            None => return Err(ClientError::Broken("helmd has left; services stay".into()).into()),
        }
        let table = status::table(&all, hold, width(io::stdout()));
        let lines: Vec<String> = table.lines().map(str::to_owned).collect();
        printer.frame(&mut block, &lines)?;
    }
}

fn show(services: Vec<ServiceStatus>, hold: bool, printer: &mut Printer) -> Result<(), Failure> {
    if printer.wants_json() {
        return printer.value(&json::Statuses::new(services, hold), false);
    }
    for s in services {
        let health = if s.health == "unknown" { String::new() } else { format!(" {}", s.health) };
        printer.line(&format!("{}: {}{health}: {}", s.name, s.state, crate::render::safe(&s.reason)))?;
    }
    Ok(())
}

fn merge(all: &mut Vec<ServiceStatus>, complete: bool, news: Vec<ServiceStatus>) {
    if complete {
        *all = news;
        return;
    }
    for service in news {
        match all.iter_mut().find(|s| s.name == service.name) {
            Some(old) => *old = service,
            None => all.push(service),
        }
    }
}
