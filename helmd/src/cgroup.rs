//! Finds the delegated cgroup v2 tree in which the leaves of the services may lie.
//!
//! Never helmd's own unit: a restarted helmd is put into the unit's own cgroup, which the kernel refuses while
//! controllers are enabled there (design 3, systemd). So a tree is named in `instance/helm.conf`, or it is the unit
//! `helm-tree.service` beside helmd's own unit, or a scope that was delegated to this process (xattr `user.delegate`, set
//! by systemd).

use std::fs;
use std::path::{Path, PathBuf};

use helm_core::name::ServiceName;
use helm_core::spec::guard::Controllers;
use helm_core::status::RunId;

/// The leaf of a run.
pub fn leaf(tree: &Path, service: &ServiceName, run: RunId) -> PathBuf {
    tree.join(format!("{service}-{run}"))
}

/// Which protection is in force.
#[derive(Debug, Clone)]
pub struct Cgroups {
    /// The tree, where there is one.
    pub tree: Option<PathBuf>,
    /// What it can limit.
    pub controllers: Controllers,
    /// In words, for `daemon status`.
    pub detail: String,
}

/// Looks for the tree. `configured` is `cgroup_tree` of helm.conf, an absolute path.
pub fn find(configured: Option<&str>) -> Cgroups {
    let Some(mount) = mount_of(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()) else {
        return none("no cgroup v2 is mounted");
    };
    let candidate = match configured {
        Some(path) if Path::new(path).starts_with(&mount) => PathBuf::from(path),
        Some(path) => return none(&format!("cgroup_tree {path} is not below {}", mount.display())),
        None => match delegated_to_us(&mount) {
            Some(path) => path,
            None => {
                return none(
                    "no cgroup tree is delegated to this helmd (scripts/install_autostart.sh makes one; `cgroup_tree` in instance/helm.conf names one)",
                );
            }
        },
    };
    match prepare(&candidate) {
        Ok(controllers) => Cgroups {
            detail: format!("{}; controllers: {}", candidate.display(), words(controllers)),
            tree: Some(candidate),
            controllers,
        },
        Err(e) => none(&format!("the cgroup tree {} cannot be used: {e}", candidate.display())),
    }
}

fn none(why: &str) -> Cgroups {
    Cgroups { tree: None, controllers: Controllers::default(), detail: why.to_owned() }
}

fn words(Controllers { cpu, memory, pids }: Controllers) -> String {
    let all = [("cpu", cpu), ("memory", memory), ("pids", pids)];
    let there: Vec<&str> = all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    if there.is_empty() { "none".to_owned() } else { there.join(" ") }
}

/// The mount point of cgroup2 (proc(5), mountinfo: the file system type stands after the ` - `).
fn mount_of(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == "cgroup2").then(|| PathBuf::from(left.split(' ').nth(4).unwrap_or("/")))
    })
}

/// The unit whose tree is for the services: it lives through every restart of helmd's own unit.
const TREE_UNIT: &str = "helm-tree.service";
/// Leaf of the process that keeps the unit alive.
const HOLDER: &str = "holder";

/// Our own cgroup.
fn own(mount: &Path) -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::"))?;
    Some(mount.join(path.trim_start_matches('/')))
}

/// The unit for the tree beside our own unit, where its holder could make a leaf; or our own scope, if systemd marked it as
/// delegated (a user's manager marks no units).
fn delegated_to_us(mount: &Path) -> Option<PathBuf> {
    let own = own(mount)?;
    let unit = tree_beside(&own).filter(|tree| tree.join(HOLDER).is_dir());
    // A unit of ours must not be its own tree: only a scope, whose process can be moved into a leaf.
    let scope =
        || (own.extension().is_some_and(|kind| kind == "scope") && is_delegated(&own)).then(|| own.clone());
    unit.or_else(scope)
}

/// Where the tree of a helmd is that runs as a unit.
fn tree_beside(own: &Path) -> Option<PathBuf> {
    own.extension().filter(|kind| *kind == "service").and_then(|_| Some(own.parent()?.join(TREE_UNIT)))
}

fn is_delegated(dir: &Path) -> bool {
    let mut value = [0_u8; 8];
    ["user.delegate", "trusted.delegate"]
        .iter()
        .any(|name| matches!(rustix::fs::getxattr(dir, *name, &mut value), Ok(n) if value[..n] == *b"1"))
}

/// Why a tree cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// No cgroup v2, or none of ours.
    #[error("this process is in no cgroup v2 tree; `helmd --hold-tree` is what {TREE_UNIT} runs")]
    NoTree,
    /// The holder's own leaf.
    #[error("the holder's leaf {path} cannot be made: {source}. Is `Delegate=yes` in {TREE_UNIT}?")]
    Leaf {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What `helm-tree.service` runs: goes into a leaf of its own, so that the unit's cgroup can be an inner node, and stays
/// until it is ended. systemd takes a unit's cgroup away with its last process.
///
/// # Errors
/// There is no tree, or it cannot be written to.
pub fn hold_tree() -> Result<std::convert::Infallible, HoldError> {
    let mount = mount_of(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let path = mount.and_then(|mount| own(&mount)).ok_or(HoldError::NoTree)?.join(HOLDER);
    let enter = fs::create_dir_all(&path)
        .and_then(|()| fs::write(path.join("cgroup.procs"), std::process::id().to_string()));
    enter.map_err(|source| HoldError::Leaf { path, source })?;
    crate::systemd::ready();
    loop {
        std::thread::park();
    }
}

/// Makes `keepers/`, moves ourselves out of the inner node where we are in it, and enables what is there.
fn prepare(tree: &Path) -> std::io::Result<Controllers> {
    let keepers = tree.join("keepers");
    fs::create_dir_all(&keepers)?;
    let own = std::process::id().to_string();
    if fs::read_to_string(tree.join("cgroup.procs"))?.lines().any(|pid| pid == own) {
        fs::write(keepers.join("cgroup.procs"), &own)?;
    }
    let available = fs::read_to_string(tree.join("cgroup.controllers"))?;
    let enabled = |controller: &str| {
        available.split_whitespace().any(|c| c == controller)
            && fs::write(tree.join("cgroup.subtree_control"), format!("+{controller}")).is_ok()
    };
    Ok(Controllers { cpu: enabled("cpu"), memory: enabled("memory"), pids: enabled("pids") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mount() {
        let text = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro\n\
                    31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of(text), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_of("1 2 0:1 / /proc rw - proc proc rw\n"), None);
    }

    #[test]
    fn the_tree_is_never_helmds_own_unit() {
        let beside = tree_beside(Path::new("/c/user@7.service/app.slice/helmd.service"));
        assert_eq!(beside, Some(PathBuf::from("/c/user@7.service/app.slice/helm-tree.service")));
        assert_eq!(tree_beside(Path::new("/c/user@7.service/app.slice/run-u1.scope")), None);
    }
}
