//! The limits of what runs: read from the kernel, and changed there. Blocking, of files that the kernel makes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use helm_core::spec::ServiceSpec;
use helm_core::spec::guard::{self, InForce, Rlimit};
use helm_core::status::RunId;
use rustix::process::{Pid, Resource, prlimit};

use crate::cgroup::{self, Cgroups};
use crate::sample::{proc, tree};

/// What is in force for a run, by its cgroup and its main process.
pub fn in_force(cgroups: &Cgroups, spec: &ServiceSpec, run: RunId, main: u32) -> InForce {
    let leaf = cgroups.tree.as_deref().map(|tree| cgroup::leaf(tree, &spec.name, run));
    let files = guard::of_cgroup(&spec.limits, cgroups.controllers).into_iter();
    let read = |name: &str| fs::read_to_string(leaf.as_ref()?.join(name)).ok();
    InForce {
        cgroup: files.filter_map(|f| Some((f.name.to_owned(), read(f.name)?.trim().to_owned()))).collect(),
        process: of_process(main),
    }
}

/// The soft limits of a process, those that are limited.
fn of_process(pid: u32) -> BTreeMap<Rlimit, u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let kinds = [Rlimit::Data, Rlimit::Core, Rlimit::Nofile];
    kinds.into_iter().filter_map(|kind| Some((kind, pair(&text, kind)?.0?))).collect()
}

/// Soft and hard value, in a text of the form of /proc/PID/limits; `None`: unlimited.
fn pair(text: &str, kind: Rlimit) -> Option<(Option<u64>, Option<u64>)> {
    let name = match kind {
        Rlimit::Data => "Max data size",
        Rlimit::Core => "Max core file size",
        Rlimit::Nofile => "Max open files",
    };
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values = line.split_whitespace().map(|value| value.parse().ok());
    Some((values.next()?, values.next()?))
}

/// Brings the limits of a definition to a run that was started by another one; the trouble, if there is any.
pub fn renew(cgroups: &Cgroups, spec: &ServiceSpec, run: RunId, main: u32) -> String {
    let leaf = cgroups.tree.as_deref().map(|tree| cgroup::leaf(tree, &spec.name, run));
    let mut trouble: Vec<String> = Vec::new();
    let leaf = leaf.filter(|dir| dir.is_dir());
    if let Some(dir) = &leaf {
        let files = guard::of_cgroup(&spec.limits, cgroups.controllers).into_iter();
        trouble.extend(files.filter_map(|file| write(&dir.join(file.name), &file.value)));
    }
    // By its processes only where no cgroup keeps it: the value of another time is taken away again.
    let wanted = match guard::instead(&spec.limits, cgroups.controllers) {
        None if leaf.is_none() => spec.limits.memory,
        wanted => wanted.map(|(_, value)| value),
    };
    trouble.extend(renew_memory(main, wanted).err().map(|e| format!("the memory of its processes: {e}")));
    trouble.join("; ")
}

fn write(path: &Path, wanted: &str) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(now) if now.trim() == wanted => None,
        Ok(_) => fs::write(path, wanted).err().map(|e| format!("{} {wanted}: {e}", path.display())),
        // It was made when the tree had not this controller: what is in force is told with the status.
        Err(_) => None,
    }
}

/// Of all processes of the run. They hand it on to what they start, so that a pass that finds nothing to do has found all.
fn renew_memory(main: u32, wanted: Option<u64>) -> io::Result<()> {
    // What helmd itself has, it hands on where nothing is configured.
    let own = fs::read_to_string("/proc/self/limits")?;
    let (own_soft, own_hard) = pair(&own, Rlimit::Data).unwrap_or_default();
    let is = of_process(main).get(&Rlimit::Data).copied();
    if is == wanted.or(own_soft) {
        return Ok(());
    }
    for _ in 0..3 {
        let all = proc::all();
        let members = tree::trees(&all, &BTreeMap::from([(main, 0)]), &BTreeMap::new()).remove(&0);
        let mut changed = false;
        for place in members.unwrap_or_default().members {
            let pid = all[place].process.pid;
            let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
            let Some((soft, hard)) = pair(&text, Rlimit::Data) else { continue };
            // A hard value that did not come from helmd is the service's own doing, and so is the soft one.
            if wanted.is_none() && hard != own_hard {
                continue;
            }
            let least = [wanted.or(own_soft), hard].into_iter().flatten().min();
            changed |= soft != least && set_memory(pid, least, hard)?;
        }
        if !changed {
            break;
        }
    }
    Ok(())
}

/// `false`: it has ended meanwhile.
fn set_memory(pid: u32, soft: Option<u64>, hard: Option<u64>) -> io::Result<bool> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match prlimit(id, Resource::Data, rustix::process::Rlimit { current: soft, maximum: hard }) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helm_core::name::ServiceName;
    use helm_core::spec::Definition;
    use helm_core::spec::guard::Controllers;

    #[test]
    fn a_live_run_gets_the_limits_that_changed_and_loses_those_that_are_gone() {
        let tree = tempfile::tempdir().unwrap();
        let name = ServiceName::new("web").unwrap();
        let mut spec = ServiceSpec::removed(name, Definition::default());
        let dir = cgroup::leaf(tree.path(), &spec.name, RunId(7));
        fs::create_dir_all(&dir).unwrap();
        for (file, value) in [("memory.max", "1048576\n"), ("memory.oom.group", "0\n"), ("pids.max", "max\n")]
        {
            fs::write(dir.join(file), value).unwrap();
        }
        spec.limits.pids = Some(40);
        let controllers = Controllers { cpu: true, memory: true, pids: true };
        let cgroups = Cgroups { tree: Some(tree.path().to_owned()), controllers, detail: String::new() };
        let own = std::process::id();
        assert_eq!(renew(&cgroups, &spec, RunId(7), own), "");
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
        assert_eq!([read("memory.max"), read("memory.oom.group"), read("pids.max")], ["max", "1", "40"]);
        assert!(!dir.join("cpu.max").exists(), "what the kernel does not offer is not made");
        assert_eq!(in_force(&cgroups, &spec, RunId(7), own).cgroup["pids.max"], "40");
    }

    #[test]
    fn limits_of_a_process_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max data size             314572800            unlimited            bytes     \n\
                    Max core file size        0                    unlimited            bytes     \n";
        assert_eq!(pair(text, Rlimit::Data), Some((Some(314_572_800), None)));
        assert_eq!(pair(text, Rlimit::Core), Some((Some(0), None)));
        assert_eq!(pair(text, Rlimit::Nofile), None);
    }
}
