//! Whose a process is. Pure: a pass over all processes in, the trees of the services out.

use std::collections::BTreeMap;

use helm_shim::procs::Process;

use super::proc::Seen;

/// Number of a service within one look.
pub type Owner = usize;

/// The processes of one service, as indices into the pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Its keeper, where it is the parent of the main process: no part of the service, but what it reaped was one.
    pub keeper: Option<usize>,
    /// Main process and all below it.
    pub members: Vec<usize>,
}

/// Sorts processes by service. `mains` are the main processes by pid; `former` says whose a process was before.
///
/// A process belongs to the service of its nearest ancestor that is a main process or a keeper of one (orphans fall to
/// the keeper). One that lost both (its keeper was killed) is known by its session, else by whose it was before.
pub fn trees(
    seen: &[Seen],
    mains: &BTreeMap<u32, Owner>,
    former: &BTreeMap<Process, Owner>,
) -> BTreeMap<Owner, Tree> {
    let places: BTreeMap<u32, usize> = seen.iter().enumerate().map(|(i, s)| (s.process.pid, i)).collect();
    let at = |pid: u32| places.get(&pid).map(|i| (*i, &seen[*i]));
    let mut keepers = BTreeMap::new();
    let mut trees: BTreeMap<Owner, Tree> = BTreeMap::new();
    for (pid, owner) in mains {
        let Some((_, main)) = at(*pid) else { continue };
        let tree = trees.entry(*owner).or_default();
        if let Some((place, _)) = at(main.ppid).filter(|(_, parent)| parent.keeper) {
            keepers.insert(main.ppid, *owner);
            tree.keeper = Some(place);
        }
    }
    for (place, process) in seen.iter().enumerate() {
        let pid = process.process.pid;
        if keepers.contains_key(&pid) {
            continue;
        }
        let owner = above(pid, &at, |pid| mains.get(&pid).or_else(|| keepers.get(&pid)).copied())
            .or_else(|| mains.get(&process.session).copied())
            .or_else(|| former.get(&process.process).copied());
        if let Some(tree) = owner.and_then(|owner| trees.get_mut(&owner)) {
            tree.members.push(place);
        }
    }
    trees
}

/// The first answer on the way up. A pass is no snapshot, so that a way may lead round: it ends after some generations.
fn above<'a>(
    mut pid: u32,
    at: &impl Fn(u32) -> Option<(usize, &'a Seen)>,
    head: impl Fn(u32) -> Option<Owner>,
) -> Option<Owner> {
    for _ in 0..64 {
        if let Some(owner) = head(pid) {
            return Some(owner);
        }
        pid = at(pid)?.1.ppid;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pid: u32, ppid: u32, session: u32) -> Seen {
        Seen {
            process: Process { pid, start_ticks: u64::from(pid) },
            ppid,
            session,
            keeper: (10..20).contains(&pid),
            dead: false,
            own: 0,
            children: 0,
            threads: 1,
            rss: 0,
        }
    }

    fn pids(all: &[Seen], tree: &Tree) -> Vec<u32> {
        tree.members.iter().map(|i| all[*i].process.pid).collect()
    }

    #[test]
    fn a_tree_is_all_below_its_keeper() {
        // 10 and 11 keep; 100 and 110 are main; 102 lost its parent and fell to the keeper, in a session of its own.
        let all = [
            seen(1, 0, 1),
            seen(10, 1, 10),
            seen(100, 10, 100),
            seen(101, 100, 100),
            seen(102, 10, 102),
            seen(11, 1, 11),
            seen(110, 11, 110),
            seen(500, 1, 500),
        ];
        let found = trees(&all, &BTreeMap::from([(100, 0), (110, 1)]), &BTreeMap::new());
        assert_eq!(pids(&all, &found[&0]), [100, 101, 102]);
        assert_eq!(found[&0].keeper, Some(1));
        assert_eq!(pids(&all, &found[&1]), [110]);
    }

    #[test]
    fn without_the_keeper_it_is_known_by_session_or_from_before() {
        // The keeper was killed: all fell to helmd (2), which is none.
        let all = [seen(2, 1, 2), seen(100, 2, 100), seen(101, 2, 100), seen(102, 2, 102), seen(103, 2, 103)];
        let former = BTreeMap::from([(Process { pid: 102, start_ticks: 102 }, 0)]);
        let found = trees(&all, &BTreeMap::from([(100, 0)]), &former);
        assert_eq!(pids(&all, &found[&0]), [100, 101, 102], "103 was never seen below it");
        assert_eq!(found[&0].keeper, None);
        let reused = BTreeMap::from([(Process { pid: 102, start_ticks: 1 }, 0)]);
        assert_eq!(pids(&all, &trees(&all, &BTreeMap::from([(100, 0)]), &reused)[&0]), [100, 101]);
    }

    #[test]
    fn a_main_process_that_is_gone_has_no_tree_and_a_ring_ends() {
        let all = [seen(50, 51, 0), seen(51, 50, 0)];
        assert!(trees(&all, &BTreeMap::from([(100, 0)]), &BTreeMap::new()).is_empty());
    }
}
