//! What is wrong in a configuration file, where, and what was probably meant.

use std::fmt;

use crate::secret;

/// How much a fault matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but is probably not what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One fault in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as its [`Source`](super::Source) names it.
    pub file: String,
    /// Line, from 1; 0 when it is about the whole file.
    pub line: u32,
    /// Column in characters, from 1; 0 when it is about the whole file.
    pub column: u32,
    /// The field (`services.core.port`); empty when it is about the whole file.
    pub field: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

/// `services.json:12:5: services.core.port: 70000 is above 65535 (a TCP port is 1 to 65535)`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// One file while it is read: turns byte offsets into lines and columns, and gathers the faults.
#[derive(Debug)]
pub(super) struct Doc<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    /// Each line start, and places within long lines, so that finding a place costs no more in a file of one line.
    marks: Vec<Mark>,
    pub(super) faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: usize,
    line: u32,
    column: u32,
}

/// More faults than anybody reads; what comes later is counted as one.
const MOST_FAULTS: usize = 500;
const MARK_EVERY: u32 = 1024;

impl<'a> Doc<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        Self { path, text, marks: marks(text), faults: Vec::new() }
    }

    /// Line and column of a byte offset, both from 1.
    pub(super) fn place(&self, at: usize) -> (u32, u32) {
        let near = self.marks.partition_point(|mark| mark.at <= at).saturating_sub(1);
        let Some(mark) = self.marks.get(near) else { return (1, 1) };
        let characters = self.text.get(mark.at..at).map_or(0, |between| between.chars().count());
        (mark.line, mark.column.saturating_add(u32::try_from(characters).unwrap_or(u32::MAX)))
    }

    pub(super) fn error(
        &mut self,
        at: usize,
        field: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.fault(Severity::Error, at, field, message.into(), hint.into());
    }

    pub(super) fn warn(
        &mut self,
        at: usize,
        field: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.fault(Severity::Warning, at, field, message.into(), hint.into());
    }

    pub(super) fn fault(
        &mut self,
        severity: Severity,
        at: usize,
        field: &str,
        message: String,
        hint: String,
    ) {
        if self.is_full() {
            return;
        }
        let (line, column) = self.place(at);
        let file = self.path.to_owned();
        // Names come from the file: they may hold what would move a terminal's cursor.
        let field =
            field.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        self.faults.push(Fault { file, line, column, field, severity, message, hint });
        if self.faults.len() == MOST_FAULTS {
            self.whole(format!("has more than {MOST_FAULTS} faults; the others are not shown"), "");
        }
    }

    /// Nothing more will be reported: what only serves a report can be left out.
    pub(super) fn is_full(&self) -> bool {
        self.faults.len() > MOST_FAULTS
    }

    /// A fault of the file as a whole.
    pub(super) fn whole(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(Fault {
            file: self.path.to_owned(),
            line: 0,
            column: 0,
            field: String::new(),
            severity: Severity::Error,
            message: message.into(),
            hint: hint.into(),
        });
    }
}

fn marks(text: &str) -> Vec<Mark> {
    let mut marks = vec![Mark { at: 0, line: 1, column: 1 }];
    let (mut line, mut column) = (1_u32, 1_u32);
    for (i, c) in text.char_indices() {
        if c == '\n' {
            (line, column) = (line.saturating_add(1), 1);
        } else {
            column = column.saturating_add(1);
        }
        if column % MARK_EVERY == 1 {
            marks.push(Mark { at: i + c.len_utf8(), line, column });
        }
    }
    marks
}

/// The known word that was probably meant, if one is near enough to say so.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    // The distance is at least the difference in length; four bytes are the longest character.
    let possible = |name: &&str| name.len() <= 4 * (word.len() + allowed);
    let distance = |name: &str| strsim::osa_distance(&word, &name.to_lowercase());
    let known = known.into_iter().filter(possible);
    let near = known.map(|name| (distance(name), name)).filter(|(d, _)| *d <= allowed);
    near.min_by_key(|(d, _)| *d).map(|(_, name)| name)
}

/// "did you mean `port`?", or what there is to choose from.
pub(super) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let all: Vec<&str> = known.into_iter().take(40).collect();
            if all.is_empty() { String::new() } else { format!("known: {}", all.join(", ")) }
        }
    }
}

/// A text as it may stand in a message: quoted, on one line, not too long, without the passwords of addresses.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let text = secret::without_passwords(text);
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_helps_only_when_near() {
        assert_eq!(nearest("prot", ["path", "port", "url"]), Some("port"));
        assert_eq!(nearest("Core", ["codex", "core"]), Some("core"));
        assert_eq!(nearest("zebra", ["core", "nexus"]), None);
        assert_eq!(nearest(&"a".repeat(1000), ["core"]), None);
    }

    #[test]
    fn places_count_characters() {
        let doc = Doc::new("f", "ab\né x\n");
        assert_eq!(doc.place(0), (1, 1));
        assert_eq!(doc.place(3), (2, 1));
        assert_eq!(doc.place(6), (2, 3));
        assert_eq!(doc.place(8), (3, 1));
        let long = "é".repeat(5000);
        let doc = Doc::new("f", &long);
        for n in [0, 1, 1022, 1023, 1024, 1025, 3000] {
            assert_eq!(doc.place(n * 2), (1, n as u32 + 1));
        }
    }

    #[test]
    fn faults_are_bounded_and_never_turn_into_a_good_file() {
        let mut doc = Doc::new("f", "x");
        for _ in 0..10_000 {
            doc.warn(0, "x", "y", "");
        }
        assert_eq!(doc.faults.len(), MOST_FAULTS + 1);
        assert_eq!(doc.faults[MOST_FAULTS].severity, Severity::Error);
    }
}
