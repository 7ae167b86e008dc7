//! The table and the JSON of a run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints a table")]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::{Engine, Result};

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// On which database.
    pub engine: Engine,
    /// What plain tools reach in this run, or what is known.
    pub limit: String,
    /// What Helm reached.
    pub helm: String,
    /// What is asked of it.
    pub asked: String,
    /// `None`: nothing is asked.
    pub met: Option<bool>,
    /// Load of the machine when it was taken: other work shows here.
    pub load: String,
    /// All that was measured, by name.
    pub figures: BTreeMap<String, f64>,
}

impl Row {
    /// Nothing is known of it but the load of the machine.
    pub fn new(engine: Engine, work: impl Into<String>) -> Self {
        let empty = String::new;
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        let work = work.into();
        Self {
            work,
            engine,
            limit: empty(),
            helm: empty(),
            asked: empty(),
            met: None,
            load,
            figures: BTreeMap::new(),
        }
    }

    /// With what plain tools reach, or what is known.
    pub fn limit(mut self, said: impl Into<String>) -> Self {
        self.limit = said.into();
        self
    }

    /// With what Helm reached.
    pub fn helm(mut self, said: impl Into<String>) -> Self {
        self.helm = said.into();
        self
    }

    /// With what is asked, and whether it was met.
    pub fn asked(mut self, said: impl Into<String>, met: bool) -> Self {
        (self.asked, self.met) = (said.into(), Some(met));
        self
    }

    /// With a number for the JSON.
    pub fn figure(mut self, name: &str, value: f64) -> Self {
        self.figures.insert(name.to_owned(), value);
        self
    }

    fn line(&self) -> String {
        let met = match self.met {
            None => "",
            Some(true) => "met",
            Some(false) => "**missed**",
        };
        format!(
            "| {} | {} | {} | {} | {} | {met} |",
            self.work, self.engine, self.limit, self.helm, self.asked
        )
    }
}

/// Everything that a run measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of this Linux.
    pub kernel: String,
    /// How many there are.
    pub processors: usize,
    /// When, in seconds since 1970.
    pub unix_time: u64,
    /// How many the store held.
    pub entries: u64,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What could not be measured, with the reason.
    pub failed: BTreeMap<String, String>,
}

impl Report {
    /// Takes in rows, and tells them on stderr.
    pub fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            eprintln!("{}", row.line());
            self.rows.push(row);
        }
    }

    /// Whether everything that was asked was reached.
    pub fn met(&self) -> bool {
        self.failed.is_empty() && self.rows.iter().all(|row| row.met != Some(false))
    }

    /// The table, on stdout.
    pub fn print(&self) {
        println!("| work | engine | limit, or known | Helm | asked | |\n|{}", " --- |".repeat(6));
        for row in &self.rows {
            println!("{}", row.line());
        }
        println!();
        for (what, why) in &self.failed {
            println!("* {what} failed: {why}");
        }
        println!("* Linux {}, {} processors, {} entries", self.kernel, self.processors, self.entries);
    }

    /// The JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        progress(&format!("written: {}", path.display()));
        Ok(())
    }
}

/// Says on stderr what is being done.
pub fn progress(what: &str) {
    eprintln!("  {what}");
}
