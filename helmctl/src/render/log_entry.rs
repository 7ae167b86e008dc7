//! Everything that is known of one entry.

use std::fmt::Write;

use helm_proto::v1::LogEntry;
use jiff::tz::TimeZone;

use helm_shapes::printed::{Messages, printed};
use helm_shapes::time::utc_nanos;

use super::log::level_style;
use super::{HEAD, QUIET, safe, styled, wrapped};

/// What stands before the words below an entry.
const INDENT: usize = 4;

/// What an entry is known by, beside what its line shows.
fn facts(e: &LogEntry) -> Vec<(&'static str, String)> {
    let some = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(safe);
    let from = [e.source.as_str(), e.stream.as_str()];
    [
        ("id", Some(e.id.to_string())),
        ("trace", some(&e.trace_id)),
        ("user", some(&e.user_id)),
        ("from", Some(from.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))),
        ("host", some(&e.hostname)),
        ("pid", e.process_id.map(|id| id.to_string())),
        ("flags", Some(e.flags.join(" ")).filter(|flags| !flags.is_empty())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// `logs --long`: what stands below an entry; broken into lines of `width` where there is one.
pub(crate) fn below(e: &LogEntry, width: Option<usize>) -> String {
    let mut words: Vec<String> =
        facts(e).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.extend(Some(&e.context).filter(|context| !context.is_empty()).map(|context| safe(context)));
    let words = words.join("  ");
    let lines =
        width.map_or_else(|| vec![words.clone()], |width| wrapped(&words, width.saturating_sub(INDENT)));
    let lines: Vec<String> =
        lines.iter().map(|line| format!("{:INDENT$}{}", "", styled(QUIET, line.trim_start()))).collect();
    lines.join("\n")
}

/// `logs show`
pub(crate) fn whole(e: &LogEntry) -> String {
    let mut text = String::new();
    let line = |text: &mut String, name: &str, value: &str| {
        let _ = writeln!(text, "{} {value}", styled(HEAD, &format!("{name:8}")));
    };
    line(&mut text, "service", &safe(&e.service));
    line(&mut text, "level", &styled(level_style(&e.level), &e.level));
    line(&mut text, "time", &moment(e.at));
    line(&mut text, "seen", &moment(e.seen));
    for (name, value) in facts(e) {
        line(&mut text, name, &value);
    }
    if !e.context.is_empty() {
        line(&mut text, "context", "");
        let pretty = serde_json::from_str::<serde_json::Value>(&e.context)
            .and_then(|context| serde_json::to_string_pretty(&context))
            .unwrap_or_else(|_| e.context.clone());
        pretty.lines().for_each(|line| {
            let _ = writeln!(text, "{:INDENT$}{}", "", safe(line));
        });
    }
    line(&mut text, "message", "");
    for line in e.message.trim_end_matches(['\n', '\r']).split('\n') {
        let _ = writeln!(text, "{:INDENT$}{}", "", printed(line, Messages::Coloured));
    }
    text
}

/// The local time with its zone, and all digits.
fn moment(at: i64) -> String {
    let zoned = jiff::Timestamp::from_nanosecond(i128::from(at)).map(|at| at.to_zoned(TimeZone::system()));
    zoned.map_or_else(|_| utc_nanos(at), |at| at.strftime("%Y-%m-%d %H:%M:%S%.9f %:z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        LogEntry {
            id: 77,
            service: "core".into(),
            level: "ERROR".into(),
            source: "captured".into(),
            stream: "stderr".into(),
            message: "it broke\n  at line 2".into(),
            context: r#"{"status":500,"http":{"method":"GET"}}"#.into(),
            trace_id: Some("t-1".into()),
            flags: vec!["multiline".into()],
            ..Default::default()
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn what_is_known_stands_below_in_the_width_that_there_is() {
        let one = plain(&below(&entry(), None));
        assert_eq!(
            one,
            "    id=77  trace=t-1  from=captured stderr  flags=multiline  {\"status\":500,\"http\":{\"method\":\"GET\"}}"
        );
        let narrow = plain(&below(&entry(), Some(50)));
        assert!(narrow.lines().count() > 1, "{narrow}");
        assert!(narrow.lines().all(|l| l.starts_with("    ") && l.chars().count() <= 50), "{narrow}");
    }

    #[test]
    fn one_entry_is_shown_with_all_that_it_has() {
        let text = plain(&whole(&entry()));
        for part in [
            "id       77",
            "level    ERROR",
            "trace    t-1",
            "\"method\": \"GET\"",
            "    it broke\n      at line 2",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("user"), "what is not known is not named: {text}");
    }
}
