//! `logs explain`: needs no helmd.

use helm_shapes::time::utc_nanos;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use helm_core::time::Wall;
use helm_lines::{Explainer, Explanation, Rule};
use serde::Serialize;

use crate::failure::Failure;
use crate::render::{Printer, safe, time};

/// Bytes of a line that are read at once.
const PIECE: u64 = 64 << 10;

/// `logs explain --json`, one a line.
#[derive(Serialize)]
struct Explained {
    lines: (u64, u64),
    format: String,
    level: &'static str,
    at: Option<String>,
    message: String,
    trace_id: Option<String>,
    user_id: Option<String>,
    context: Option<String>,
}

pub(in crate::commands) fn explain(file: &Path, rule: &str, printer: &mut Printer) -> Result<(), Failure> {
    // What is no name of a rule is taken for a pattern.
    let named = Rule::named(rule).or_else(|unknown| match rule.contains('(') {
        true => Rule::pattern(rule),
        false => Err(unknown),
    });
    let rule = named.map_err(|e| Failure::Usage(e.to_string()))?;
    let failed = |e: io::Error| Failure::Failed(format!("{} cannot be read: {e}", file.display()));
    let mut input: Box<dyn BufRead> = match file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(file).map_err(failed)?)),
    };
    let mut explainer = Explainer::new(rule, time::local_offset(), Wall(time::now()));
    let mut piece = Vec::new();
    loop {
        piece.clear();
        // A line of any length is taken in pieces.
        if input.by_ref().take(PIECE).read_until(b'\n', &mut piece).map_err(failed)? == 0 {
            break;
        }
        let line = piece.strip_suffix(b"\n");
        show(explainer.push(line.unwrap_or(&piece), line.is_some()), printer)?;
    }
    show(explainer.finish(), printer)
}

fn show(all: Vec<Explanation>, printer: &mut Printer) -> Result<(), Failure> {
    all.into_iter().try_for_each(|explanation| {
        if !printer.wants_json() {
            return explanation.to_string().lines().try_for_each(|line| printer.line(&safe(line)));
        }
        let body = explanation.entry.body;
        let explained = Explained {
            lines: explanation.lines,
            format: explanation.entry.format.to_string(),
            level: body.level.word(),
            at: body.source_time.map(utc_nanos),
            message: body.message,
            trace_id: body.trace_id,
            user_id: body.user_id,
            context: body.context,
        };
        printer.value(&explained, false)
    })
}
