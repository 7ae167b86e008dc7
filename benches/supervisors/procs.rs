//! What the kernel says about processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

/// A process of a supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) exe: PathBuf,
    /// Its name, for adding up by kind.
    pub(crate) name: String,
}

/// CLOCK_MONOTONIC in nanoseconds, the clock of the services' marks.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Since boot: never negative.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Lets time pass: between two looks at something that does not tell, or because time is what is measured.
#[allow(
    clippy::disallowed_methods,
    reason = "a bench measures over time; nothing here is synchronised by it"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Sends a signal; a process that is gone already is fine.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// The processes that name this directory in their arguments or environment, or work in it.
pub(crate) fn of_directory(dir: &Path) -> Vec<Process> {
    let wanted = dir.as_os_str().as_encoded_bytes();
    let names = |path: PathBuf| fs::read(path).is_ok_and(|text| contains(&text, wanted));
    let mut found: Vec<Process> = pids()
        .filter_map(|pid| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let works_here = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
            if !works_here && !names(proc.join("cmdline")) && !names(proc.join("environ")) {
                return None;
            }
            let exe = fs::read_link(proc.join("exe")).ok()?;
            let name = fs::read_to_string(proc.join("comm")).ok()?.trim_end().to_owned();
            Some(Process { pid, exe, name })
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// Proportional set size in KiB; nothing once the process has gone.
pub(crate) fn pss(pid: i32) -> Option<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// Times that the threads of a process gave up the processor of their own accord, that is: woke up and slept again.
pub(crate) fn sleeps(pid: i32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| {
            field(&fs::read_to_string(task.path().join("status")).ok()?, "voluntary_ctxt_switches:")
        })
        .sum()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Load, kernel and processors, for the record of a run.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
