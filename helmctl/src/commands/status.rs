//! `status`

use std::io;
use std::time::Instant;

use helm_client::{Client, Home, News, Resuming};
use helm_proto::v1::{ServiceStatus, WatchStatusRequest};
use helm_shapes::fleet::Statuses;
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::screen::{self, Block};
use crate::render::{Printer, Sheet, WARN, cut, limits, safe, status, styled, warning, width, wrapped};

use super::follow::{Following, Interrupt};

/// Lines of the table in the lowest window: its head, one service, and what is hidden.
const FEWEST: usize = 3;
/// How often relative times are redrawn.
const REDRAW: std::time::Duration = std::time::Duration::from_secs(1);

pub(super) async fn once(
    client: &mut Client,
    names: Vec<String>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let named = !names.is_empty();
    let answer = client.status(names).await?;
    let alerts = super::alerts(client).await?;
    if printer.wants_json() {
        return printer.value(&Statuses::new(answer.services, answer.hold, alerts), true);
    }
    let mut text = status::table(&answer.services, answer.hold, Sheet::stdout());
    // Of those that are looked at closely.
    if named {
        text += &limits::table(&answer.services, Sheet::stdout());
    }
    printer.block(&text)
}

/// Stays: a table that is redrawn on a terminal, else (or as JSON) what changed.
pub(super) async fn watch(home: &Home, names: Vec<String>, printer: &mut Printer) -> Result<(), Failure> {
    let changes = Resuming::open(
        home,
        WatchStatusRequest { names, numbers: printer.can_redraw() && !printer.wants_json() },
    )
    .await?;
    if printer.can_redraw() && !printer.wants_json() {
        Screen::default().run(home, changes, printer).await
    } else {
        lines(home, changes, printer).await
    }
}

async fn lines(
    home: &Home,
    changes: Resuming<WatchStatusRequest>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let (mut changes, mut known) = (Following::new(changes)?, Vec::new());
    while let Some(message) = changes.next().await? {
        if message.complete {
            known = told(known, alerts(home).await);
        }
        if printer.wants_json() {
            printer.value(&Statuses::new(message.services, message.hold, known.clone()), false)?;
            continue;
        }
        for s in message.services {
            let health = if s.health == "unknown" { String::new() } else { format!(" {}", s.health) };
            printer.line(&format!("{}: {}{health}: {}", s.name, s.state, safe(&s.reason)))?;
        }
    }
    Ok(())
}

/// Says what was not said before.
fn told(known: Vec<String>, now: Vec<String>) -> Vec<String> {
    now.iter().filter(|alert| !known.contains(alert)).for_each(|alert| crate::render::warn(alert));
    now
}

/// Asked when a stream begins. A helmd that is gone again has none: the stream tells that.
async fn alerts(home: &Home) -> Vec<String> {
    match Client::of(home).await {
        Ok(mut client) => client.info().await.map(|info| info.alerts).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// The table as it is redrawn.
#[derive(Default)]
struct Screen {
    all: Vec<ServiceStatus>,
    hold: bool,
    alerts: Vec<String>,
    away: Option<Instant>,
    block: Block,
}

impl Screen {
    async fn run(
        mut self,
        home: &Home,
        changes: Resuming<WatchStatusRequest>,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let changes = changes.timeout_repeating(tokio::time::interval(REDRAW));
        tokio::pin!(changes);
        let mut interrupt = Interrupt::watch()?;
        loop {
            let next = tokio::select! {
                next = changes.next() => next,
                () = interrupt.pressed() => return Ok(()),
            };
            // An elapsed second is no news, but times on the screen go on.
            match next.and_then(Result::ok).transpose()? {
                Some(News::Message(message)) => {
                    if message.complete {
                        self.alerts = alerts(home).await;
                    }
                    self.hold = message.hold;
                    merge(&mut self.all, message.complete, message.services);
                }
                Some(News::Away(_)) => self.away = Some(Instant::now()),
                Some(News::Back) => self.away = None,
                None => {}
            }
            let lines = self.lines(width(io::stdout()), screen::height(io::stdout()));
            printer.frame(&mut self.block, &lines)?;
        }
    }

    fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let mut lines: Vec<String> =
            self.alerts.iter().flat_map(|alert| wrapped(&warning(alert), width)).collect();
        lines.extend(self.away.map(|since| cut(&status::away(since.elapsed().as_secs()), width)));
        let mut lines: Vec<String> = lines.iter().map(|line| styled(WARN, line)).collect();
        // The last line of the window is where the cursor stands.
        let room = height.saturating_sub(1 + lines.len()).max(FEWEST);
        lines.extend(status::lines(&self.all, self.hold, width, room));
        lines
    }
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
