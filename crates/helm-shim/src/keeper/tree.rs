//! The tree of a run: found, signalled, killed whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use helm_shim::procs::{self, Process};
use helm_shim::sys;
use helm_shim::wire::Containment;

use super::run::{Main, Run};

/// Rounds of stopping before killing begins in any case: a fork bomb comes to rest in a few.
const FREEZE_ROUNDS: usize = 50;
/// Ends that are awaited at a time: descriptors are finite, and the tree is looked at again when these are gone.
const WATCHED: usize = 64;

impl Run {
    /// Everything of the run that lives, with the main process. `compressor` is ours, not the run's.
    pub(crate) fn members(&self, compressor: Option<u32>) -> Vec<Process> {
        let mut found = match (self.own, self.state().containment) {
            // Below us is everything, also what left the cgroup.
            (true, _) => procs::descendants(&[std::process::id()]),
            (false, Containment::Cgroup) => self.cgroup_members(),
            (false, Containment::Subreaper | Containment::Session) => self.session_members(),
        };
        found.retain(|p| Some(p.pid) != compressor);
        found
    }

    fn cgroup_members(&self) -> Vec<Process> {
        let mut pids = Vec::new();
        if let Some(dir) = &self.state().cgroup {
            collect_cgroup(Path::new(dir), &mut pids);
        }
        pids.into_iter().filter_map(procs::stat).filter(|s| !s.dead).map(|s| s.process).collect()
    }

    /// Without a cgroup and without being the parent: the session, what is below main and the known, and the marked.
    fn session_members(&self) -> Vec<Process> {
        let all = procs::all();
        let main = self.main_process();
        let known: BTreeSet<Process> = self.known.iter().copied().chain([main]).collect();
        // A session outlives its leader, and its number is not given to another process while it has members.
        let mut found: BTreeSet<Process> = all
            .iter()
            .filter(|s| {
                known.contains(&s.process)
                    || (s.session == main.pid && s.process.start_ticks >= main.start_ticks)
                    || (s.process.start_ticks >= main.start_ticks
                        && procs::has_marker(s.process.pid, &self.dir))
            })
            .map(|s| s.process)
            .collect();
        let roots: Vec<u32> = found.iter().map(|p| p.pid).collect();
        found.extend(procs::below(&all, &roots));
        found.into_iter().filter(|p| p.pid != std::process::id()).collect()
    }

    /// Does `pid` belong to the run? Cheap, for senders of datagrams.
    pub(crate) fn contains(&self, pid: u32) -> bool {
        let Some(sender) = procs::stat(pid) else {
            // It has ended since (systemd-notify does): its uid, which the kernel vouches for, has to do.
            return true;
        };
        let main = self.state().pid;
        if pid == main || sender.session == main {
            return true;
        }
        let top = if self.own { std::process::id() } else { main };
        let mut at = sender;
        for _ in 0..64 {
            if at.ppid == top {
                return true;
            }
            match procs::stat(at.ppid) {
                Some(parent) if at.ppid > 1 => at = parent,
                Some(_) | None => break,
            }
        }
        procs::has_marker(pid, &self.dir)
            || (self.state().containment == Containment::Cgroup
                && self.cgroup_members().iter().any(|p| p.pid == pid))
    }

    /// A signal to main, or to all that is left after it; SIGCONT after it, so that a stopped process gets it.
    pub(crate) fn signal(&self, number: i32, compressor: Option<u32>) {
        let numbers: &[i32] = if number == libc::SIGSTOP { &[number] } else { &[number, libc::SIGCONT] };
        for number in numbers {
            match &self.main {
                // Not reaped, so the number is its own.
                Main::Starting(_) | Main::Child => drop(sys::kill(self.state().pid, *number)),
                Main::Foreign(pidfd) => drop(sys::pidfd_signal(pidfd, *number)),
                Main::Leaving { .. } | Main::Gone => {
                    for process in self.members(compressor) {
                        procs::signal(process, *number);
                    }
                }
            }
        }
    }

    /// One attempt to end everything: stop all first, so that nothing forks away, then kill.
    pub(crate) fn kill_all(&self, compressor: Option<u32>) {
        if let (Containment::Cgroup, Some(dir)) = (self.state().containment, &self.state().cgroup) {
            let dir = Path::new(dir);
            if fs::write(dir.join("cgroup.kill"), "1").is_err() {
                // Before Linux 5.14. A frozen process dies of SIGKILL.
                let _ = fs::write(dir.join("cgroup.freeze"), "1");
                for process in self.cgroup_members() {
                    procs::signal(process, libc::SIGKILL);
                }
                let _ = fs::write(dir.join("cgroup.freeze"), "0");
            }
        }
        let mut stopped = BTreeSet::new();
        for _ in 0..FREEZE_ROUNDS {
            let fresh: Vec<Process> =
                self.members(compressor).into_iter().filter(|p| !stopped.contains(p)).collect();
            if fresh.is_empty() {
                break;
            }
            for process in fresh {
                procs::signal(process, libc::SIGSTOP);
                stopped.insert(process);
            }
        }
        for process in stopped {
            procs::signal(process, libc::SIGKILL);
        }
    }

    /// Own runs: nothing is below us but, at most, the compressor. The proof is ECHILD; what is dead and not reaped yet
    /// will be announced by a SIGCHLD of its own.
    pub(crate) fn is_childless(&mut self, compressor: Option<u32>) -> bool {
        if !sys::has_children() {
            return true;
        }
        if self.counted && compressor.is_none() {
            return false;
        }
        let left = self.members(compressor).len();
        if !self.counted {
            self.counted = true;
            self.state_mut().leftovers = u32::try_from(left).unwrap_or(u32::MAX);
        }
        left == 0 && compressor.is_some()
    }

    /// Attached runs: opens pidfds of what lives; `true` if nothing does.
    pub(crate) fn watch_members(&mut self, compressor: Option<u32>) -> bool {
        self.watched.clear();
        let members = self.members(compressor);
        for process in members.iter().take(WATCHED) {
            if let Ok(Some(fd)) = procs::open(*process) {
                self.watched.push(fd);
            }
        }
        if !self.counted {
            self.counted = true;
            self.state_mut().leftovers = u32::try_from(members.len()).unwrap_or(u32::MAX);
        }
        members.is_empty()
    }

    /// Processes of it that the kernel has killed for memory; `None`: it has no leaf that counts them.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        let dir = self.state().cgroup.as_ref()?;
        oom_kills(&fs::read_to_string(Path::new(dir).join("memory.events")).ok()?)
    }

    /// The leaf cgroup is not needed any more.
    pub(crate) fn remove_cgroup(&self) {
        if let Some(dir) = &self.state().cgroup {
            remove_cgroup(Path::new(dir));
        }
    }
}

/// Of memory.events (Documentation/admin-guide/cgroup-v2.rst): whatever had no memory left, the leaf or all above it.
fn oom_kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

fn remove_cgroup(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

fn collect_cgroup(dir: &Path, pids: &mut Vec<u32>) {
    if let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) {
        pids.extend(
            text.split_ascii_whitespace().filter_map(|t| t.parse::<u32>().ok()).filter(|pid| *pid != 0),
        );
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect_cgroup(&entry.path(), pids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_for_memory_are_counted_apart_from_what_leads_to_them() {
        let events = "low 0\nhigh 0\nmax 58\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(oom_kills(events), Some(3));
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"), Some(0));
        assert_eq!(oom_kills("low 0\nhigh 0\n"), None, "a kernel that does not count them");
    }
}
