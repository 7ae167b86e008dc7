//! The table and the JSON of a run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints a table")]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::rows::{Figures, Memory};
use crate::{Error, Result};

/// Everything that a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) plan: crate::Plan,
    pub(crate) peers: Vec<Column>,
    pub(crate) without: Vec<String>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processors: usize,
    pub(crate) unix_time: u64,
    /// One-minute load average before each row: other work on the machine shows here.
    pub(crate) load: BTreeMap<String, String>,
}

/// One supervisor.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) note: String,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub(crate) restart_ms: Figures,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub(crate) start_s: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wakeups_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub(crate) lines_s: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lines_lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lines_doubled: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub(crate) adopt_s: Figures,
    /// Rows that failed, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) failed: BTreeMap<String, String>,
}

/// Says on stderr what is being measured.
pub(crate) fn progress(row: &str, peer: &str) {
    eprintln!("  {row}: {peer}");
}

/// Says on stderr why a measurement failed.
pub(crate) fn failure(error: &Error) {
    eprintln!("error: {error}");
}

/// The table, in Markdown.
pub(crate) fn table(report: &Report) {
    let names: Vec<&str> = report.peers.iter().map(|column| column.name.as_str()).collect();
    println!("| work | {} |", names.join(" | "));
    println!("|{}", " --- |".repeat(names.len() + 1));
    let services = report.plan.services;
    row(report, "kill -9 to the successor's exec, median / max, ms", |c| spread(&c.restart_ms, 1));
    row(report, &format!("{services} services, command to all running, median / max, s"), |c| {
        spread(&c.start_s, 3)
    });
    row(report, &format!("PSS with {services} services, MB (processes)"), |c| {
        c.memory.as_ref().map(|m| format!("{:.1} ({})", m.pss_mb, m.processes))
    });
    row(report, "PSS by program, MB each", |c| c.memory.as_ref().map(shares));
    row(report, &format!("idle wake-ups of all with {services} services, 1/s"), |c| {
        c.wakeups_per_s.map(|n| format!("{n:.1}"))
    });
    row(report, &format!("{} lines of 100 B to the file, median / max, s", report.plan.lines), |c| {
        spread(&c.lines_s, 2)
    });
    row(report, "lines lost / doubled", |c| Some(format!("{} / {}", c.lines_lost?, c.lines_doubled?)));
    row(report, &format!("status of {services} over gRPC, p50 / p99, ms"), |c| {
        Some(format!("{:.2} / {:.2}", c.status_p50_ms?, c.status_p99_ms?))
    });
    row(report, &format!("daemon start with {services} to adopt, median / max, s"), |c| {
        spread(&c.adopt_s, 3)
    });
    println!();
    for column in &report.peers {
        println!("* {} {}: {}", column.name, column.version, column.note);
        for (row, reason) in &column.failed {
            println!("  * {row} failed: {reason}");
        }
    }
    if !report.without.is_empty() {
        println!("* left out: {}", report.without.join(", "));
    }
    println!(
        "* Linux {}, {} processors, load {:?}",
        report.machine.kernel, report.machine.processors, report.machine.load
    );
}

fn row(report: &Report, name: &str, cell: impl Fn(&Column) -> Option<String>) {
    let cells: Vec<String> =
        report.peers.iter().map(|column| cell(column).unwrap_or_else(|| "-".to_owned())).collect();
    if cells.iter().any(|cell| cell != "-") {
        println!("| {name} | {} |", cells.join(" | "));
    }
}

fn spread(figures: &Figures, digits: usize) -> Option<String> {
    figures.spread().map(|(median, most)| format!("{median:.digits$} / {most:.digits$}"))
}

fn shares(memory: &Memory) -> String {
    let shares = memory.by_program.iter().map(|(name, share)| format!("{name} {:.2}", share.pss_mb_each));
    shares.collect::<Vec<_>>().join(", ")
}

/// Writes the JSON.
pub(crate) fn write(report: &Report, path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(Error::at(dir))?;
    }
    let text = serde_json::to_string_pretty(report).map_err(|error| Error::Absent(error.to_string()))?;
    std::fs::write(path, text + "\n").map_err(Error::at(path))?;
    eprintln!("written: {}", path.display());
    Ok(())
}
