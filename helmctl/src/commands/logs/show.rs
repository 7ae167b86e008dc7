//! `logs`: entries from the past.

use std::collections::HashSet;

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{LogContextRequest, LogEntry, LogFilter, SearchLogsRequest, SearchLogsResponse};
use tokio_stream::StreamExt;

use super::screen::Screen;
use super::{filter, follow};
use crate::cli::LogsArgs;
use crate::failure::Failure;
use crate::render::{Printer, note, time};

/// Entries from the past where nothing says how many.
const LAST: u32 = 50;

pub(super) async fn run(home: &Home, args: LogsArgs, printer: &mut Printer) -> Result<(), Failure> {
    let mut client = Client::of(home).await?;
    let names = match args.what.names.is_empty() {
        true => client.list().await?.into_iter().map(|service| service.name).collect(),
        false => args.what.names.clone(),
    };
    let logs = Logs::of(&client).await?;
    let ranged = args.what.since.is_some() || args.what.until.is_some();
    let last = args.last.or((!ranged).then_some(LAST));
    let filter = filter(args.what)?;
    let mut screen = Screen::new(printer, names, args.how, args.csv);
    screen.head()?;
    if args.follow {
        return follow::run(home, &logs, filter, last, &mut screen).await;
    }
    if last == Some(0) {
        return Ok(());
    }
    if let Some(around) = args.context {
        let (hits, _) = newest(&logs, search(filter, last), &mut screen).await?;
        return with_context(logs, &hits, around, &mut screen).await;
    }
    let time_limit_ms = args.within.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let request = SearchLogsRequest { time_limit_ms, ..search(filter, last) };
    let looked = if args.newest_first {
        as_found(&logs, request, &mut screen).await?
    } else if last.is_some() {
        let (entries, looked) = newest(&logs, request, &mut screen).await?;
        screen.entries(&entries)?;
        looked
    } else {
        as_found(&logs, SearchLogsRequest { oldest_first: true, ..request }, &mut screen).await?
    };
    match looked {
        Looked::Enough => Ok(()),
        Looked::To(place) => {
            let (place, option) = (
                time::local_to_second(place),
                if ranged && last.is_none() && !args.newest_first { "--since" } else { "--until" },
            );
            Err(Failure::Timeout(format!("the time is over at {place}; go on from there with {option}")))
        }
        Looked::Nowhere => Err(Failure::Timeout(
            "the time was over before anything was looked at: give more with --within".into(),
        )),
    }
}

/// What is asked for: the newest of all, unless `last` is none.
pub(super) fn search(filter: LogFilter, last: Option<u32>) -> SearchLogsRequest {
    SearchLogsRequest { filter: Some(filter), limit: last.map_or(0, u64::from), ..Default::default() }
}

/// How far a search came.
pub(super) enum Looked {
    /// To its end, or to what was wanted.
    Enough,
    /// Its time was over here.
    To(i64),
    /// Its time was over at once.
    Nowhere,
}

/// Hands over all that a search says. One that breaks off is no success.
pub(super) async fn each(
    logs: &Logs,
    request: SearchLogsRequest,
    mut take: impl FnMut(SearchLogsResponse) -> Result<(), Failure>,
) -> Result<Looked, Failure> {
    let mut found = logs.search(request).await?;
    let mut looked = Looked::Nowhere;
    while let Some(message) = found.next().await {
        let message = message?;
        if let Some(to) = message.looked_to.or(message.entries.last().map(|entry| entry.at)) {
            looked = Looked::To(to);
        }
        let (end, notes) = (message.end.clone(), message.notes.clone());
        take(message)?;
        notes.iter().for_each(|text| note(text));
        match end.as_str() {
            "" => {}
            "time" => return Ok(looked),
            _ => return Ok(Looked::Enough),
        }
    }
    Err(Failure::Failed("helmd ended before everything was found: what was printed is not all".into()))
}

/// Prints what is found when it is found.
pub(super) async fn as_found(
    logs: &Logs,
    request: SearchLogsRequest,
    screen: &mut Screen<'_>,
) -> Result<Looked, Failure> {
    let looked = each(logs, request, |message| match message.looked_to {
        Some(to) => screen.looked(to),
        // The last one has none, and takes away what was said of the search.
        None => screen.entries(&message.entries),
    })
    .await;
    screen.clear()?;
    looked
}

/// The newest ones, oldest first.
pub(super) async fn newest(
    logs: &Logs,
    request: SearchLogsRequest,
    screen: &mut Screen<'_>,
) -> Result<(Vec<LogEntry>, Looked), Failure> {
    let mut all = Vec::new();
    let looked = each(logs, request, |message| {
        all.extend(message.entries);
        match message.looked_to {
            Some(to) => screen.looked(to),
            None => screen.clear(),
        }
    })
    .await;
    screen.clear()?;
    all.reverse();
    Ok((all, looked?))
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
        let mut entries = logs.context(request).await?.entries;
        if !printed.is_empty() && !entries.iter().any(|entry| printed.contains(&entry.id)) {
            screen.gap()?;
        }
        entries.retain(|entry| printed.insert(entry.id));
        screen.entries(&entries)?;
    }
    Ok(())
}
