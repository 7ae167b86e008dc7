//! Entries as they were asked for: for people, as CSV, as JSON.

use std::io;
use std::time::{Duration, Instant};

use helm_proto::v1::LogEntry;

use crate::cli::How;
use crate::failure::Failure;
use helm_shapes::csv::{self, Formulas};
use helm_shapes::printed::Messages;

use crate::render::log::{self, Columns};
use crate::render::screen::Block;
use crate::render::{Printer, QUIET, Sheet, log_entry, styled, time, width};

/// A search that takes longer says how far it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where entries are printed.
pub(super) struct Screen<'a> {
    printer: &'a mut Printer,
    columns: Columns,
    long: bool,
    csv: bool,
    begun: Instant,
    progress: Option<Block>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(printer: &'a mut Printer, names: Vec<String>, how: How, csv: bool) -> Self {
        let messages = match (how.raw, csv) {
            (true, _) => Messages::Raw,
            (false, true) => Messages::Plain,
            (false, false) => Messages::Coloured,
        };
        let columns = Columns::of(names, Sheet::stdout(), messages);
        Self { printer, columns, long: how.long, csv, begun: Instant::now(), progress: None }
    }

    /// What stands above all entries.
    pub(super) fn head(&mut self) -> Result<(), Failure> {
        if self.csv { self.printer.raw(csv::CSV_HEAD.as_bytes()) } else { Ok(()) }
    }

    /// Some entries, written at once.
    pub(super) fn entries(&mut self, entries: &[LogEntry]) -> Result<(), Failure> {
        self.clear()?;
        let mut text = String::new();
        for entry in entries {
            text.push_str(&self.text(entry)?);
        }
        // What was asked for as it is, is not taken for colours.
        match self.csv || self.columns.messages() == Messages::Raw {
            true => self.printer.raw(text.as_bytes()),
            false => self.printer.block(&text),
        }
    }

    fn text(&mut self, entry: &LogEntry) -> Result<String, Failure> {
        if self.csv {
            return Ok(csv::csv(entry, self.columns.messages(), Formulas::Kept));
        }
        if self.printer.wants_json() {
            return log::json_line(entry);
        }
        let mut text = self.columns.entry(entry) + "\n";
        if self.long {
            let columns = self.printer.is_terminal().then(|| width(io::stdout()));
            text.push_str(&log_entry::below(entry, columns));
            text.push('\n');
        }
        Ok(text)
    }

    /// What was printed and what comes do not belong together.
    pub(super) fn gap(&mut self) -> Result<(), Failure> {
        if self.printer.wants_json() { Ok(()) } else { self.printer.line(&styled(QUIET, "--")) }
    }

    /// A search has come so far; said where somebody waits for it.
    pub(super) fn looked(&mut self, to: i64) -> Result<(), Failure> {
        if self.begun.elapsed() < PATIENCE || self.printer.wants_json() || !self.printer.can_redraw() {
            return Ok(());
        }
        let words = format!("looked as far as {} …", time::local_to_second(to));
        self.printer.frame(self.progress.get_or_insert_default(), &[styled(QUIET, &words)])
    }

    /// Takes away what was said of the search.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        self.progress.take().map_or(Ok(()), |mut block| self.printer.frame(&mut block, &[]))
    }
}
