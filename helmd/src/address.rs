//! Where helmd listens: in the home; with a configured group, in a directory of that group. The lock file of the home names
//! the place, so that nobody has to guess.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixListener;

use crate::home::{Home, private_dir};
use crate::rpc::peer::Admission;
use crate::systemd;

const NAME: &str = "helmd.sock";

/// The listening socket.
#[derive(Debug)]
pub struct Socket {
    /// Its address.
    pub path: PathBuf,
    /// The socket.
    pub listener: UnixListener,
    /// Who may use it.
    pub admission: Admission,
}

/// The socket could not be made.
#[derive(Debug)]
pub struct BindError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Makes the socket, or takes the one that systemd listens at for us. The lock is held: whatever socket is there already
/// otherwise is stale.
pub fn bind(home: &Home, group: Option<&str>) -> Result<Socket, BindError> {
    let uid = rustix::process::getuid().as_raw();
    let (dir, gid) = match group {
        Some(name) => group_dir(home, name),
        None => private(home),
    }?;
    let given = systemd::listener().and_then(|given| match given {
        Some((listener, path)) => Ok(Some((UnixListener::from_std(listener)?, path))),
        None => Ok(None),
    });
    let no_use = |source| BindError { path: "of systemd (helmd.socket)".into(), source };
    if let Some((listener, path)) = given.map_err(no_use)? {
        return Ok(Socket { path, listener, admission: Admission { uid, gid } });
    }
    let path = dir.join(NAME);
    let fail = |source| BindError { path: path.clone(), source };
    let listener = listen(&dir, &path).map_err(fail)?;
    let mode = if let Some(gid) = gid {
        chown(&path, None, Some(gid)).map_err(fail)?;
        0o660
    } else {
        0o600
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(fail)?;
    Ok(Socket { path, listener, admission: Admission { uid, gid } })
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
fn listen(dir: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixListener::bind(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))
}
