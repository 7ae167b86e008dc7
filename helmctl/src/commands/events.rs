//! `events`

use helm_client::{Client, Home, resume};
use helm_proto::v1::{EventRecord, EventsRequest};
use helm_shapes::fleet::Event;
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::{Printer, Sheet, list, warn};

use super::follow::Following;

/// Events that are shown where nothing says how many.
const LAST: u32 = 50;
/// Events of one answer.
const PAGE: u32 = 10_000;

/// The newest ones; of a range all, unless a number is said.
pub(super) async fn past(
    home: &Home,
    request: EventsRequest,
    last: Option<u32>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut client = Client::of(home).await?;
    let mut screen = Screen::new(&mut client, printer, true).await?;
    let ranged = request.since.is_some() || request.until.is_some();
    let (events, incomplete) = match last.or((!ranged).then_some(LAST)) {
        Some(last) => page(&client, EventsRequest { last: Some(last), ..request }).await?,
        None => all(&client, request).await?,
    };
    incomplete.iter().for_each(|why| warn(why));
    events.into_iter().try_for_each(|event| screen.print(event))
}

/// Every event of a range, page by page from the newest; oldest first.
async fn all(client: &Client, request: EventsRequest) -> Result<(Vec<EventRecord>, Option<String>), Failure> {
    let mut pages = Vec::new();
    let mut before = request.before;
    loop {
        let request = EventsRequest { last: Some(PAGE), before, ..request.clone() };
        let (page, incomplete) = page(client, request).await?;
        let full = u32::try_from(page.len()).is_ok_and(|events| events >= PAGE);
        before = page.first().map(|event| event.id);
        pages.push(page);
        if !full || incomplete.is_some() {
            return Ok((pages.into_iter().rev().flatten().collect(), incomplete));
        }
    }
}

/// Some events, oldest first, and why older ones are not there.
async fn page(
    client: &Client,
    request: EventsRequest,
) -> Result<(Vec<EventRecord>, Option<String>), Failure> {
    let mut told = client.events(request).await?;
    let (mut events, mut incomplete) = (Vec::new(), None);
    while let Some(event) = told.next().await {
        let event = event?;
        if event.incomplete.is_empty() {
            events.push(event);
        } else {
            incomplete = Some(event.incomplete);
        }
    }
    Ok((events, incomplete))
}

pub(super) async fn follow(
    home: &Home,
    request: EventsRequest,
    last: Option<u32>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut screen = Screen::new(&mut Client::of(home).await?, printer, false).await?;
    let request = EventsRequest { last: Some(last.unwrap_or(LAST)), ..request };
    let mut events = Following::new(resume::events(home, request).await?)?;
    while let Some(event) = events.next().await? {
        // Where following begins is no event.
        if !event.kind.is_empty() {
            screen.print(event)?;
        }
    }
    Ok(())
}

struct Screen<'a> {
    printer: &'a mut Printer,
    sheet: Sheet,
    name_width: usize,
    aged: bool,
}

impl<'a> Screen<'a> {
    async fn new(client: &mut Client, printer: &'a mut Printer, aged: bool) -> Result<Self, Failure> {
        let (services, sheet) = (client.list().await?, Sheet::stdout());
        let name_width = list::name_width(services.iter().map(|s| s.name.as_str()), sheet);
        Ok(Self { printer, sheet, name_width, aged })
    }

    fn print(&mut self, event: EventRecord) -> Result<(), Failure> {
        if self.printer.wants_json() {
            return self.printer.value(&Event::from(event), false);
        }
        let line = list::event(&event, self.name_width, self.sheet, self.aged);
        self.printer.line(&line)
    }
}
