//! Log entries: for people, as JSON, as CSV.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use helm_proto::v1::LogEntry;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Failure;

use helm_shapes::printed::{Messages, printed};
use helm_shapes::time::utc_nanos;

use super::{BAD, GOOD, QUIET, Sheet, WARN, styled, time};

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
    sheet: Option<Sheet>,
    messages: Messages,
}

impl Columns {
    /// For a screen, and these services in this order; on a terminal long names are cut.
    pub(crate) fn of(names: Vec<String>, sheet: impl Into<Sheet>, messages: Messages) -> Self {
        let sheet = sheet.into();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { names, width: sheet.column(width, WIDEST), sheet: Some(sheet), messages }
    }

    /// For a file.
    pub(crate) fn whole(messages: Messages) -> Self {
        Self { messages, ..Self::default() }
    }

    /// What of messages is printed as it was written.
    pub(crate) fn messages(&self) -> Messages {
        self.messages
    }

    /// An entry for a screen, several lines of a message below each other.
    pub(crate) fn entry(&mut self, entry: &LogEntry) -> String {
        let at = time::local_nanos(entry.at);
        let known = self.names.iter().position(|name| *name == entry.service);
        let nth = known.unwrap_or_else(|| entry.service.bytes().map(usize::from).sum());
        let colours = [QUIET, level_style(&entry.level), PALETTE[nth % PALETTE.len()].on_default()];
        self.columns(entry, &at, colours)
    }

    /// An entry for a file: its whole time, in UTC, and no colours of ours.
    pub(crate) fn dated(&mut self, entry: &LogEntry) -> String {
        self.columns(entry, &utc_nanos(entry.at), [Style::new(); 3])
    }

    fn columns(&mut self, entry: &LogEntry, at: &str, [time, level, service]: [Style; 3]) -> String {
        let name =
            self.sheet.map_or_else(|| entry.service.clone(), |sheet| sheet.fit(&entry.service, WIDEST));
        self.width = self.width.max(name.chars().count());
        let name = format!("{name:width$}", width = self.width);
        let mut text = [(time, at), (level, &format!("{:8}", entry.level)), (service, &name)]
            .map(
                |(style, words)| {
                    if self.messages == Messages::Raw { words.to_owned() } else { styled(style, words) }
                },
            )
            .join(" ");
        let indent = at.len() + 1 + 8 + 1 + self.width + 1;
        for (nth, line) in entry.message.trim_end_matches(['\n', '\r']).split('\n').enumerate() {
            if nth > 0 {
                let _ = write!(text, "\n{:indent$}", "");
            } else {
                text.push(' ');
            }
            text.push_str(&printed(line, self.messages));
        }
        text
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
            at: utc_nanos(e.at),
            seen: utc_nanos(e.seen),
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

/// One line of JSON.
pub(crate) fn json_line(entry: &LogEntry) -> Result<String, Failure> {
    let json = serde_json::to_string(&Json::from(entry));
    json.map(|json| json + "\n").map_err(|e| Failure::Failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_entry_stand_below_each_other() {
        let entry = LogEntry {
            service: "core".into(),
            level: "ERROR".into(),
            message: "a\nb\n".into(),
            ..Default::default()
        };
        let text = Columns::whole(Messages::Plain).dated(&entry);
        assert_eq!(text, format!("1970-01-01T00:00:00.000000000Z ERROR    core a\n{:45}b", ""));
    }

    #[test]
    fn long_names_are_cut_on_a_terminal_only() {
        let name = "a-service-with-a-rather-long-name";
        let entry = LogEntry { service: name.into(), message: "m".into(), ..Default::default() };
        let on = Columns::of(vec![name.into()], 80, Messages::Coloured).entry(&entry);
        assert!(!on.contains(name), "{on}");
        let off = Columns::whole(Messages::Coloured).entry(&entry);
        assert!(off.contains(name), "{off}");
    }
}
