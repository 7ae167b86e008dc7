//! Log entries as CSV (RFC 4180).

use helm_proto::v1::LogEntry;

use crate::printed::{Messages, printed};
use crate::time::utc_nanos;

/// First line of CSV.
pub const CSV_HEAD: &str =
    "id,at,seen,service,level,source,stream,message,context,trace_id,user_id,hostname,process_id,flags\n";

/// What a formula begins with.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// What a table calculator makes of cells that begin like a formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formulas {
    /// They stay as they are: for programs.
    Kept,
    /// An apostrophe stands before them: such a program shows them as text.
    Defused,
}

/// One line of CSV; a message may make it several.
#[must_use]
pub fn csv(e: &LogEntry, messages: Messages, formulas: Formulas) -> String {
    let lines =
        |text: &str| text.split('\n').map(|line| printed(line, messages)).collect::<Vec<_>>().join("\n");
    let opt = |text: &Option<String>| text.as_deref().map(lines).unwrap_or_default();
    let cells = [
        e.id.to_string(),
        utc_nanos(e.at),
        utc_nanos(e.seen),
        e.service.clone(),
        e.level.clone(),
        e.source.clone(),
        e.stream.clone(),
        lines(&e.message),
        lines(&e.context),
        opt(&e.trace_id),
        opt(&e.user_id),
        opt(&e.hostname),
        e.process_id.map(|id| id.to_string()).unwrap_or_default(),
        e.flags.join(" "),
    ];
    let quoted = |cell: &String| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    let defused = |cell: String| match formulas == Formulas::Defused && cell.starts_with(FORMULA) {
        true => format!("'{cell}"),
        false => cell,
    };
    cells.map(defused).iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_hold_nothing_that_a_terminal_obeys() {
        let entry = LogEntry { message: "say \"a\",\n\x1b[1mb".into(), ..Default::default() };
        assert!(
            csv(&entry, Messages::Plain, Formulas::Kept).contains(",\"say \"\"a\"\",\nb\","),
            "{}",
            csv(&entry, Messages::Plain, Formulas::Kept)
        );
        assert!(csv(&entry, Messages::Raw, Formulas::Kept).contains("\x1b[1mb"));
    }

    #[test]
    fn formulas_are_text_where_that_is_wanted() {
        for begin in FORMULA {
            let entry = LogEntry { message: format!("{begin}1"), ..Default::default() };
            assert!(
                csv(&entry, Messages::Raw, Formulas::Defused).contains(&format!("'{begin}1")),
                "{begin:?}"
            );
            assert!(!csv(&entry, Messages::Raw, Formulas::Kept).contains('\''), "{begin:?}");
        }
        let entry = LogEntry { message: "a=1".into(), ..Default::default() };
        assert!(!csv(&entry, Messages::Plain, Formulas::Defused).contains('\''));
    }
}
