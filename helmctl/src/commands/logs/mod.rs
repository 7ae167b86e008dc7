//! `logs`

mod explain;
mod export;
mod show;
mod stats;
mod verify;

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{LogContextRequest, LogFilter, LogText};

pub(super) use explain::explain;

use crate::cli::{LogsArgs, LogsVerb, What};
use crate::failure::Failure;
use crate::render::Printer;
use crate::render::log::{Columns, Json};

pub(super) async fn run(home: &Home, args: LogsArgs, printer: &mut Printer) -> Result<(), Failure> {
    match args.verb {
        None => show::run(home, args, printer).await,
        Some(LogsVerb::Stats { what }) => stats::run(home, what, printer).await,
        Some(LogsVerb::Export(export)) => export::run(home, export).await,
        Some(LogsVerb::Verify(args)) => verify::run(home, args, printer).await,
        Some(LogsVerb::Explain { file, rule }) => explain(&file, &rule, printer),
        Some(LogsVerb::Context { id, entries }) => context(home, id, entries, printer).await,
    }
}

async fn context(home: &Home, id: i64, around: u32, printer: &mut Printer) -> Result<(), Failure> {
    let mut logs = Logs::of(&Client::of(home).await?).await?;
    let request = LogContextRequest { id, before: around, after: around };
    let entries = logs.context(request).await?.entries;
    let mut columns = Columns::default();
    entries.iter().try_for_each(|entry| match printer.wants_json() {
        true => printer.value(&Json::from(entry), false),
        false => printer.line(&columns.entry(entry, false)),
    })
}

/// What was typed, as a filter.
fn filter(what: What) -> LogFilter {
    let text = |pattern: String, not| LogText { pattern, kind: "regex".into(), case_sensitive: false, not };
    let texts = what.grep.into_iter().map(|re| text(re, false));
    LogFilter {
        services: what.names,
        level: what.level.unwrap_or_default(),
        level_exact: what.exact,
        since: what.since,
        until: what.until,
        trace_id: what.trace.unwrap_or_default(),
        user_id: what.user.unwrap_or_default(),
        texts: texts.chain(what.invert.into_iter().map(|re| text(re, true))).collect(),
        source: what.source.unwrap_or_default(),
        ..Default::default()
    }
}
