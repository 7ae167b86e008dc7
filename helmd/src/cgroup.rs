//! Finds the delegated cgroup v2 tree in which the leaves of the services may lie.
//!
//! Never helmd's own unit: a restarted helmd is put into the unit's own cgroup, which the kernel refuses while
//! controllers are enabled there (design 3, systemd). So a tree is either named in `instance/helm.conf`, or it is a
//! scope that was delegated to this process (xattr `user.delegate`, set by systemd).

use std::fs;
use std::path::{Path, PathBuf};

use helm_core::name::ServiceName;
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
                    "no cgroup tree is delegated to this helmd (`cgroup_tree` in instance/helm.conf names one)",
                );
            }
        },
    };
    match prepare(&candidate) {
        Ok(controllers) => Cgroups {
            detail: format!(
                "{}; controllers: {}",
                candidate.display(),
                if controllers.is_empty() { "none" } else { &controllers }
            ),
            tree: Some(candidate),
        },
        Err(e) => none(&format!("the cgroup tree {} cannot be used: {e}", candidate.display())),
    }
}

fn none(why: &str) -> Cgroups {
    Cgroups { tree: None, detail: why.to_owned() }
}

/// The mount point of cgroup2 (proc(5), mountinfo: the file system type stands after the ` - `).
fn mount_of(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == "cgroup2").then(|| PathBuf::from(left.split(' ').nth(4).unwrap_or("/")))
    })
}

/// Our own cgroup, if systemd marked it as delegated.
fn delegated_to_us(mount: &Path) -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::"))?;
    let dir = mount.join(path.trim_start_matches('/'));
    let mut value = [0_u8; 8];
    let delegated = ["user.delegate", "trusted.delegate"]
        .iter()
        .any(|name| matches!(rustix::fs::getxattr(&dir, *name, &mut value), Ok(n) if value[..n] == *b"1"));
    // A unit of ours must not be its own tree: only a scope, whose process can be moved into a leaf.
    (delegated && path.ends_with(".scope")).then_some(dir)
}

/// Makes `keepers/`, moves ourselves out of the inner node where we are in it, and enables what is there.
fn prepare(tree: &Path) -> std::io::Result<String> {
    let keepers = tree.join("keepers");
    fs::create_dir_all(&keepers)?;
    let own = std::process::id().to_string();
    if fs::read_to_string(tree.join("cgroup.procs"))?.lines().any(|pid| pid == own) {
        fs::write(keepers.join("cgroup.procs"), &own)?;
    }
    let available = fs::read_to_string(tree.join("cgroup.controllers"))?;
    let mut enabled = Vec::new();
    for controller in ["cpu", "memory", "pids"] {
        if available.split_whitespace().any(|c| c == controller)
            && fs::write(tree.join("cgroup.subtree_control"), format!("+{controller}")).is_ok()
        {
            enabled.push(controller);
        }
    }
    Ok(enabled.join(" "))
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
}
