//! The daemon: whether one runs, whether a second one does, and its socket.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use helm_core::doctor::{Daemon, Finding, Helmds, Process};
use helm_shim::procs;
use helm_shim::rundir::connect_in;

use super::scene::{Scene, holder};
use crate::app;
use crate::wishes::WishFile;

/// Words behind which a helmd is none that looks after services.
const OTHER_WORK: [&str; 5] = ["db", "doctor", "--check", "--hold-tree", "--version"];

pub(super) fn look(scene: &Scene) -> Vec<Finding> {
    let wishes = wishes(scene);
    let helmds = Helmds {
        daemon: scene.daemon.clone(),
        wanted: wishes,
        strays: strays(scene),
        stale_socket: stale_socket(scene),
        missing_keeper: app::shim_missing_at().map(|path| path.display().to_string()),
    };
    helmds.findings(&scene.hands)
}

/// Configured services that are to run. The file is read as it is: nothing is moved aside.
fn wishes(scene: &Scene) -> usize {
    let text = fs::read(WishFile::of(&scene.home).path()).unwrap_or_default();
    let Ok(wishes) = serde_json::from_slice::<helm_core::wish::Wishes>(&text) else { return 0 };
    if wishes.hold {
        return 0;
    }
    let wanted = |name| wishes.services.get(name).is_some_and(|wish| wish.run);
    scene.services().filter(|spec| wanted(&spec.name)).count()
}

/// Processes of helmd for this home beside the one that holds the lock.
fn strays(scene: &Scene) -> Vec<Process> {
    let holder = holder(&scene.home, &scene.daemon);
    let own = std::process::id();
    let Some(ours) = directory(scene.home.path()) else { return Vec::new() };
    let pids = procs::all().into_iter().map(|stat| stat.process.pid);
    pids.filter(|pid| *pid != own && Some(*pid) != holder)
        .filter_map(|pid| {
            let words = words(pid)?;
            let home = home_of(pid, &words)?;
            (directory(&home)? == ours).then(|| Process { pid, command: words.join(" ") })
        })
        .collect()
}

/// The directory itself: the same path may lead elsewhere for a process that sees other file systems.
fn directory(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn words(pid: u32) -> Option<Vec<String>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = line.split(|b| *b == 0).filter(|w| !w.is_empty());
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// The home that a process of helmd looks after, as it sees it.
fn home_of(pid: u32, words: &[String]) -> Option<PathBuf> {
    let (program, rest) = words.split_first()?;
    if Path::new(program).file_name()? != "helmd"
        || rest.iter().any(|word| OTHER_WORK.contains(&word.as_str()))
    {
        return None;
    }
    let named = rest
        .iter()
        .zip(rest.iter().skip(1))
        .find(|(word, _)| *word == "--home")
        .map(|(_, home)| home.as_str());
    let home = named.or_else(|| rest.iter().find_map(|word| word.strip_prefix("--home=")));
    let variable = || {
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let found = environ.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"HELM_HOME="))?;
        Some(String::from_utf8_lossy(found).into_owned())
    };
    let home = home.map(str::to_owned).or_else(variable).unwrap_or_else(|| ".".to_owned());
    let path = fs::read_link(format!("/proc/{pid}/cwd")).ok()?.join(home);
    Some(Path::new(&format!("/proc/{pid}/root")).join(path.strip_prefix("/").ok()?))
}

/// A socket that refuses: whoever made it is gone. With a socket of systemd somebody listens.
fn stale_socket(scene: &Scene) -> Option<String> {
    if !matches!(scene.daemon, Daemon::Absent) {
        return None;
    }
    let places = [scene.home.run(), scene.home.path().join("sock")];
    let sockets = places.iter().map(|dir| dir.join("helmd.sock"));
    sockets.into_iter().find(|socket| is_stale(socket)).map(|socket| socket.display().to_string())
}

/// For a fix, too: nobody listens there.
pub(super) fn is_stale(socket: &Path) -> bool {
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    connect_in(dir, name).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}
