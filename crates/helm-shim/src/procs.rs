//! Processes as /proc shows them. A pid is never an identity: a process is a pid and its start time, behind a pidfd.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::rundir::RunDir;
use crate::sys;

/// Tells a service its run id.
pub const RUN_VARIABLE: &str = "HELM_RUN";

/// The variable that marks the processes of a run: its run directory, because a run id is unique in its home only. A
/// hint: setproctitle and file capabilities hide it.
pub const MARKER: &str = "HELM_RUN_DIR";

/// A process and when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Start time in clock ticks since boot (proc(5), field 22).
    pub start_ticks: u64,
}

/// One line of /proc/PID/stat, as far as we care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Who.
    pub process: Process,
    /// Its parent.
    pub ppid: u32,
    /// Its session.
    pub session: u32,
    /// It has ended and waits to be reaped: gone, as far as a service is concerned.
    pub dead: bool,
}

/// Reads /proc/PID/stat; `None` if there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    let mut text = [0; 1024];
    let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
    parse_stat(pid, &text[..length])
}

fn parse_stat(pid: u32, text: &[u8]) -> Option<Stat> {
    // The name is in parentheses and may hold any byte, a parenthesis too: the last one ends it.
    let end = text.iter().rposition(|c| *c == b')')?;
    let mut fields = std::str::from_utf8(text.get(end + 2..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let ppid = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // Field 6 was the session; 22 is the start time.
    let start_ticks = fields.nth(15)?.parse().ok()?;
    Some(Stat {
        process: Process { pid, start_ticks },
        ppid,
        session,
        dead: matches!(state, "Z" | "X" | "x"),
    })
}

/// Every process that can be seen and is not dead.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .filter(|s| !s.dead)
        .collect()
}

/// Living processes below `roots` (without them), in the order of generations.
pub fn descendants(roots: &[u32]) -> Vec<Process> {
    match descendants_by_children(roots) {
        Some(found) => found,
        None => below(&all(), roots),
    }
}

/// By /proc/PID/task/TID/children, where the kernel has it: costs by the size of the tree, not of the machine.
fn descendants_by_children(roots: &[u32]) -> Option<Vec<Process>> {
    let mut found = Vec::new();
    let mut queue: Vec<u32> = roots.to_vec();
    let mut seen: BTreeSet<u32> = roots.iter().copied().collect();
    let own = std::process::id();
    if File::open(format!("/proc/{own}/task/{own}/children")).is_err() {
        return None;
    }
    while let Some(pid) = queue.pop() {
        for child in children(pid) {
            if seen.insert(child)
                && let Some(stat) = stat(child)
            {
                // A dead process has no children: they were given to its reaper.
                if !stat.dead {
                    found.push(stat.process);
                    queue.push(child);
                }
            }
        }
    }
    Some(found)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        if let Ok(text) = std::fs::read_to_string(task.path().join("children")) {
            found.extend(text.split_ascii_whitespace().filter_map(|t| t.parse::<u32>().ok()));
        }
    }
    found
}

/// Of `all`, those below `roots`.
pub fn below(all: &[Stat], roots: &[u32]) -> Vec<Process> {
    let mut inside: BTreeSet<u32> = roots.iter().copied().collect();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        for s in all {
            if inside.contains(&s.ppid) && inside.insert(s.process.pid) {
                found.push(s.process);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// The process was started as part of the run in this directory, as far as its environment says.
pub fn has_marker(pid: u32, run: &RunDir) -> bool {
    let mut environ = Vec::new();
    if File::open(format!("/proc/{pid}/environ")).and_then(|mut f| f.read_to_end(&mut environ)).is_err() {
        return false;
    }
    let wanted = run.path().as_os_str().as_bytes();
    environ
        .split(|c| *c == 0)
        .any(|entry| entry.strip_prefix(MARKER.as_bytes()).and_then(|e| e.strip_prefix(b"=")) == Some(wanted))
}

/// Opens a pidfd of exactly this process; `None` if it is gone, reaped, or its number belongs to another one now.
pub fn open(process: Process) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    // Asked after the pidfd was opened: if the start time is right now, it was right when the number was looked up.
    Ok(stat(process.pid).filter(|s| s.process == process).map(|_| fd))
}

/// Sends a signal to exactly this process. `false`: it is gone.
pub fn signal(process: Process, number: i32) -> bool {
    match open(process) {
        Ok(Some(fd)) => sys::pidfd_signal(fd, number).is_ok(),
        Ok(None) => false,
        // Without a pidfd (a full descriptor table): by number, right after the start time was seen.
        Err(_) => {
            stat(process.pid).is_some_and(|s| s.process == process) && sys::kill(process.pid, number).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_with_parentheses_and_spaces() {
        let text = b"77 (a) S (b) ) T 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 2222 24";
        let s = parse_stat(77, text).unwrap();
        assert_eq!((s.ppid, s.session, s.process.start_ticks, s.dead), (5, 7, 2222, false));
    }

    #[test]
    fn identity_is_pid_and_start_time() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = stat(child.id()).unwrap();
        assert_eq!(found.ppid, std::process::id());
        assert!(open(found.process).unwrap().is_some());
        let other = Process { start_ticks: found.process.start_ticks + 1, ..found.process };
        assert!(open(other).unwrap().is_none(), "same number, another process");
        assert!(!signal(other, libc::SIGKILL));
        assert!(signal(found.process, libc::SIGKILL));
        child.wait().unwrap();
        assert!(open(found.process).unwrap().is_none());
    }

    #[test]
    fn descendants_both_ways() {
        let name = helm_core::name::ServiceName::new("web").unwrap();
        let place = |home: &str| crate::rundir::ServiceDir::new(std::path::Path::new(home), &name);
        let run = place("/here").run(helm_core::status::RunId(1));
        let elsewhere = place("/there").run(helm_core::status::RunId(1));
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .env(MARKER, run.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = [0; 16];
        let length = child.stdout.take().unwrap().read(&mut pid).unwrap();
        let grandchild: u32 = std::str::from_utf8(&pid[..length]).unwrap().trim().parse().unwrap();
        assert!(has_marker(child.id(), &run) && !has_marker(child.id(), &elsewhere));
        for found in [descendants(&[child.id()]), below(&all(), &[child.id()])] {
            assert_eq!(found.iter().map(|p| p.pid).collect::<Vec<_>>(), [grandchild]);
            assert!(descendants(&[std::process::id()]).contains(&found[0]));
        }
        for p in descendants(&[child.id()]) {
            signal(p, libc::SIGKILL);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
