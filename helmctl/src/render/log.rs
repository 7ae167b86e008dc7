//! Log entries: for people, as JSON, as CSV.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use helm_proto::v1::LogEntry;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{BAD, GOOD, QUIET, WARN, cut, styled, time};

/// Services beside each other are told apart by these.
const PALETTE: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightGreen,
    AnsiColor::BrightYellow,
];
/// A longer name is cut.
const WIDEST: usize = 20;
/// First line of CSV.
pub(crate) const CSV_HEAD: &str =
    "id,at,seen,service,level,source,stream,message,context,trace_id,user_id,hostname,process_id,flags\n";

/// The style of a level.
pub(crate) fn level_style(level: &str) -> Style {
    match level {
        "CRITICAL" => BAD.bold().invert(),
        "ERROR" => BAD,
        "WARNING" => WARN,
        "INFO" => GOOD,
        _ => QUIET,
    }
}

/// How entries stand beside each other.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    names: Vec<String>,
    width: usize,
}

impl Columns {
    /// For these services, in this order.
    pub(crate) fn of(names: Vec<String>) -> Self {
        let width = names.iter().map(String::len).max().unwrap_or(0).min(WIDEST);
        Self { names, width }
    }

    /// An entry; several lines of a message stand below each other. `utc`: whole times for files.
    pub(crate) fn entry(&mut self, entry: &LogEntry, utc: bool) -> String {
        self.width = self.width.max(entry.service.len().min(WIDEST));
        let at = if utc { time::utc_nanos(entry.at) } else { time::local_nanos(entry.at) };
        let known = self.names.iter().position(|name| *name == entry.service);
        let nth = known.unwrap_or_else(|| entry.service.bytes().map(usize::from).sum());
        let name = format!("{:width$}", cut(&entry.service, WIDEST), width = self.width);
        let mut text = format!(
            "{} {} {} ",
            styled(QUIET, &at),
            styled(level_style(&entry.level), &format!("{:8}", entry.level)),
            styled(PALETTE[nth % PALETTE.len()].on_default(), &name),
        );
        let indent = at.len() + 1 + 8 + 1 + self.width + 1;
        for (line, words) in entry.message.trim_end_matches(['\n', '\r']).split('\n').enumerate() {
            if line > 0 {
                let _ = write!(text, "\n{:indent$}", "");
            }
            text.push_str(&displayed(words.trim_end_matches('\r')));
        }
        text
    }
}

/// Colours stay; every other control character is shown, not obeyed.
pub(crate) fn displayed(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut coloured = false;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let (colour, behind) = rest.split_at(colour(rest));
        if colour.is_empty() {
            text.push(if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        } else {
            coloured = true;
            text.push_str(colour);
            rest = behind;
        }
    }
    if coloured {
        text.push_str("\x1b[0m");
    }
    text
}

/// Length of the colour sequence that `text` begins with.
fn colour(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\x1b[") else { return 0 };
    match codes.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':') {
        Some(end) if codes[end..].starts_with('m') => 2 + end + 1,
        _ => 0,
    }
}

/// `logs --json`, one a line.
#[derive(Debug, Serialize)]
pub(crate) struct Json<'a> {
    id: i64,
    at: String,
    seen: String,
    service: &'a str,
    level: &'a str,
    source: &'a str,
    stream: Option<&'a str>,
    message: &'a str,
    context: Option<Box<RawValue>>,
    trace_id: Option<&'a str>,
    user_id: Option<&'a str>,
    hostname: Option<&'a str>,
    process_id: Option<i32>,
    flags: &'a [String],
}

impl<'a> From<&'a LogEntry> for Json<'a> {
    fn from(e: &'a LogEntry) -> Self {
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        // What is no JSON (rows of the Python Helm) is shown as text.
        let context = some(&e.context).and_then(|text| {
            RawValue::from_string(text.to_owned()).or_else(|_| serde_json::value::to_raw_value(text)).ok()
        });
        Self {
            id: e.id,
            at: time::utc_nanos(e.at),
            seen: time::utc_nanos(e.seen),
            service: &e.service,
            level: &e.level,
            source: &e.source,
            stream: some(&e.stream),
            message: &e.message,
            context,
            trace_id: e.trace_id.as_deref(),
            user_id: e.user_id.as_deref(),
            hostname: e.hostname.as_deref(),
            process_id: e.process_id,
            flags: &e.flags,
        }
    }
}

/// One line of CSV; a message may make it several.
pub(crate) fn csv(e: &LogEntry) -> String {
    let number = e.process_id.map(|id| id.to_string()).unwrap_or_default();
    let opt = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        e.id.to_string(),
        time::utc_nanos(e.at),
        time::utc_nanos(e.seen),
        e.service.clone(),
        e.level.clone(),
        e.source.clone(),
        e.stream.clone(),
        e.message.clone(),
        e.context.clone(),
        opt(&e.trace_id),
        opt(&e.user_id),
        opt(&e.hostname),
        number,
        e.flags.join(" "),
    ];
    let quoted = |cell: &String| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_nothing_else_is_obeyed() {
        assert_eq!(displayed("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m\x1b[0m");
        assert_eq!(displayed("a\x1b[2Jb\x07\u{9b}1mc\td"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}1mc\td");
        assert_eq!(displayed("\x1b[31"), "\u{fffd}[31");
    }

    #[test]
    fn lines_of_one_entry_stand_below_each_other() {
        let entry = LogEntry {
            service: "core".into(),
            level: "ERROR".into(),
            message: "a\nb\n".into(),
            ..Default::default()
        };
        let text = Columns::of(vec!["core".into(), "nexus".into()]).entry(&entry, true);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, format!("1970-01-01T00:00:00.000000000Z ERROR    core  a\n{:46}b", ""));
    }

    #[test]
    fn cells_are_quoted() {
        let entry = LogEntry { message: "say \"a\",\nb".into(), ..Default::default() };
        assert!(csv(&entry).contains(",\"say \"\"a\"\",\nb\","), "{}", csv(&entry));
    }
}
