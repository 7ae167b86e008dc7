//! /proc, read thinly: one pass over all processes, and a closer look at those that belong to services.

use std::fs::{self, File};
use std::io::Read;

use helm_shim::procs::Process;

/// One process as a pass shows it. Times are in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub process: Process,
    /// Its parent.
    pub ppid: u32,
    /// Its session.
    pub session: u32,
    /// It is a keeper, by its name.
    pub keeper: bool,
    /// It has ended and waits to be reaped: its times still count.
    pub dead: bool,
    /// What it has worked itself.
    pub own: u64,
    /// What children that it has waited for have worked.
    pub children: u64,
    /// Threads.
    pub threads: u64,
    /// Pages in memory, shared ones too.
    pub rss: u64,
}

/// A closer look. What the kernel does not show us (another user's process) is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Details {
    /// Open descriptors.
    pub fds: Option<u64>,
    /// Bytes read from and written to disks, with those of children that were waited for.
    pub io: Option<(u64, u64)>,
}

/// Everything that runs.
pub fn all() -> Vec<Seen> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| one(e.file_name().to_str()?.parse().ok()?)).collect()
}

/// One process.
pub fn one(pid: u32) -> Option<Seen> {
    let mut text = [0; 1024];
    let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
    parse(pid, &text[..length])
}

fn parse(pid: u32, text: &[u8]) -> Option<Seen> {
    // The name is in parentheses and may hold any byte: the last one ends it.
    let (begin, end) = (text.iter().position(|c| *c == b'(')?, text.iter().rposition(|c| *c == b')')?);
    let fields = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    // Numbered as in proc(5), where the state is field 3.
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<u64>().ok());
    let small = |number: usize| field(number).and_then(|n| u32::try_from(n).ok());
    Some(Seen {
        process: Process { pid, start_ticks: field(22)? },
        ppid: small(4)?,
        session: small(6)?,
        keeper: text.get(begin + 1..end)? == b"helm-shim",
        dead: matches!(*fields.first()?, "Z" | "X" | "x"),
        own: field(14)? + field(15)?,
        children: field(16)? + field(17)?,
        threads: field(20)?,
        rss: field(24)?,
    })
}

/// Its words, else (a zombie, a thread of the kernel) its name.
pub fn command(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    match words.trim_end() {
        "" => fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned(),
        words => words.to_owned(),
    }
}

/// A closer look at one.
pub fn details(pid: u32) -> Details {
    Details { fds: descriptors(pid), io: disk_io(pid) }
}

fn descriptors(pid: u32) -> Option<u64> {
    let dir = format!("/proc/{pid}/fd");
    match fs::metadata(&dir).ok()?.len() {
        // Before Linux 6.2 the size is always 0: counted.
        0 => u64::try_from(fs::read_dir(dir).ok()?.count()).ok(),
        counted => Some(counted),
    }
}

fn disk_io(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    Some((value(&text, "read_bytes:")?, value(&text, "write_bytes:")?))
}

/// Bytes of a process in memory, each page shared out among those that have it. Dear: the kernel walks its page tables.
pub fn pss(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(value(&text, "Pss:")? * 1024)
}

/// The number behind `name` at the begin of a line.
pub fn value(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next())
        .and_then(|n| n.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel() {
        let text = b"7 (helm-shim) S 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 3 22 2222 24 25";
        let seen = parse(7, text).unwrap();
        assert_eq!((seen.ppid, seen.session, seen.process.start_ticks), (5, 7, 2222));
        assert_eq!((seen.own, seen.children, seen.threads, seen.rss), (31, 35, 3, 25));
        assert!(seen.keeper && !seen.dead);
        assert_eq!(parse(7, b"7 (a) S 5"), None, "a torn line");
        assert_eq!(value("a: 1\nPss:   12 kB\n", "Pss:"), Some(12));
    }

    #[test]
    fn this_process_is_seen() {
        let own = std::process::id();
        let seen = all().into_iter().find(|s| s.process.pid == own).unwrap();
        assert!(seen.rss > 0 && seen.threads > 0 && !seen.keeper);
        assert!(details(own).fds.unwrap() > 2 && details(own).io.is_some());
        assert!(pss(own).unwrap() > 0);
    }
}
