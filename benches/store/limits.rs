//! What plain tools reach on this machine in this run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use shared::Result;
use shared::figures::Times;

/// How long the disk takes to keep 4 KiB: a write behind the last one, and fdatasync.
pub(crate) fn disk(dir: &Path, times: usize) -> Result<Times> {
    let path = dir.join("commits");
    let file = File::create(&path)?;
    let block = [7; 4096];
    let mut took = Vec::with_capacity(times);
    for at in 0..times {
        let begun = Instant::now();
        file.write_all_at(&block, at as u64 * 4096)?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(Times::of(took))
}

/// The bare program of sqlx (`crates/helm-store/examples/bare.rs`).
pub(crate) struct Bare {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Bare {
    pub(crate) fn start(bins: &Path, file: &Path) -> Result<Self> {
        let program = bins.join("examples/bare");
        let mut command = Command::new(&program);
        command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let hint = "cargo build --release -p helm-store --example bare";
        let mut child = command.spawn().map_err(|e| format!("{}: {e}; {hint}", program.display()))?;
        let answers = BufReader::new(child.stdout.take().ok_or("its stdout is a pipe")?);
        Ok(Self { child, answers })
    }

    /// Seconds for `rows` in batches of `batch`.
    pub(crate) fn round(&mut self, rows: usize, batch: usize) -> Result<f64> {
        writeln!(self.child.stdin.as_mut().ok_or("its stdin is a pipe")?, "{rows} {batch}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim().parse()?)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends with its input; this only reaps it.
        let _ = self.child.wait();
    }
}

/// Runs a script by psql; how long it took.
pub(crate) fn psql(url: &str, script: &str) -> Result<(Duration, String)> {
    let mut command = Command::new("psql");
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("psql: {e}"))?;
    child.stdin.take().ok_or("its stdin is a pipe")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("psql ended with {}", output.status).into());
    }
    Ok((begun.elapsed(), String::from_utf8(output.stdout)?.trim().to_owned()))
}
