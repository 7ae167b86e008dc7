//! `logs`

mod explain;
mod export;
mod follow;
mod screen;
mod show;
mod sink;
mod stats;
mod verify;

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{ContextIs, LogContextRequest, LogFilter, LogText};

pub(super) use explain::explain;

use crate::cli::{How, LogsArgs, LogsVerb, What};
use crate::failure::Failure;
use crate::render::log::Json;
use crate::render::{Printer, log_entry};
use crate::when;
use screen::Screen;

pub(super) async fn run(home: &Home, args: LogsArgs, printer: &mut Printer) -> Result<(), Failure> {
    match args.verb {
        None => show::run(home, args, printer).await,
        Some(LogsVerb::Show { id }) => one(home, id, printer).await,
        Some(LogsVerb::Stats { what }) => stats::run(home, what, printer).await,
        Some(LogsVerb::Export(export)) => export::run(home, export, printer.wants_json()).await,
        Some(LogsVerb::Verify(args)) => verify::run(home, args, printer).await,
        Some(LogsVerb::Explain { file, rule }) => explain(&file, &rule, printer),
        Some(LogsVerb::Context { id, entries, how }) => context(home, id, entries, how, printer).await,
    }
}

async fn one(home: &Home, id: i64, printer: &mut Printer) -> Result<(), Failure> {
    let entry = Logs::of(&Client::of(home).await?).await?.get(id).await?;
    if printer.wants_json() {
        return printer.value(&Json::from(&entry), true);
    }
    printer.block(&log_entry::whole(&entry))
}

async fn context(home: &Home, id: i64, around: u32, how: How, printer: &mut Printer) -> Result<(), Failure> {
    let mut logs = Logs::of(&Client::of(home).await?).await?;
    let request = LogContextRequest { id, before: around, after: around };
    let entries = logs.context(request).await?.entries;
    Screen::new(printer, Vec::new(), how, false).entries(&entries)
}

/// What was typed, as a filter. A range that holds nothing is said.
fn filter(what: What) -> Result<LogFilter, Failure> {
    let moment = |at: Option<i64>| at.and_then(|at| jiff::Timestamp::from_nanosecond(i128::from(at)).ok());
    let now = jiff::Timestamp::now();
    when::holds_something(moment(what.since), moment(what.until), now).map_err(Failure::Usage)?;
    let text = |pattern: String, kind: &str, not| LogText {
        pattern,
        kind: kind.into(),
        case_sensitive: what.case,
        not,
    };
    let texts = [
        (what.grep, "regex", false),
        (what.invert, "regex", true),
        (what.text, "substring", false),
        (what.word, "word", false),
    ];
    let texts =
        texts.into_iter().flat_map(|(all, kind, not)| all.into_iter().map(move |one| text(one, kind, not)));
    Ok(LogFilter {
        services: what.names,
        level: what.level.unwrap_or_default(),
        level_exact: what.exact,
        since: what.since,
        until: what.until,
        trace_id: what.trace.unwrap_or_default(),
        user_id: what.user.unwrap_or_default(),
        context: what.field.into_iter().map(|(key, value)| ContextIs { key, value }).collect(),
        texts: texts.collect(),
        source: what.source.unwrap_or_default(),
        twins: what.twins,
        hosts: what.host,
    })
}
