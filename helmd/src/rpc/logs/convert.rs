//! Between the wire and the store. What cannot be is refused with a sentence.

use helm_proto::reason;
use helm_proto::v1::{LogBucket, LogEntry, LogFacet, LogFilter, LogText, VerifyFault};
use helm_store::entry::{Entry, Level, Source, flag};
use helm_store::id::{EntryId, Instance};
use helm_store::live::Places;
use helm_store::partition::{Class, PerLevel};
use helm_store::query::{ContextIs, Cursor, Filter, Levels, Order, Text, TextKind};
use helm_store::reader::Bucket;
use helm_store::verify::Fault;

use super::Result;
use crate::store::entry;

/// Most services, texts and contexts of one filter.
const SERVICES: usize = 1000;
const CONDITIONS: usize = 32;
/// What marks the token of a follower's place.
const PLACES: &str = "f1";

/// An entry for the wire.
pub(super) fn log_entry(entry: Entry) -> LogEntry {
    let body = entry.body;
    LogEntry {
        id: entry.id.0,
        service: body.service,
        at: body.at,
        seen: body.seen,
        level: body.level.word().to_owned(),
        source: body.source.word().to_owned(),
        stream: match body.stream {
            1 => "stdout",
            2 => "stderr",
            _ => "",
        }
        .to_owned(),
        message: body.message,
        context: body.context.unwrap_or_default(),
        trace_id: body.trace,
        user_id: body.user,
        hostname: body.hostname,
        process_id: body.process,
        flags: flags(body.flags),
    }
}

/// Several.
pub(super) fn log_entries(entries: Vec<Entry>) -> Vec<LogEntry> {
    entries.into_iter().map(log_entry).collect()
}

fn flags(bits: u32) -> Vec<String> {
    let all = [
        (flag::TRUNCATED, "truncated"),
        (flag::MULTILINE, "multiline"),
        (flag::FUTURE, "future"),
        (flag::INVALID_UTF8, "invalid-utf8"),
        (flag::GAP, "gap"),
        (flag::REPAIRED, "repaired"),
        (flag::TWIN, "twin"),
        (flag::CONTINUED, "continued"),
    ];
    all.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| word.to_owned()).collect()
}

/// A filter of the wire.
pub(super) fn filter(filter: Option<LogFilter>) -> Result<Filter> {
    let filter = filter.unwrap_or_default();
    if filter.services.len() > SERVICES {
        return bad(format!(
            "a filter names at most {SERVICES} services, this one {}",
            filter.services.len()
        ));
    }
    if filter.texts.len() > CONDITIONS || filter.context.len() > CONDITIONS {
        return bad(format!("a filter has at most {CONDITIONS} texts and {CONDITIONS} context values"));
    }
    let context = filter.context.into_iter().map(|c| ContextIs { key: c.key, value: c.value });
    Ok(Filter {
        services: filter.services,
        levels: levels(&filter.level, filter.level_exact)?,
        since: filter.since,
        until: filter.until,
        trace: some(helm_lines::trace_column(&filter.trace_id)),
        user: some(helm_lines::user_column(&filter.user_id)),
        source: source(&filter.source)?,
        context: context.collect(),
        texts: filter.texts.into_iter().map(text).collect::<Result<_>>()?,
        twins: filter.twins,
        instances: Vec::new(),
    })
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn levels(word: &str, exact: bool) -> Result<Option<Levels>> {
    if word.is_empty() {
        return Ok(None);
    }
    let Some(level) = helm_lines::Level::parse(word) else {
        return bad(format!("`{word}` is no level: use DEBUG, INFO, WARNING, ERROR or CRITICAL"));
    };
    let level = entry::level(level);
    Ok(Some(if exact { Levels::Exactly(level) } else { Levels::AtLeast(level) }))
}

fn source(word: &str) -> Result<Option<Source>> {
    let all = [Source::Captured, Source::Sent, Source::Helm, Source::Former];
    match all.into_iter().find(|source| source.word() == word) {
        None if !word.is_empty() => {
            bad(format!("`{word}` is no source: use captured, sent, helm or former, or nothing for all"))
        }
        found => Ok(found),
    }
}

fn text(text: LogText) -> Result<Text> {
    let kind = match text.kind.as_str() {
        "" | "substring" => TextKind::Substring,
        "word" => TextKind::Word,
        "regex" => TextKind::Regex,
        other => return bad(format!("`{other}` is no kind of text: use substring, word or regex")),
    };
    Ok(Text { pattern: text.pattern, kind, case: text.case_sensitive, not: text.not })
}

/// Newest first, unless the oldest are wanted.
pub(super) fn order(oldest_first: bool) -> Order {
    if oldest_first { Order::Oldest } else { Order::Newest }
}

/// A place in a list; empty: its begin.
pub(super) fn cursor(token: &str) -> Result<Option<Cursor>> {
    match Cursor::from_token(token) {
        None if !token.is_empty() => bad(format!(
            "`{}` is no cursor of a list of log entries: take it from the last answer",
            short(token)
        )),
        cursor => Ok(cursor),
    }
}

/// A follower's place as text: opaque, safe in a URL.
pub(super) fn places_token(places: &Places) -> String {
    let mut token = PLACES.to_owned();
    for (class, id) in places {
        token.push_str(&format!("~{}.{:x}", class.0, id.0));
    }
    token
}

/// From [`places_token`]; empty: none.
pub(super) fn places(token: &str, instance: Instance) -> Result<Option<Places>> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = |part: &str| {
        let (class, id) = part.split_once('.')?;
        let id = EntryId(i64::from_str_radix(id, 16).ok()?);
        Some((Class(class.to_owned()), id, id.partition()?.instance))
    };
    let mut parts = token.split('~');
    let known = parts.next() == Some(PLACES);
    let places: Option<Vec<_>> = parts.map(place).collect();
    match places.filter(|_| known) {
        None => {
            let token = short(token);
            bad(format!("`{token}` is no place to follow the log from: take it from an earlier message"))
        }
        Some(places) if places.iter().any(|(_, _, of)| *of != instance) => {
            bad("this place is of another store: begin without a cursor".to_owned())
        }
        Some(places) => Ok(Some(places.into_iter().map(|(class, id, _)| (class, id)).collect())),
    }
}

/// What came from outside is not repeated at length.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// One service's counts.
pub(super) fn facet(service: String, counts: &PerLevel) -> LogFacet {
    let [debug, info, warning, error, critical] = *counts;
    LogFacet { service, debug, info, warning, error, critical }
}

/// One step's counts.
pub(super) fn bucket(bucket: Bucket) -> LogBucket {
    let [debug, info, warning, error, critical] = bucket.counts;
    LogBucket { from: bucket.from, debug, info, warning, error, critical }
}

/// A refusal.
pub(super) fn bad<T>(message: String) -> Result<T> {
    Err(reason::bad_request(&message))
}

// Counts are taken apart by position.
const _: () = assert!(Level::ALL.len() == 5);

/// What does not fit, for programs.
pub(super) fn verify_fault(fault: &Fault) -> VerifyFault {
    VerifyFault {
        instance: u32::from(fault.instance.0),
        class: fault.class.0.clone(),
        partition: fault.partition.map(|id| id.to_string()).unwrap_or_default(),
        kind: fault.kind.word().to_owned(),
        entry: fault.entry.as_ref().map(|entry| entry.id.0),
        service: fault.entry.as_ref().map(|entry| entry.service.clone()).unwrap_or_default(),
        at: fault.entry.as_ref().map(|entry| entry.at),
    }
}

#[cfg(test)]
mod tests {
    use helm_store::id::PartitionId;

    use super::*;

    #[test]
    fn a_followers_place_survives_as_text() {
        let instance = Instance(7);
        let id = PartitionId { instance, number: 3 }.entry(9);
        let held: Places = [("default", id), ("au_d-it", EntryId(id.0 + 1))]
            .map(|(class, id)| (Class(class.to_owned()), id))
            .into();
        assert_eq!(places(&places_token(&held), instance).unwrap(), Some(held.clone()));
        let none = Places::new();
        assert_eq!(places(&places_token(&none), instance).unwrap(), Some(none));
        assert_eq!(places("", instance).unwrap(), None);
        assert!(places(&places_token(&held), Instance(8)).is_err(), "a place of another store");
        for nonsense in ["f2", "f1~", "f1~default", "f1~default.xyz", "default.7", "f1~default.-1"] {
            assert!(places(nonsense, instance).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        let refused = |filter_: LogFilter| filter(Some(filter_)).unwrap_err().message().to_owned();
        assert!(refused(LogFilter { level: "loud".into(), ..Default::default() }).contains("no level"));
        assert!(refused(LogFilter { source: "moon".into(), ..Default::default() }).contains("no source"));
        let odd = LogText { kind: "glob".into(), ..Default::default() };
        assert!(refused(LogFilter { texts: vec![odd], ..Default::default() }).contains("kind of text"));
        let many = vec!["a".to_owned(); SERVICES + 1];
        assert!(refused(LogFilter { services: many, ..Default::default() }).contains("at most"));
        assert!(cursor("zz-9").is_err() && cursor("").unwrap().is_none());
        let level = filter(Some(LogFilter { level: "warn".into(), ..Default::default() })).unwrap().levels;
        assert_eq!(level, Some(Levels::AtLeast(Level::Warning)));
    }
}
