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
    for file in leaf.iter().flat_map(|_| guard::of_cgroup(&spec.limits, cgroups.controllers)) {
        trouble.extend(leaf.as_ref().and_then(|dir| write(&dir.join(file.name), &file.value)));
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

/// Of all processes of the run; they hand it on to what they start.
fn renew_memory(main: u32, wanted: Option<u64>) -> io::Result<()> {
    // What helmd itself has, it hands on where nothing is configured.
    let wanted = wanted.or_else(|| of_process(std::process::id()).get(&Rlimit::Data).copied());
    if of_process(main).get(&Rlimit::Data).copied() == wanted {
        return Ok(());
    }
    let all = proc::all();
    let members = tree::trees(&all, &BTreeMap::from([(main, 0)]), &BTreeMap::new()).remove(&0);
    for place in members.unwrap_or_default().members {
        let pid = all[place].process.pid;
        let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let Some((_, hard)) = pair(&text, Rlimit::Data) else { continue };
        let soft = [wanted, hard].into_iter().flatten().min();
        let limit = rustix::process::Rlimit { current: soft, maximum: hard };
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        match prlimit(id, Resource::Data, limit) {
            // It has ended meanwhile.
            Ok(_) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
