//! `logs`: entries from the past, then what comes.

use std::collections::HashSet;

use helm_client::{Client, Home, Logs, Resuming};
use helm_proto::v1::{FollowLogsRequest, LogContextRequest, LogEntry, LogFilter, SearchLogsRequest};
use tokio_stream::StreamExt;

use super::filter;
use crate::cli::LogsArgs;
use crate::commands::follow::Following;
use crate::failure::Failure;
use crate::render::log::{self, Columns, Json};
use crate::render::{Printer, QUIET, note, styled};

/// Entries from the past where nothing says how many.
const LAST: u32 = 50;
/// What a follower may ask of the past.
const MOST_BEFORE: u32 = 10_000;

/// Prints entries as they were asked for.
struct Screen<'a> {
    printer: &'a mut Printer,
    columns: Columns,
    csv: bool,
}

impl Screen<'_> {
    fn entry(&mut self, entry: &LogEntry) -> Result<(), Failure> {
        if self.csv {
            self.printer.raw(log::csv(entry).as_bytes())
        } else if self.printer.wants_json() {
            self.printer.value(&Json::from(entry), false)
        } else {
            self.printer.line(&self.columns.entry(entry, false))
        }
    }

    fn entries(&mut self, entries: &[LogEntry]) -> Result<(), Failure> {
        entries.iter().try_for_each(|entry| self.entry(entry))
    }
}

pub(super) async fn run(home: &Home, args: LogsArgs, printer: &mut Printer) -> Result<(), Failure> {
    let mut client = Client::of(home).await?;
    let names = match args.what.names.is_empty() {
        true => client.list().await?.into_iter().map(|service| service.name).collect(),
        false => args.what.names.clone(),
    };
    let logs = Logs::of(&client).await?;
    let mut screen = Screen { printer, columns: Columns::of(names), csv: args.csv };
    if args.csv {
        screen.printer.raw(log::CSV_HEAD.as_bytes())?;
    }
    let ranged = args.what.since.is_some() || args.what.until.is_some();
    let last = args.last.or((!ranged).then_some(LAST));
    let filter = filter(args.what);
    if args.follow {
        return follow(home, &logs, filter, last, &mut screen).await;
    }
    match (last, args.context) {
        (Some(0), _) => Ok(()),
        (last, Some(around)) => {
            let hits = newest(&logs, filter, last).await?;
            with_context(logs, &hits, around, &mut screen).await
        }
        (Some(last), None) => screen.entries(&newest(&logs, filter, Some(last)).await?),
        (None, None) => {
            let request =
                SearchLogsRequest { filter: Some(filter), oldest_first: true, ..Default::default() };
            each(&logs, request, |entries| screen.entries(&entries)).await
        }
    }
}

/// Hands over all that a search finds. One that breaks off is no success.
pub(super) async fn each(
    logs: &Logs,
    request: SearchLogsRequest,
    mut take: impl FnMut(Vec<LogEntry>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut found = logs.search(request).await?;
    while let Some(message) = found.next().await {
        let message = message?;
        take(message.entries)?;
        if !message.end.is_empty() {
            return Ok(());
        }
    }
    Err(Failure::Failed("helmd ended before everything was found: what was printed is not all".into()))
}

/// The newest ones, oldest first.
async fn newest(logs: &Logs, filter: LogFilter, last: Option<u32>) -> Result<Vec<LogEntry>, Failure> {
    let limit = last.map_or(0, u64::from);
    let request = SearchLogsRequest { filter: Some(filter), limit, ..Default::default() };
    let mut all = Vec::new();
    each(logs, request, |entries| {
        all.extend(entries);
        Ok(())
    })
    .await?;
    all.reverse();
    Ok(all)
}

/// Each hit with its neighbours, each entry once; a line between what does not belong together.
async fn with_context(
    mut logs: Logs,
    hits: &[LogEntry],
    around: u32,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut printed = HashSet::new();
    for hit in hits {
        let request = LogContextRequest { id: hit.id, before: around, after: around };
        let entries = logs.context(request).await?.entries;
        let touches = entries.iter().any(|entry| printed.contains(&entry.id));
        if !printed.is_empty() && !touches && !screen.printer.wants_json() {
            screen.printer.line(&styled(QUIET, "--"))?;
        }
        for entry in entries.iter().filter(|entry| printed.insert(entry.id)) {
            screen.entry(entry)?;
        }
    }
    Ok(())
}

async fn follow(
    home: &Home,
    logs: &Logs,
    filter: LogFilter,
    last: Option<u32>,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let last = last.unwrap_or(MOST_BEFORE).min(MOST_BEFORE);
    let request = FollowLogsRequest { filter: Some(filter.clone()), last, ..Default::default() };
    let mut following = Following::new(Resuming::open(home, request).await?)?;
    while let Some(message) = following.next().await? {
        screen.entries(&message.entries)?;
        if message.gap_to.is_empty() {
            continue;
        }
        // Too slow for what came: it is read from the store, late and whole.
        let gap = FollowLogsRequest {
            filter: Some(filter.clone()),
            cursor: message.gap_from,
            until: message.gap_to,
            last: 0,
        };
        let mut missed = logs.follow(gap).await?;
        while let Some(piece) = missed.next().await {
            match piece {
                Ok(piece) => screen.entries(&piece.entries)?,
                Err(e) => note(&format!("entries are left out here: {e}")),
            }
        }
    }
    Ok(())
}
