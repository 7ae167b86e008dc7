//! Where helmd listens: in the home; with a configured group, in a directory of that group. The lock file of the home names
//! the place, so that nobody has to guess.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::net::UnixListener;

use crate::home::{Home, private_dir};
use crate::rpc::peer::Admission;

const NAME: &str = "helmd.sock";

/// The listening socket. It outlives a life of helmd: who connects between two of them waits in its queue.
#[derive(Debug)]
pub struct Bound {
    /// Its address.
    pub path: PathBuf,
    /// Who may use it.
    pub admission: Admission,
    /// By the name of the group, as it was configured.
    group: Option<String>,
    socket: StdListener,
}

/// The socket could not be made.
#[derive(Debug)]
pub struct BindError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Bound {
    /// Makes the socket. The lock is held: whatever socket is there already is stale.
    pub fn new(home: &Home, group: Option<&str>) -> Result<Self, BindError> {
        let (dir, admission) = place(home, group)?;
        let path = dir.join(NAME);
        let fail = |source| BindError { path: path.clone(), source };
        let socket = listen(&dir, &path).map_err(fail)?;
        let mode = if let Some(gid) = admission.gid {
            chown(&path, None, Some(gid)).map_err(fail)?;
            0o660
        } else {
            0o600
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(fail)?;
        Ok(Self { path, admission, group: group.map(str::to_owned), socket })
    }

    /// That of a former program in this process, which listens all the time.
    pub fn inherited(home: &Home, group: Option<&str>, socket: OwnedFd) -> Result<Self, BindError> {
        let (dir, admission) = place(home, group)?;
        Ok(Self { path: dir.join(NAME), admission, group: group.map(str::to_owned), socket: socket.into() })
    }

    /// Leaves it to the program that takes the place of this one; its number.
    pub fn hand_over(&self) -> io::Result<RawFd> {
        fcntl_setfd(&self.socket, FdFlags::empty())?;
        Ok(self.socket.as_raw_fd())
    }

    /// That program did not come.
    pub fn keep(&self) -> io::Result<()> {
        Ok(fcntl_setfd(&self.socket, FdFlags::CLOEXEC)?)
    }

    /// It is where one of this group is to be.
    pub fn serves(&self, group: Option<&str>) -> bool {
        self.group.as_deref() == group && self.path.exists()
    }

    /// The socket for the runtime of one life.
    pub fn listener(&self) -> io::Result<UnixListener> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket)
    }
}

/// The directory of the socket, and who may use it.
fn place(home: &Home, group: Option<&str>) -> Result<(PathBuf, Admission), BindError> {
    let uid = rustix::process::getuid().as_raw();
    let (dir, gid) = match group {
        Some(name) => group_dir(home, name),
        None => private(home),
    }?;
    Ok((dir, Admission { uid, gid }))
}

type Place = Result<(PathBuf, Option<u32>), BindError>;

/// In the home, never in `$XDG_RUNTIME_DIR`: systemd removes that with the last logout (decision 0004).
fn private(home: &Home) -> Place {
    let dir = home.run();
    private_dir(&dir).map_err(|source| BindError { path: dir.clone(), source })?;
    Ok((dir, None))
}

/// Beside `instance/`, which only the owner can enter: `<home>/instance` stays closed, the group gets a place of its own.
fn group_dir(home: &Home, group: &str) -> Place {
    let dir = home.path().join("sock");
    let fail = |source| BindError { path: dir.clone(), source };
    let gid = nix::unistd::Group::from_name(group)
        .map_err(|e| fail(e.into()))?
        .ok_or_else(|| {
            fail(io::Error::other(format!(
                "there is no group `{group}` (`peer_group` in instance/helm.conf)"
            )))
        })?
        .gid
        .as_raw();
    fs::create_dir_all(&dir).map_err(fail)?;
    chown(&dir, None, Some(gid)).map_err(fail)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).map_err(fail)?;
    Ok((dir, Some(gid)))
}

/// Binds through a descriptor of the directory: the path may be longer than a socket address allows.
fn listen(dir: &Path, path: &Path) -> io::Result<StdListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    StdListener::bind(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))
}
