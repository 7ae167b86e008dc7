//! The home as a client sees it: where it is, and whether a helmd holds it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;

/// The directory that holds `services.json`.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

/// What the lock file of a home says.
#[derive(Debug, Clone, Deserialize)]
pub struct LockInfo {
    /// helmd's pid.
    pub pid: u32,
    /// Boot in which it was written.
    pub boot_id: String,
    /// Address of helmd's socket.
    pub socket: PathBuf,
    /// Address of the socket at which helm-web asks for others; a helmd of before has none.
    #[serde(default)]
    pub web: Option<PathBuf>,
    /// Version of helmd.
    pub version: String,
    /// Nanoseconds since the Unix epoch.
    pub started: i64,
}

/// Is there a helmd for this home?
#[derive(Debug)]
pub enum Presence {
    /// One holds the lock; where its socket is. `None`: it has not said so yet.
    Running(Option<LockInfo>),
    /// None.
    Absent,
}

/// The home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No services.json there.
    #[error(
        "`{0}` holds no services.json: go to the directory that does, or name it with --home or HELM_HOME"
    )]
    NotAHome(PathBuf),
    /// The directory or its lock file cannot be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Home {
    /// The home that was named, else the current directory.
    pub fn find(explicit: Option<&Path>) -> Result<Self, HomeError> {
        let path = explicit.unwrap_or(Path::new("."));
        let path =
            path.canonicalize().map_err(|source| HomeError::Unreadable { path: path.to_owned(), source })?;
        let holds = |name: &str| path.join(name).is_file();
        // A broken or deleted file must not keep anybody from a helmd that runs.
        if holds("services.json") || holds("helm_services.json") || holds("instance/helmd.lock") {
            Ok(Self(path))
        } else {
            Err(HomeError::NotAHome(path))
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where helmd listens, unless a peer group is configured.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("instance/run/helmd.sock")
    }

    /// The directory of the group's socket can be looked into.
    fn is_members(&self) -> bool {
        self.group_socket().parent().is_some_and(|dir| fs::read_dir(dir).is_ok())
    }

    fn group_socket(&self) -> PathBuf {
        self.0.join("sock/helmd.sock")
    }

    /// Whether a helmd holds the lock, and what it says. The lock is the truth; the text is only its address.
    pub fn presence(&self) -> Result<Presence, HomeError> {
        let path = self.0.join("instance/helmd.lock");
        let unreadable = |source| HomeError::Unreadable { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Presence::Absent),
            // `instance/` is its owner's alone; members of a peer group find the socket beside it.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && self.group_socket().exists() => {
                return Ok(Presence::Running(Some(LockInfo {
                    pid: 0,
                    boot_id: String::new(),
                    socket: self.group_socket(),
                    web: None,
                    version: String::new(),
                    started: 0,
                })));
            }
            // They see that there is none: it is gone while no helmd runs.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && self.is_members() => {
                return Ok(Presence::Absent);
            }
            Err(e) => return Err(unreadable(e)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Presence::Absent),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let text = fs::read(&path).map_err(unreadable)?;
                Ok(Presence::Running(serde_json::from_slice(&text).ok()))
            }
            Err(e) => Err(unreadable(e.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("instance")).unwrap();
        fs::write(dir.path().join("services.json"), "{}").unwrap();
        let home = Home::find(Some(dir.path())).unwrap();
        (dir, home)
    }

    #[test]
    fn the_lock_decides_and_not_its_text() {
        let (_dir, home) = home();
        assert!(matches!(home.presence(), Ok(Presence::Absent)));
        let path = home.path().join("instance/helmd.lock");
        fs::write(&path, r#"{"pid":7,"boot_id":"b","socket":"/s","version":"1","started":0}"#).unwrap();
        assert!(matches!(home.presence(), Ok(Presence::Absent)), "a file that nobody holds");
        let held = File::open(&path).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert!(matches!(home.presence(), Ok(Presence::Running(Some(info))) if info.pid == 7));
        fs::write(&path, "{").unwrap();
        assert!(matches!(home.presence(), Ok(Presence::Running(None))), "not announced yet");
    }

    #[test]
    fn a_directory_without_services_is_no_home() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Home::find(Some(dir.path())), Err(HomeError::NotAHome(_))));
    }
}
