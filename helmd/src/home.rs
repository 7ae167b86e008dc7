//! The home: its paths, and the lock that makes this the only helmd in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// The directory that holds `services.json`, canonical.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

/// What the lock file says. Clients read the address of the socket here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LockInfo {
    /// Who holds it.
    pub pid: u32,
    /// Boot in which it was written: after a reboot the pid means nothing.
    pub boot_id: String,
    /// Address of helmd's socket.
    pub socket: String,
    /// Address of the socket at which helm-web asks for others.
    #[serde(default)]
    pub web: Option<String>,
    /// Version of helmd.
    pub version: String,
    /// Nanoseconds since the Unix epoch.
    pub started: i64,
}

/// Why the home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The directory is not there or not readable.
    #[error(
        "cannot use `{path}` as home; give the directory that holds services.json with --home or HELM_HOME"
    )]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory or file inside could not be made.
    #[error("cannot create `{path}`: check the owner and the free space of the home")]
    Create {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another helmd holds the lock.
    #[error("another helmd already runs for `{home}`: pid {pid}, socket {socket}")]
    Held {
        /// The home.
        home: PathBuf,
        /// Its pid, as the lock file says.
        pid: u32,
        /// Its socket.
        socket: String,
    },
}

impl Home {
    /// Finds the home; changes nothing in it.
    pub fn at(path: &Path) -> Result<Self, HomeError> {
        path.canonicalize()
            .and_then(|p| if p.is_dir() { Ok(Self(p)) } else { Err(io::ErrorKind::NotADirectory.into()) })
            .map_err(|source| HomeError::Unusable { path: path.to_owned(), source })
    }

    /// Opens the home and makes its private directories.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let home = Self::at(path)?;
        for dir in [home.instance(), home.run()] {
            private_dir(&dir).map_err(|source| HomeError::Create { path: dir.clone(), source })?;
        }
        let logs = home.logs();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&logs)
            .map_err(|source| HomeError::Create { path: logs.clone(), source })?;
        Ok(home)
    }

    /// The same for a tool, which root may run in somebody's home before their helmd ever ran: what is made belongs to whom the home does.
    pub fn open_for_its_owner(path: &Path) -> Result<Self, HomeError> {
        let home = Self::at(path)?;
        let mut missing = vec![home.instance(), home.run(), home.logs()];
        missing.retain(|dir| !dir.exists());
        let home = Self::open(path)?;
        for dir in missing {
            let given =
                fs::metadata(home.path()).and_then(|owner| File::open(&dir).map(|made| give(&made, &owner)));
            given.map_err(|source| HomeError::Create { path: dir, source })?;
        }
        Ok(home)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// `instance/`
    pub fn instance(&self) -> PathBuf {
        self.0.join("instance")
    }
    /// `instance/run/`
    pub fn run(&self) -> PathBuf {
        self.0.join("instance/run")
    }
    /// `logs/`
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Takes the lock, without waiting.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.instance().join("helmd.lock");
        let create = |source| HomeError::Create { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(create)?;
        let owner = fs::metadata(self.instance()).map_err(create)?;
        give(&file, &owner);
        match lock_soon(&file) {
            Ok(()) => Ok(HomeLock { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let info = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| serde_json::from_str::<LockInfo>(&text).ok());
                Err(HomeError::Held {
                    home: self.0.clone(),
                    pid: info.as_ref().map_or(0, |i| i.pid),
                    socket: info.map_or_else(|| "unknown".into(), |i| i.socket),
                })
            }
            Err(errno) => Err(create(errno.into())),
        }
    }
}

/// Takes the lock within a second: a client that looks whether somebody holds it has it for a moment, and a killed helmd
/// has it until its last thread is gone.
fn lock_soon(file: &File) -> rustix::io::Result<()> {
    const LOOKS: u32 = 50;
    const PAUSE: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    for _ in 1..LOOKS {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                rustix::event::poll(&mut [], Some(&PAUSE))?;
            }
            done => return done,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// The held lock; it is released when the process ends, however it ends.
#[derive(Debug)]
pub struct HomeLock {
    file: File,
}

impl HomeLock {
    /// That of a former program in this process, which held it all the time. It must be that of this home.
    pub fn inherited(home: &Home, lock: OwnedFd) -> io::Result<Self> {
        let file = File::from(lock);
        let (own, there) = (file.metadata()?, fs::metadata(home.instance().join("helmd.lock"))?);
        if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
            return Err(io::Error::other("what was handed over is not the lock of this home"));
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { file })
    }

    /// Leaves it to the program that takes the place of this one; its number.
    pub fn hand_over(&self) -> io::Result<RawFd> {
        fcntl_setfd(&self.file, FdFlags::empty())?;
        Ok(self.file.as_raw_fd())
    }

    /// That program did not come.
    pub fn keep(&self) -> io::Result<()> {
        Ok(fcntl_setfd(&self.file, FdFlags::CLOEXEC)?)
    }

    /// Says who holds it and where its socket is. In place, so that the lock stays with the file.
    pub fn announce(&mut self, info: &LockInfo) -> io::Result<()> {
        let text = serde_json::to_vec(info)?;
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)
    }
}

/// Makes a directory that only its owner can enter, and narrows one that is there.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & !0o077))?;
    }
    Ok(())
}

/// The id of this boot of the kernel.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// Replaces `path` so that after a crash either the old or the new content is there: write, fsync, rename, fsync of the
/// directory. Blocking.
pub fn replace_durably(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let fresh = dir.join(name);
    // Left by a crash, or put there by somebody else: never written through.
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    let owner = fs::metadata(path).or_else(|_| fs::metadata(dir))?;
    give(&file, &owner);
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}

/// What root makes in somebody's home belongs to whom the place belongs to, or their own helmd would be locked out. Others may not give
/// anything away, and need not.
fn give(made: &File, owner: &fs::Metadata) {
    if geteuid().is_root() {
        // Where the file system knows no owners there is nobody to be locked out.
        let _ = fchown(made, Some(owner.uid()), Some(owner.gid()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let mut first = home.lock().unwrap();
        first
            .announce(&LockInfo {
                pid: 42,
                boot_id: "b".into(),
                socket: "/s".into(),
                web: None,
                version: "1".into(),
                started: 0,
            })
            .unwrap();
        let error = home.lock().unwrap_err();
        assert!(matches!(&error, HomeError::Held { pid: 42, socket, .. } if socket == "/s"), "{error}");
        drop(first);
        home.lock().unwrap();
    }

    #[test]
    fn instance_is_private() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("instance")).unwrap();
        let home = Home::open(dir.path()).unwrap();
        let mode = fs::metadata(home.instance()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
