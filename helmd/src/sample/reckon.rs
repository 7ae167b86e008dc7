//! What two readings of a service come to. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use helm_shim::procs::Process;
use helm_store::metrics::rollup::growth;

/// Counters of one process; they only rise while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Clock ticks that it has worked itself.
    pub own: u64,
    /// Clock ticks of children that it has waited for.
    pub children: u64,
    /// Bytes read and written, with those of such children.
    pub io: (u64, u64),
}

/// What the leaf cgroup of a run tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaf {
    /// Microseconds of work of all that were ever in it.
    pub cpu_us: u64,
    /// Bytes, without what the kernel keeps of files that nobody uses; needs the controller.
    pub memory: Option<u64>,
    /// Threads; needs the controller.
    pub threads: Option<u64>,
}

/// One look at a service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// When, on the monotonic clock.
    pub at: Duration,
    /// Its processes, those that wait to be reaped as well.
    pub counters: BTreeMap<Process, Counters>,
    /// Clock ticks of what its keeper has reaped.
    pub reaped: u64,
    /// Living processes.
    pub processes: u64,
    /// Threads of them.
    pub threads: u64,
    /// Bytes in memory by the tree.
    pub memory: u64,
    /// Open descriptors, where they can be seen.
    pub fds: Option<u64>,
    /// Reading and writing can be seen.
    pub io: bool,
    /// Its leaf, where it has one.
    pub leaf: Option<Leaf>,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Per cent of one core since the reading before; `None`: there was none.
    pub cpu_percent: Option<f64>,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Living processes.
    pub processes: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub fds: Option<u64>,
    /// Bytes a second from and to disks.
    pub io: Option<(f64, f64)>,
}

/// What `now` comes to after `before`. A first reading of a run that is `young` counts from its start.
pub fn usage(before: Option<&Reading>, now: &Reading, young: Option<Duration>, ticks_a_second: u64) -> Usage {
    let start = young.filter(|_| before.is_none()).map(|age| Reading {
        at: now.at.saturating_sub(age),
        reaped: now.reaped,
        leaf: now.leaf.map(|_| Leaf::default()),
        ..Reading::default()
    });
    let since = before.or(start.as_ref()).filter(|b| b.at < now.at);
    let leaf = now.leaf;
    let per_second = |before: &Reading, n: f64| n / (now.at - before.at).as_secs_f64();
    Usage {
        cpu_percent: since.map(|b| 100.0 * per_second(b, worked(b, now, ticks_a_second))),
        memory_bytes: leaf.and_then(|l| l.memory).unwrap_or(now.memory),
        processes: now.processes,
        threads: leaf.and_then(|l| l.threads).unwrap_or(now.threads),
        fds: now.fds,
        io: since.filter(|_| now.io).map(|b| {
            let grown = |of: fn(&Counters) -> u64| {
                grown(b, now, |c| (0, of(c)), (0, 0)).map_or(0.0, |n| per_second(b, real(n)))
            };
            (grown(|c| c.io.0), grown(|c| c.io.1))
        }),
    }
}

/// Seconds of work between two readings.
fn worked(before: &Reading, now: &Reading, ticks_a_second: u64) -> f64 {
    if let (Some(b), Some(n)) = (before.leaf, now.leaf) {
        // A leaf of a new run begins anew.
        return growth(real(b.cpu_us), real(n.cpu_us)) / 1e6;
    }
    let ticks = grown(before, now, |c| (c.own, c.children), (before.reaped, now.reaped)).unwrap_or(0);
    real(ticks) / real(ticks_a_second.max(1))
}

/// Growth of a tree's counter. What ended is in its parent's counter of children, if that waited for it: then the sums
/// tell everything, and else (children that nobody waits for) what those that live have done themselves.
fn grown(
    before: &Reading,
    now: &Reading,
    of: impl Fn(&Counters) -> (u64, u64),
    reaped: (u64, u64),
) -> Option<u64> {
    let sum = |reading: &Reading, reaped: u64| -> u64 {
        reaped
            + reading
                .counters
                .values()
                .map(|c| {
                    let (own, children) = of(c);
                    own + children
                })
                .sum::<u64>()
    };
    let all = sum(now, reaped.1).checked_sub(sum(before, reaped.0));
    let living = now
        .counters
        .iter()
        .map(|(process, c)| {
            let former = before.counters.get(process).map_or(0, |c| of(c).0);
            of(c).0.saturating_sub(former)
        })
        .sum();
    all.max(Some(living))
}

#[allow(clippy::cast_precision_loss, reason = "counters of bytes and ticks stay far below 2^53")]
fn real(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(second: u64, counters: &[(u32, u64, u64)]) -> Reading {
        let counters = counters.iter().map(|(pid, own, children)| {
            let process = Process { pid: *pid, start_ticks: 1 };
            (process, Counters { own: *own, children: *children, io: (own * 10, 0) })
        });
        Reading {
            at: Duration::from_secs(second),
            counters: counters.collect(),
            io: true,
            ..Reading::default()
        }
    }

    fn cpu(before: &Reading, now: &Reading) -> f64 {
        usage(Some(before), now, None, 100).cpu_percent.unwrap()
    }

    #[test]
    fn per_cent_of_one_core() {
        let (a, b) = (reading(0, &[(1, 100, 0)]), reading(5, &[(1, 600, 0), (2, 500, 0)]));
        assert_eq!(cpu(&a, &b), 200.0, "two that work all the time");
        assert_eq!(usage(Some(&a), &b, None, 100).io, Some((2000.0, 0.0)));
    }

    #[test]
    fn what_ended_counts_once() {
        // Process 2 had worked 300 before and 100 since; its parent has waited for it.
        let (a, b) = (reading(0, &[(1, 0, 0), (2, 300, 0)]), reading(5, &[(1, 0, 400)]));
        assert_eq!(cpu(&a, &b), 20.0);
        // It fell to the keeper, which has reaped it.
        let b = Reading { reaped: 400, ..reading(5, &[(1, 0, 0)]) };
        assert_eq!(cpu(&a, &b), 20.0);
    }

    #[test]
    fn what_nobody_waits_for_takes_nothing_away() {
        // The sum falls by the 300 of process 2, of which nobody knows any more.
        let (a, b) = (reading(0, &[(1, 0, 0), (2, 300, 0)]), reading(5, &[(1, 50, 0)]));
        assert_eq!(cpu(&a, &b), 10.0);
        assert_eq!(usage(Some(&a), &b, None, 100).io, Some((0.0, 0.0)), "never below nothing");
    }

    #[test]
    fn a_first_reading_counts_from_the_start_of_a_young_run() {
        let now = Reading { reaped: 9_000, ..reading(100, &[(1, 100, 100)]) };
        assert_eq!(usage(None, &now, None, 100).cpu_percent, None);
        let young = usage(None, &now, Some(Duration::from_secs(4)), 100);
        assert_eq!(young.cpu_percent, Some(50.0), "what the keeper reaped before is of other runs");
    }

    #[test]
    fn a_leaf_tells_more_than_the_tree() {
        let with = |second, cpu_us, memory| Reading {
            leaf: Some(Leaf { cpu_us, memory, threads: Some(7) }),
            memory: 50,
            threads: 2,
            ..reading(second, &[(1, 0, 0)])
        };
        let found = usage(Some(&with(0, 1_000_000, None)), &with(5, 2_000_000, Some(80)), None, 100);
        assert_eq!((found.cpu_percent, found.memory_bytes, found.threads), (Some(20.0), 80, 7));
        let anew = usage(Some(&with(0, 9_000_000, None)), &with(5, 500_000, None), None, 100);
        assert_eq!((anew.cpu_percent, anew.memory_bytes), (Some(10.0), 50), "the leaf of a newer run");
    }
}
