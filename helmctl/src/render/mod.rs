//! Everything that is printed. Data goes to standard output, the rest to standard error.

pub(crate) mod access;
pub(crate) mod db;
pub(crate) mod doctor;
pub(crate) mod graph;
pub(crate) mod incident;
pub(crate) mod json_access;
pub(crate) mod json_inside;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod log_entry;
pub(crate) mod log_stats;
pub(crate) mod metrics;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod spark;
pub(crate) mod status;
pub(crate) mod time;
pub(crate) mod tree;

use std::io::{self, IsTerminal, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::failure::Failure;
use screen::Block;

/// Writes to standard output; a reader that leaves is no error (`helmctl status | head -1`).
pub(crate) struct Printer {
    out: AutoStream<io::Stdout>,
    json: bool,
}

impl Printer {
    /// For the whole program.
    pub(crate) fn new(json: bool) -> Self {
        Self { out: anstream::stdout(), json }
    }

    /// Data is wanted as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    /// Standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// One line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Text as it is.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // Past the colour filter: output of services is printed exactly as it was written.
        let mut out = self.out.as_inner().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// A text of several lines, written at once.
    pub(crate) fn block(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// A frame of a block that is drawn again over itself.
    pub(crate) fn frame(&mut self, block: &mut Block, lines: &[String]) -> Result<(), Failure> {
        let stdout = io::stdout();
        let frame = block.frame(lines, screen::height(&stdout), screen::colours(&stdout));
        Ok(screen::write(&mut stdout.lock(), &frame)?)
    }

    /// Standard output is a terminal that can go back over its lines.
    pub(crate) fn can_redraw(&self) -> bool {
        screen::can_redraw(&io::stdout())
    }

    /// One value: indented, or on one line (streams).
    pub(crate) fn value(&mut self, value: &impl Serialize, indented: bool) -> Result<(), Failure> {
        let text = if indented { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        self.line(&text.map_err(|e| Failure::Failed(e.to_string()))?)
    }
}

/// A remark that is no data.
pub(crate) fn note(text: &str) {
    note_in(Style::new(), text);
}

/// Something that an operator must see.
pub(crate) fn warn(text: &str) {
    note_in(WARN, &warning(text));
}

/// The words of it.
pub(crate) fn warning(text: &str) -> String {
    format!("warning: {}", safe(text))
}

/// On a terminal broken between words, else on one line.
fn note_in(style: Style, text: &str) {
    let stderr = io::stderr();
    let lines = if stderr.is_terminal() { wrapped(text, width(&stderr)) } else { vec![text.to_owned()] };
    let mut out = anstream::stderr().lock();
    for line in lines {
        // Nobody is left to be told.
        let _ = writeln!(out, "{}", styled(style, &line));
    }
}

/// `text` in a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const QUIET: Style = Style::new().dimmed();
pub(crate) const HEAD: Style = Style::new().bold();

/// What a service says may hold control characters: they are shown, not obeyed.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Cut to `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Broken between words into lines of at most `width` characters; a longer word stays whole.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What something is printed on. Nobody looks for a name that was cut in a file or a pipe: there nothing is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sheet {
    /// Columns.
    pub(crate) width: usize,
    whole: bool,
}

impl Sheet {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        Self { width: width(&stdout), whole: !stdout.is_terminal() }
    }

    /// Columns of something whose longest is `longest`, where `most` would do.
    pub(crate) fn column(self, longest: usize, most: usize) -> usize {
        if self.whole { longest } else { longest.min(most) }
    }

    /// `text` in lines that fit behind an indent of so many columns.
    pub(crate) fn lines(self, text: &str, indent: usize) -> Vec<String> {
        if self.whole { vec![text.to_owned()] } else { wrapped(text, self.width.saturating_sub(indent)) }
    }

    /// `text` in `width` columns.
    pub(crate) fn fit(self, text: &str, width: usize) -> String {
        if self.whole { text.to_owned() } else { cut(text, width) }
    }
}

/// A terminal of this width.
impl From<usize> for Sheet {
    fn from(width: usize) -> Self {
        Self { width, whole: false }
    }
}

/// Columns of the terminal; 80 where there is none.
pub(crate) fn width(stream: impl std::os::fd::AsFd) -> usize {
    let columns = rustix::termios::tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns.clamp(40, 400) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_no_word_is_lost() {
        let text = "services.json was changed after helmd read it";
        assert_eq!(wrapped(text, 20), ["services.json was", "changed after helmd", "read it"]);
        assert_eq!(
            wrapped("a /very/long/path/that/does/not/fit b", 10),
            ["a", "/very/long/path/that/does/not/fit", "b"]
        );
        assert_eq!(wrapped(text, 200), [text]);
    }
}
