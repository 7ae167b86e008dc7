//! The form of an export: its media type, its lines, and the file that they may be packed into.

use std::io::{self, Write};

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use helm_proto::v1::LogEntry;
use helm_shapes::csv::{CSV_HEAD, Formulas, csv};
use helm_shapes::printed::{Messages, printed};
use helm_shapes::time::utc_nanos;

use crate::problem::{Problem, Result};
use crate::routes::logs::entry::Log;

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    Ndjson,
    Csv,
    Text,
}

/// How entries are written, and whether they are packed: as a file, never as Content-Encoding, which Nexus takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    lines: Lines,
    packed: bool,
}

impl Form {
    /// Of this name; none: NDJSON.
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        let name = name.unwrap_or_default();
        let (plain, packed) = name.strip_suffix(".gz").map_or((name, false), |plain| (plain, true));
        let lines = match plain {
            "" if !packed => Lines::Ndjson,
            "ndjson" => Lines::Ndjson,
            "csv" => Lines::Csv,
            "text" => Lines::Text,
            _ => {
                let words = "format is ndjson, csv or text, or one of them with .gz behind it";
                return Err(Problem::bad_request(words).plain());
            }
        };
        Ok(Self { lines, packed })
    }

    /// Media type, and the name of the file.
    pub(super) fn kind(self) -> (&'static str, &'static str) {
        match (self.lines, self.packed) {
            (Lines::Ndjson, false) => ("application/x-ndjson", "attachment; filename=\"helm-logs.ndjson\""),
            (Lines::Csv, false) => ("text/csv; charset=utf-8", "attachment; filename=\"helm-logs.csv\""),
            (Lines::Text, false) => ("text/plain; charset=utf-8", "attachment; filename=\"helm-logs.txt\""),
            (Lines::Ndjson, true) => ("application/gzip", "attachment; filename=\"helm-logs.ndjson.gz\""),
            (Lines::Csv, true) => ("application/gzip", "attachment; filename=\"helm-logs.csv.gz\""),
            (Lines::Text, true) => ("application/gzip", "attachment; filename=\"helm-logs.txt.gz\""),
        }
    }

    /// What stands before the first entry.
    pub(super) fn head(self) -> &'static str {
        if self.lines == Lines::Csv { CSV_HEAD } else { "" }
    }

    fn line(self, entry: LogEntry) -> String {
        match self.lines {
            Lines::Ndjson => {
                let id = entry.id;
                let json = serde_json::to_string(&Log::from(entry));
                json.unwrap_or_else(|e| format!("{{\"id\":{id},\"error\":\"{e}\"}}")) + "\n"
            }
            Lines::Csv => csv(&entry, Messages::Plain, Formulas::Defused),
            Lines::Text => text(&entry),
        }
    }

    /// These entries.
    pub(super) fn lines(self, entries: Vec<LogEntry>) -> String {
        entries.into_iter().map(|entry| self.line(entry)).collect()
    }

    /// What the lines of one answer go through.
    pub(super) fn packer(self) -> Packer {
        if self.packed {
            Packer::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::default())))
        } else {
            Packer::Plain
        }
    }
}

/// One entry; further lines of its message stand indented below.
fn text(entry: &LogEntry) -> String {
    let lines = entry.message.trim_end_matches(['\n', '\r']).split('\n');
    let message: Vec<String> = lines.map(|line| printed(line, Messages::Plain)).collect();
    format!("{} {:8} {} {}\n", utc_nanos(entry.at), entry.level, entry.service, message.join("\n    "))
}

/// What the lines of one answer go through.
#[derive(Debug)]
pub(super) enum Packer {
    Plain,
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Packer {
    /// These lines; what of them, and of those before, can be sent by now.
    ///
    /// # Errors
    /// None: what is packed goes to memory.
    pub(super) fn take(&mut self, lines: String) -> io::Result<Bytes> {
        match self {
            Self::Plain => Ok(Bytes::from(lines)),
            Self::Gzip(packing) => {
                packing.write_all(lines.as_bytes())?;
                Ok(Bytes::from(std::mem::take(packing.get_mut())))
            }
        }
    }

    /// What is left, behind the last line.
    ///
    /// # Errors
    /// None: what is packed goes to memory.
    pub(super) fn end(self) -> io::Result<Bytes> {
        match self {
            Self::Plain => Ok(Bytes::new()),
            Self::Gzip(packing) => packing.finish().map(Bytes::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn form(name: &str) -> Form {
        Form::named(Some(name)).unwrap()
    }

    #[test]
    fn each_form_keeps_entries_apart() {
        let entry = LogEntry {
            service: "core".into(),
            level: "ERROR".into(),
            message: "=1\n\x1b[31mb".into(),
            ..Default::default()
        };
        assert_eq!(form("ndjson").line(entry.clone()).lines().count(), 1);
        assert!(form("csv").line(entry.clone()).contains("\"'=1\nb\""));
        let text = form("text").line(entry);
        assert_eq!(text, "1970-01-01T00:00:00.000000000Z ERROR    core =1\n    b\n");
        for wrong in ["xml", ".gz", "ndjson.gz.gz", "csv.zip"] {
            assert!(Form::named(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_packed_is_the_same_when_it_is_unpacked() {
        let mut packer = form("text.gz").packer();
        let mut packed = Vec::new();
        for piece in ["one\n", "two\n", ""] {
            packed.extend(packer.take(piece.to_owned()).unwrap());
        }
        packed.extend(packer.end().unwrap());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }
}
