//! Whether the kernel's log says that it killed a process for memory. Only where no cgroup counts that. Blocking.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use helm_core::incident::Oom;
use helm_core::time::Mono;

/// A kill and the end that it leads to are not further apart.
const APART: Duration = Duration::from_secs(60);
/// Records that are read at most: more than the kernel keeps.
const RECORDS: usize = 100_000;
/// The kernel gives no longer one (Documentation/ABI/testing/dev-kmsg).
const LONGEST: usize = 8 << 10;

/// Looks for the kill of `pid`, which ended at `at`.
pub(super) fn killed(pid: u32, at: Mono) -> Oom {
    match look(pid, at) {
        Ok(Some(line)) => Oom::Logged(line),
        Ok(None) => Oom::No,
        Err(e) => {
            tracing::debug!("the kernel's log cannot be read: {e}");
            Oom::Unknown
        }
    }
}

fn look(pid: u32, at: Mono) -> io::Result<Option<String>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let mut log =
        OpenOptions::new().read(true).custom_flags(i32::try_from(flags).unwrap_or(0)).open("/dev/kmsg")?;
    let (mut record, mut found) = (vec![0; LONGEST], None);
    for _ in 0..RECORDS {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                found = kill_of(&text, pid, at).map(str::to_owned).or(found);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            // What is read next was overwritten meanwhile: the log goes on behind it.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The words of a record (`priority,sequence,microseconds since boot,flags;words`) that tell of this kill.
fn kill_of(record: &str, pid: u32, at: Mono) -> Option<&str> {
    let (head, words) = record.lines().next()?.split_once(';')?;
    let micros = head.split(',').nth(2)?.parse().ok()?;
    let when = Duration::from_micros(micros);
    // mm/oom_kill.c: "Out of memory: Killed process 7 (x) ...", "Memory cgroup out of memory: Killed process 7 (x) ..."
    let (before, victim) = words.split_once("illed process ")?;
    let named = victim.split([' ', ',']).next()?.parse() == Ok(pid);
    let near = when <= at.0 + APART && at.0 <= when + APART;
    (named && near && before.to_ascii_lowercase().contains("out of memory")).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBAL: &str = "3,1201,86400500000,-;Out of memory: Killed process 4711 (java) total-vm:8123456kB, \
                          anon-rss:7000000kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:9000kB oom_score_adj:0\n";
    const CGROUP: &str = "3,77,1000000,-;Memory cgroup out of memory: Killed process 42 (python) total-vm:1kB, anon-rss:1kB\n SUBSYSTEM=x\n";

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    #[test]
    fn the_kill_is_told_by_pid_and_time() {
        assert!(
            kill_of(GLOBAL, 4711, at(86_400))
                .unwrap()
                .starts_with("Out of memory: Killed process 4711 (java)")
        );
        assert!(kill_of(CGROUP, 42, at(2)).unwrap().starts_with("Memory cgroup out of memory"));
        assert_eq!(kill_of(GLOBAL, 471, at(86_400)), None, "another process");
        assert_eq!(kill_of(GLOBAL, 4711, at(90_000)), None, "that pid was another process then");
        assert_eq!(kill_of("6,1,1,-;usb 1-1: new device\n", 4711, at(1)), None);
        assert_eq!(kill_of("nonsense", 4711, at(1)), None);
    }
}
