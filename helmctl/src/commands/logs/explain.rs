//! `logs explain`: needs no helmd.

use std::io::Read;
use std::path::Path;
use std::{fs, io};

use helm_core::time::Wall;
use helm_lines::{Rule, explain_lines};
use serde::Serialize;

use crate::failure::Failure;
use crate::render::{Printer, safe, time};

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
    let rule = named.map_err(|e| Failure::Failed(e.to_string()))?;
    let failed = |e: io::Error| Failure::Failed(format!("{} cannot be read: {e}", file.display()));
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().read_to_end(&mut bytes).map_err(failed)?;
    } else {
        bytes = fs::read(file).map_err(failed)?;
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let lines = text.split(|byte| *byte == b'\n').filter(|_| !text.is_empty());
    for explanation in explain_lines(&rule, time::local_offset(), lines, Wall(time::now())) {
        if printer.wants_json() {
            let body = explanation.entry.body;
            let explained = Explained {
                lines: explanation.lines,
                format: explanation.entry.format.to_string(),
                level: body.level.word(),
                at: body.source_time.map(time::utc_nanos),
                message: body.message,
                trace_id: body.trace_id,
                user_id: body.user_id,
                context: body.context,
            };
            printer.value(&explained, false)?;
        } else {
            explanation.to_string().lines().try_for_each(|line| printer.line(&safe(line)))?;
        }
    }
    Ok(())
}
