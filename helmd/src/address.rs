//! Where helmd listens: in the home, for its own user; with a configured group also in a directory of that group, for its
//! members. Beside it in the home is web.sock, at which helm-web asks for others. The lock file of the home names the places, so
//! that nobody has to guess.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::net::UnixListener;

use crate::home::{Home, private_dir};
use crate::rpc::peer::{Admission, Door};

/// At which whoever may open it is everything.
const NAME: &str = "helmd.sock";
/// At which each call says for whom it is.
const WEB: &str = "web.sock";

/// The sockets could not be made.
#[derive(Debug)]
pub struct BindError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// What a former program in this process, or systemd, listened at. systemd's is the one in the home.
#[derive(Debug, Default)]
pub struct Left {
    /// The one in the home.
    pub own: Option<OwnedFd>,
    /// systemd made that one, and removes it.
    pub of_systemd: bool,
    /// That of the group.
    pub group: Option<OwnedFd>,
    /// The one for helm-web; systemd never listens at it.
    pub web: Option<OwnedFd>,
}

/// Their numbers, for the program that takes the place of this one.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// The one in the home.
    pub own: RawFd,
    /// That of the group.
    pub group: Option<RawFd>,
    /// The one for helm-web.
    pub web: Option<RawFd>,
}

/// The sockets of this process. They outlive a life of helmd: who connects between two of them waits in their queues.
#[derive(Debug, Default)]
pub struct Sockets {
    left: Left,
    own: Option<Bound>,
    group: Option<Bound>,
    web: Option<Bound>,
}

impl Sockets {
    /// To begin with those that were left.
    pub fn after(left: Left) -> Self {
        Self { left, ..Self::default() }
    }

    /// For a life with this group: those that are there already, the others are made. The lock is held: what is there and
    /// is not ours is stale.
    pub fn open(&mut self, home: &Home, group: Option<&str>) -> Result<(), BindError> {
        let Left { own, of_systemd, group: of_group, web } = std::mem::take(&mut self.left);
        let own = own.map(|socket| (socket, !of_systemd));
        self.own = Some(Bound::at(private(home, NAME)?, self.own.take(), own)?);
        let web = web.map(|socket| (socket, true));
        self.web = Some(Bound::at(private(home, WEB)?, self.web.take(), web)?);
        let (former, of_group) = (self.group.take(), of_group.map(|socket| (socket, true)));
        self.group = match group {
            Some(name) => Some(Bound::at(group_dir(home, name)?, former, of_group)?),
            None => {
                // Nobody is to wait at it.
                former.iter().for_each(Bound::remove);
                None
            }
        };
        Ok(())
    }

    /// helmd leaves, and nobody will listen: who looks sees that at once. The lock is still held.
    pub fn remove(&self) {
        self.each().for_each(Bound::remove);
    }

    /// The address to be told: the one that all who may can reach.
    pub fn address(&self) -> String {
        let told = self.group.as_ref().or(self.own.as_ref());
        told.map(Bound::address).unwrap_or_default()
    }

    /// Where helm-web asks.
    pub fn web(&self) -> Option<String> {
        self.web.as_ref().map(Bound::address)
    }

    /// For the runtime of one life.
    pub fn doors(&self) -> io::Result<Vec<Door>> {
        self.each().map(Bound::door).collect()
    }

    /// Leaves them to the program that takes the place of this one.
    pub fn hand_over(&self) -> io::Result<Numbers> {
        let number = |bound: &Bound| bound.socket.as_raw_fd();
        let own = self.own.as_ref().map(number).ok_or(io::ErrorKind::NotConnected)?;
        self.all(FdFlags::empty())?;
        Ok(Numbers { own, group: self.group.as_ref().map(number), web: self.web.as_ref().map(number) })
    }

    fn each(&self) -> impl Iterator<Item = &Bound> {
        self.own.iter().chain(&self.group).chain(&self.web)
    }

    /// That program did not come.
    pub fn keep(&self) -> io::Result<()> {
        self.all(FdFlags::CLOEXEC)
    }

    fn all(&self, flags: FdFlags) -> io::Result<()> {
        self.each().try_for_each(|bound| Ok(fcntl_setfd(&bound.socket, flags)?))
    }
}

/// A listening socket.
#[derive(Debug)]
struct Bound {
    place: Place,
    socket: StdListener,
    /// The file that helmd made for it: a helmd that has nothing to do with this one may have put another in its place.
    made: Option<(u64, u64)>,
}

impl Bound {
    /// The one of a former life, or what was left, where it can be reached there; else one that is made.
    /// Of what was left it is said whether helmd made it.
    fn at(place: Place, former: Option<Self>, left: Option<(OwnedFd, bool)>) -> Result<Self, BindError> {
        let there = place.path().exists();
        if let Some(former) = former.filter(|former| there && former.place == place) {
            return Ok(former);
        }
        let (socket, made) = match left.filter(|_| there) {
            Some((left, made)) => (left.into(), made),
            None => (listen(&place).map_err(|source| BindError { path: place.path(), source })?, true),
        };
        let made = file(&place).filter(|_| made);
        Ok(Self { place, socket, made })
    }

    fn remove(&self) {
        if self.made.is_some() && self.made == file(&self.place) {
            // One that stays is replaced by the next helmd.
            let _ = fs::remove_file(self.place.path());
        }
    }

    fn address(&self) -> String {
        self.place.path().to_string_lossy().into_owned()
    }

    fn door(&self) -> io::Result<Door> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        let uid = rustix::process::getuid().as_raw();
        let admission = Admission { uid, gid: self.place.gid, web: self.place.name == WEB };
        Ok(Door { listener: UnixListener::from_std(socket)?, admission })
    }
}

/// Where one is, and which group may use it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    dir: PathBuf,
    name: &'static str,
    gid: Option<u32>,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.dir.join(self.name)
    }
}

/// Which file is there.
fn file(place: &Place) -> Option<(u64, u64)> {
    let meta = fs::symlink_metadata(place.path()).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// In the home, never in `$XDG_RUNTIME_DIR`: systemd removes that with the last logout (decision 0004).
fn private(home: &Home, name: &'static str) -> Result<Place, BindError> {
    let dir = home.run();
    private_dir(&dir).map_err(|source| BindError { path: dir.clone(), source })?;
    Ok(Place { dir, name, gid: None })
}

/// Beside `instance/`, which only the owner can enter: `<home>/instance` stays closed, the group gets a place of its own.
fn group_dir(home: &Home, group: &str) -> Result<Place, BindError> {
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
    Ok(Place { dir, name: NAME, gid: Some(gid) })
}

/// Binds through a descriptor of the directory: the path may be longer than a socket address allows.
fn listen(place: &Place) -> io::Result<StdListener> {
    let path = place.path();
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&place.dir, flags, Mode::empty())?;
    let socket = StdListener::bind(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), place.name))?;
    let mode = if place.gid.is_some() { 0o660 } else { 0o600 };
    chown(&path, None, place.gid)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(socket)
}
