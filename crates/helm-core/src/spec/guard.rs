//! How the limits of a service are kept: by its cgroup where there is a controller for it, else by a limit of each process
//! where the kernel has one, else not at all. And in words, which of these is in force.

use std::collections::BTreeMap;

use super::Limits;
use super::scalar::show_size;

/// Controllers of cgroup v2 that a tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Controllers {
    /// Weight and quota.
    pub cpu: bool,
    /// Memory, and whom the OOM killer takes.
    pub memory: bool,
    /// Processes and threads.
    pub pids: bool,
}

/// A limit of one process (getrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rlimit {
    /// Memory that the process alone may write. Not the address space: runtimes reserve many times what they use.
    Data,
    /// A core dump.
    Core,
    /// Open files.
    Nofile,
}

impl Rlimit {
    /// On x86-64 and arm64.
    pub fn number(self) -> i32 {
        match self {
            Self::Data => 2,
            Self::Core => 4,
            Self::Nofile => 7,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Data => "RLIMIT_DATA",
            Self::Core => "RLIMIT_CORE",
            Self::Nofile => "RLIMIT_NOFILE",
        }
    }
}

/// One file of a cgroup (Documentation/admin-guide/cgroup-v2.rst).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupFile {
    /// `memory.max`
    pub name: &'static str,
    /// What belongs in it.
    pub value: String,
    /// It is what the kernel has there anyway.
    pub usual: bool,
}

/// What belongs into the cgroup of a service, as far as there are controllers for it.
pub fn of_cgroup(limits: &Limits, there: Controllers) -> Vec<CgroupFile> {
    let file = |name, value: Option<String>, usual: &str| CgroupFile {
        name,
        usual: value.as_deref().is_none_or(|value| value == usual),
        value: value.unwrap_or_else(|| usual.to_owned()),
    };
    let mut files = Vec::new();
    if there.memory {
        // The kernel counts in pages, of 64 KiB at most: what is read back is what was written.
        let whole = |bytes: u64| (bytes & !0xffff).to_string();
        files.push(file("memory.max", limits.memory.map(whole), "max"));
        // Whoever is without memory ends whole: half a service is none. Also where the whole host is.
        files.push(file("memory.oom.group", Some("1".to_owned()), "0"));
    }
    if there.cpu {
        files.push(file("cpu.weight", limits.cpu_weight.map(|v| v.to_string()), "100"));
        // Per cent of one core, as microseconds of each 100 ms.
        let quota = limits.cpu_quota.map(|v| format!("{} 100000", u64::from(v) * 1000));
        files.push(file("cpu.max", quota, "max 100000"));
    }
    if there.pids {
        files.push(file("pids.max", limits.pids.map(|v| v.to_string()), "max"));
    }
    files
}

/// What each process of a service is limited by from its start.
pub fn of_process(limits: &Limits) -> Vec<(Rlimit, u64)> {
    let pairs = [(Rlimit::Core, limits.core), (Rlimit::Nofile, limits.nofile)];
    pairs.into_iter().filter_map(|(limit, value)| Some((limit, value?))).collect()
}

/// Likewise, as a limit that can be changed while it runs: what stands in for a controller that is not there.
pub fn instead(limits: &Limits, there: Controllers) -> Option<(Rlimit, u64)> {
    limits.memory.filter(|_| !there.memory).map(|bytes| (Rlimit::Data, bytes))
}

/// By what a limit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// The cgroup of the service, for all its processes together.
    Cgroup,
    /// A limit of each process.
    Rlimit,
    /// Nothing.
    Nothing,
}

impl Means {
    /// The name on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Rlimit => "rlimit",
            Self::Nothing => "none",
        }
    }
}

/// One limit of a service, and what keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// `memory`
    pub limit: &'static str,
    /// `512M`
    pub value: String,
    /// By what it is kept.
    pub means: Means,
    /// The same in words, with the way to more where it is not kept as it could be.
    pub words: String,
}

/// What is in force for a run, or would be for one that is started now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InForce {
    /// The files of its cgroup; those that are not there are not in it.
    pub cgroup: BTreeMap<String, String>,
    /// The limits of its main process; what is not limited is not in it.
    pub process: BTreeMap<Rlimit, u64>,
}

impl InForce {
    /// As a start would leave it.
    pub fn by_a_start(limits: &Limits, there: Controllers) -> Self {
        let files = of_cgroup(limits, there).into_iter();
        Self {
            cgroup: files.map(|file| (file.name.to_owned(), file.value)).collect(),
            process: of_process(limits).into_iter().chain(instead(limits, there)).collect(),
        }
    }
}

/// How a limit can be seen.
struct Sign {
    limit: &'static str,
    value: Option<String>,
    /// Controller, file, and what stands in it.
    cgroup: Option<(&'static str, &'static str, String)>,
    process: Option<(Rlimit, u64)>,
}

fn signs(limits: &Limits) -> Vec<Sign> {
    let Limits { memory, cpu_weight, cpu_quota, pids, nofile, core } = limits;
    let all = Controllers { cpu: true, memory: true, pids: true };
    let files: BTreeMap<&str, String> =
        of_cgroup(limits, all).into_iter().map(|file| (file.name, file.value)).collect();
    let by_cgroup = |limit, value: Option<String>, controller, file: &'static str| Sign {
        limit,
        value,
        cgroup: files.get(file).map(|value| (controller, file, value.clone())),
        process: None,
    };
    let by_process = |limit, kept, value: Option<u64>, shown: Option<String>| Sign {
        limit,
        value: shown,
        cgroup: None,
        process: value.map(|value| (kept, value)),
    };
    vec![
        Sign {
            process: memory.map(|bytes| (Rlimit::Data, bytes)),
            ..by_cgroup("memory", memory.map(show_size), "memory", "memory.max")
        },
        by_cgroup("cpu_weight", cpu_weight.map(|v| v.to_string()), "cpu", "cpu.weight"),
        by_cgroup("cpu_quota", cpu_quota.map(|v| format!("{v}%")), "cpu", "cpu.max"),
        by_cgroup("pids", pids.map(|v| v.to_string()), "pids", "pids.max"),
        by_process("nofile", Rlimit::Nofile, *nofile, nofile.map(|v| v.to_string())),
        by_process("core", Rlimit::Core, *core, core.map(show_size)),
    ]
}

/// What keeps each limit that is configured, by what is in force. `there`: what the tree of this helmd has.
pub fn guards(limits: &Limits, in_force: &InForce, there: Controllers) -> Vec<Guard> {
    signs(limits).into_iter().filter_map(|sign| guard(sign, in_force, there)).collect()
}

fn guard(sign: Sign, in_force: &InForce, there: Controllers) -> Option<Guard> {
    let Sign { limit, value, cgroup, process } = sign;
    let value = value?;
    let by_cgroup = cgroup.as_ref().filter(|(_, file, wanted)| in_force.cgroup.get(*file) == Some(wanted));
    let by_process = process.filter(|(kind, wanted)| in_force.process.get(kind) == Some(wanted));
    let (means, words) = match (by_cgroup, by_process) {
        (Some((_, file, _)), _) => (Means::Cgroup, format!("cgroup ({file})")),
        (None, Some((kind, _))) => {
            let more = match cgroup {
                None => String::new(),
                Some(_) if there.memory => "; helmctl restart gives it a cgroup".to_owned(),
                Some((controller, ..)) => format!(", for want of a {}", tree_with(controller)),
            };
            (Means::Rlimit, format!("{} of each process{more}", kind.name()))
        }
        (None, None) => (Means::Nothing, format!("not in force: {}", lack(cgroup, there))),
    };
    Some(Guard { limit, value, means, words })
}

fn lack(cgroup: Option<(&'static str, &'static str, String)>, there: Controllers) -> String {
    const ANEW: &str = "this run was started without it, helmctl restart applies it";
    let Some((controller, ..)) = cgroup else { return ANEW.to_owned() };
    let is_there = match controller {
        "cpu" => there.cpu,
        "memory" => there.memory,
        _ => there.pids,
    };
    // Memory has a limit of each process instead.
    if is_there || controller == "memory" {
        ANEW.to_owned()
    } else {
        format!("there is no {}", tree_with(controller))
    }
}

fn tree_with(controller: &str) -> String {
    format!("cgroup tree with the {controller} controller (docs/AUTOSTART.md makes one)")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: Some(512 << 20),
        cpu_weight: Some(50),
        cpu_quota: Some(150),
        pids: Some(200),
        nofile: Some(1024),
        core: Some(0),
    };
    const ALL: Controllers = Controllers { cpu: true, memory: true, pids: true };

    fn told(limits: &Limits, in_force: &InForce, there: Controllers) -> Vec<String> {
        let line = |g: Guard| format!("{} {} [{}] {}", g.limit, g.value, g.means.as_str(), g.words);
        guards(limits, in_force, there).into_iter().map(line).collect()
    }

    #[test]
    fn with_all_controllers() {
        let by_a_start = InForce::by_a_start(&LIMITS, ALL);
        assert_eq!(
            told(&LIMITS, &by_a_start, ALL),
            [
                "memory 512M [cgroup] cgroup (memory.max)",
                "cpu_weight 50 [cgroup] cgroup (cpu.weight)",
                "cpu_quota 150% [cgroup] cgroup (cpu.max)",
                "pids 200 [cgroup] cgroup (pids.max)",
                "nofile 1024 [rlimit] RLIMIT_NOFILE of each process",
                "core 0 [rlimit] RLIMIT_CORE of each process",
            ]
        );
        assert_eq!(by_a_start.cgroup["memory.oom.group"], "1");
    }

    #[test]
    fn without_any() {
        let none = Controllers::default();
        let lines = told(&LIMITS, &InForce::by_a_start(&LIMITS, none), none);
        assert_eq!(
            lines[0],
            "memory 512M [rlimit] RLIMIT_DATA of each process, for want of a cgroup tree with the memory controller (docs/AUTOSTART.md makes one)"
        );
        for (line, controller) in lines[1..4].iter().zip(["cpu", "cpu", "pids"]) {
            let words =
                format!("[none] not in force: there is no cgroup tree with the {controller} controller");
            assert!(line.contains(&words), "{line}");
        }
        assert!(lines[4].ends_with("RLIMIT_NOFILE of each process"), "{}", lines[4]);
    }

    #[test]
    fn a_run_that_has_it_not_says_how_it_gets_it() {
        let lines = told(&LIMITS, &InForce::default(), ALL);
        assert!(
            lines.iter().all(|line| line.contains("[none]") && line.ends_with("restart applies it")),
            "{lines:?}"
        );
        let weak = Limits { memory: Some(256 << 20), ..Limits::default() };
        let former = InForce::by_a_start(&LIMITS, Controllers::default());
        assert!(told(&weak, &former, Controllers::default())[0].contains("[none]"), "another value");
        assert!(told(&Limits::default(), &former, ALL).is_empty(), "nothing is configured");
    }

    #[test]
    fn the_whole_service_ends_where_memory_does_with_and_without_a_limit_of_its_own() {
        let files = of_cgroup(&Limits::default(), Controllers { memory: true, ..Controllers::default() });
        let told: Vec<_> = files.iter().map(|f| (f.name, f.value.as_str(), f.usual)).collect();
        assert_eq!(told, [("memory.max", "max", true), ("memory.oom.group", "1", false)]);
        let odd = Limits { memory: Some((3 << 20) + 1), ..Limits::default() };
        assert_eq!(of_cgroup(&odd, ALL)[0].value, (3 << 20).to_string(), "whole pages");
    }
}
