//! Where everything of a keeper lies below a home (docs/ARCHITECTURE.md, "Files of a home").

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use helm_core::name::ServiceName;
use helm_core::status::RunId;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

/// The names of the two streams, as they stand in the log files and as the pipes are called.
pub const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// The keeper's place: `instance/run/<service>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDir {
    home: PathBuf,
    name: ServiceName,
}

impl ServiceDir {
    /// The place of `name` in `home`.
    pub fn new(home: &Path, name: &ServiceName) -> Self {
        Self { home: home.to_owned(), name: name.clone() }
    }

    /// `instance/run/<service>`
    pub fn path(&self) -> PathBuf {
        self.home.join("instance/run").join(self.name.as_str())
    }

    /// `logs/<service>`
    pub fn logs(&self) -> PathBuf {
        self.home.join("logs").join(self.name.as_str())
    }

    /// The keeper's socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("shim.sock")
    }

    /// Locked while a keeper lives; its text is the keeper's pid.
    pub fn lock(&self) -> PathBuf {
        self.path().join("shim.lock")
    }

    /// Record of rendering intents.
    pub fn capture(&self) -> PathBuf {
        self.path().join("capture")
    }

    /// Raw bytes of a stream (0 stdout, 1 stderr) on their way into the log files.
    pub fn spool(&self, stream: usize) -> PathBuf {
        self.path().join(["spool.out", "spool.err"][stream])
    }

    /// The directory of one run.
    pub fn run(&self, run: RunId) -> RunDir {
        RunDir { path: self.path().join(run.to_string()) }
    }

    /// A directory that the keeper has made ahead for the next run.
    pub fn spare(&self) -> RunDir {
        RunDir { path: self.path().join("spare") }
    }

    /// Runs that have a directory, oldest id first.
    pub fn runs(&self) -> io::Result<Vec<RunId>> {
        let mut runs: Vec<RunId> =
            names(&self.path())?.iter().filter(|n| n.len() == 16).filter_map(|n| n.parse().ok()).collect();
        runs.sort_unstable();
        Ok(runs)
    }

    /// Listens on the keeper's socket (0600), however long the path is.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let _ = fs::remove_file(self.socket());
        let dir = open_dir(&self.path())?;
        let listener = UnixListener::bind(short(&dir, "shim.sock"))?;
        fs::set_permissions(self.socket(), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(listener)
    }

    /// Connects to the keeper, however long the path is.
    pub fn connect(&self) -> io::Result<UnixStream> {
        connect_in(&self.path(), "shim.sock")
    }
}

/// Connects to a socket in a directory, however long the path of that is.
pub fn connect_in(dir: &Path, name: &str) -> io::Result<UnixStream> {
    let dir = open_dir(dir)?;
    UnixStream::connect(short(&dir, name))
}

/// The directory of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pipe of a stream (0 stdout, 1 stderr).
    pub fn pipe(&self, stream: usize) -> PathBuf {
        self.path.join(STREAMS[stream])
    }

    /// The run's record.
    pub fn record(&self) -> PathBuf {
        self.path.join("record")
    }

    /// The notify socket, where the path is short enough for it.
    pub fn notify(&self) -> PathBuf {
        self.path.join("notify")
    }
}

/// Services of a home that have a keeper's place.
pub fn services(home: &Path) -> io::Result<Vec<ServiceName>> {
    let mut found: Vec<ServiceName> =
        names(&home.join("instance/run"))?.iter().filter_map(|n| ServiceName::new(n).ok()).collect();
    found.sort();
    Ok(found)
}

/// Names of the directories in `dir`; none if it is not there.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A socket's address holds 107 bytes; a home may be longer. The way through the descriptor always fits.
fn short(dir: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd()))
}

/// In which boot and pid namespace a pid means something. A run directory of another epoch is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// /proc/sys/kernel/random/boot_id
    pub boot_id: String,
    /// Inode of /proc/self/ns/pid.
    pub pid_ns: u64,
}

impl Epoch {
    /// The one in which we live. Where /proc cannot be read it is empty, and equal to itself only.
    pub fn current() -> Epoch {
        static CURRENT: OnceLock<Epoch> = OnceLock::new();
        CURRENT
            .get_or_init(|| Epoch {
                boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
                    .map(|t| t.trim().to_owned())
                    .unwrap_or_default(),
                pid_ns: fs::metadata("/proc/self/ns/pid").map(|m| m.ino()).unwrap_or(0),
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_runs_are_found_from_the_home_alone() {
        let home = tempfile::tempdir().unwrap();
        assert!(services(home.path()).unwrap().is_empty());
        let core = ServiceDir::new(home.path(), &ServiceName::new("core").unwrap());
        fs::create_dir_all(core.run(RunId(0x2a)).path()).unwrap();
        fs::create_dir_all(core.run(RunId(3)).path()).unwrap();
        fs::create_dir_all(home.path().join("instance/run/Not A Service")).unwrap();
        assert_eq!(services(home.path()).unwrap(), [ServiceName::new("core").unwrap()]);
        assert_eq!(core.runs().unwrap(), [RunId(3), RunId(0x2a)]);
    }

    #[test]
    fn a_long_home_is_no_obstacle() {
        let home = tempfile::tempdir().unwrap();
        let long = home.path().join("x".repeat(120));
        let place = ServiceDir::new(&long, &ServiceName::new("core").unwrap());
        fs::create_dir_all(place.path()).unwrap();
        let listener = place.listen().unwrap();
        let _client = place.connect().unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn the_epoch_is_this_boot() {
        assert_eq!(Epoch::current().boot_id.len(), 36);
        assert_ne!(Epoch::current().pid_ns, 0);
    }
}
