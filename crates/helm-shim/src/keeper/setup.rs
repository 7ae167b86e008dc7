//! The first steps of a keeper: on its own, alone, and deaf.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use helm_core::name::ServiceName;
use helm_core::spec::LogRules;
use helm_shim::codec::encode;
use helm_shim::rundir::ServiceDir;
use helm_shim::sys;
use helm_shim::wire::Report;
use rustix::event::{PollFd, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, flock};

use super::Keeper;
use super::link::Link;
use crate::capture::Capture;

/// How long a dying predecessor may keep the lock: attempts, and the pause between two.
const LOCK_ATTEMPTS: usize = 200;
const LOCK_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Rather a keeper than a service.
const OOM_SCORE: &str = "-900";

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
    #[error("another keeper (pid {holder}) holds {lock}: end it first")]
    Held { holder: String, lock: String },
}

fn at(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> SetupError {
    let what = what.to_string();
    move |error| SetupError::Io { what, error }
}

pub(crate) fn set_up(home: &Path, name: &ServiceName) -> Result<Keeper, SetupError> {
    sys::close_from(3);
    let connection = sys::socket_at_stdin();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(at("/dev/null"))?;
    sys::redirect(&null, 0).map_err(at("stdin"))?;
    sys::redirect(&null, 1).map_err(at("stdout"))?;
    // Fails for a group leader, which is nobody's foreground job then.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| at("cannot become a subreaper")(e.into()))?;
    let signals = sys::signals().map_err(at("signals"))?;
    let umask = rustix::process::umask(Mode::RWXO | Mode::WGRP).bits();
    let place = ServiceDir::new(home, name);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(place.path());
    made.map_err(at(place.path().display()))?;
    let lock = match lock(&place) {
        Ok(lock) => lock,
        Err(refusal) => {
            // Before any greeting, because this connection will have none.
            if let Some(connection) = connection {
                let report = Report::Output { trouble: refusal.to_string() };
                let _ = File::from(connection).write_all(&encode(&report));
            }
            return Err(refusal);
        }
    };
    let capture = Capture::open(&place, LogRules::default()).map_err(at(place.capture().display()))?;
    let listener = place.listen().map_err(at(place.socket().display()))?;
    let link = Link::new(listener, connection).map_err(at("the connection to helmd"))?;
    let oom = lower_oom_score();
    let _ = std::env::set_current_dir("/");
    sys::redirect(&null, 2).map_err(at("stderr"))?;
    Ok(Keeper {
        place,
        _lock: lock,
        link,
        signals,
        capture,
        run: None,
        sockets: Default::default(),
        starting: None,
        spare: None,
        housekeeping: None,
        failed: None,
        compressor: None,
        fresh: true,
        retiring: false,
        attach_failed: None,
        told_trouble: String::new(),
        oom,
        umask,
    })
}

/// One keeper per service. A predecessor that was killed a moment ago may still be dying.
fn lock(place: &ServiceDir) -> Result<File, SetupError> {
    let path = place.lock();
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(at(path.display()))?;
    for _ in 0..LOCK_ATTEMPTS {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Of one length, in place: a full disk must not keep a successor out. It only names us.
                let _ = file.write_all(format!("{:>10}\n", std::process::id()).as_bytes());
                return Ok(file);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let none: &mut [PollFd<'_>] = &mut [];
                let _ = poll(none, Some(&LOCK_PAUSE));
            }
            Err(e) => return Err(at(path.display())(e.into())),
        }
    }
    let holder = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
    Err(SetupError::Held { holder, lock: path.display().to_string() })
}

/// What the score was, if it could be lowered: a child gets it back.
fn lower_oom_score() -> Option<Vec<u8>> {
    let path = "/proc/self/oom_score_adj";
    let before = fs::read(path).ok()?;
    fs::write(path, OOM_SCORE).ok()?;
    Some(before)
}

/// Packs a closed segment in a child of its own.
pub(crate) fn spawn_compressor(file: &Path) -> Option<u32> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("compress").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok().map(|child| child.id())
}
