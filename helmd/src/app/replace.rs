//! The program on disk takes the place of the running one: same pid, same lock, same listening socket.
//!
//! ```text
//! Reexec -> the new program checks itself (--check --in-force) -> this life ends -> exec, with lock and socket by number
//! ```
//!
//! What could not begin is never taken: the check is made by the program that is to begin, with the configuration that is to
//! be in force. Where the exec itself fails, the former program goes on with a next life.

use std::fmt;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use rustix::process::Rlimit;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Process;
use crate::address::{Left, Numbers};
use crate::beside::in_path;
use crate::home::Home;
use crate::reaper::Reaper;
use crate::{signals, systemd};

/// A program that has not checked itself within this is not taken.
const CHECK_WITHIN: Duration = Duration::from_secs(20);
/// What it may say of itself.
const WORDS: u64 = 64 << 10;

/// What one program leaves to the next, on its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    lock: RawFd,
    socket: RawFd,
    /// The limit of open files that services get: that of the first program, which raised its own.
    nofile: u64,
    /// The socket of the group. Former versions say nothing of it, and read nothing of it.
    group: Option<RawFd>,
    /// web.sock: in the environment ([`WEB`]), where former versions do not stumble over it.
    web: Option<RawFd>,
}

/// The variable that holds the number of web.sock over an exec.
pub const WEB: &str = "HELM_HANDOVER_WEB";

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.lock, self.socket, self.nofile)?;
        self.group.map_or(Ok(()), |group| write!(f, ",{group}"))
    }
}

impl FromStr for Handover {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "is for helmd itself: LOCK,SOCKET,NOFILE[,GROUP]".to_owned();
        let mut numbers = text.split(',').map(|number| number.parse::<u64>().map_err(|_| wrong()));
        let mut next = || numbers.next().transpose();
        let (lock, socket, nofile, group) = (next()?, next()?, next()?, next()?);
        let fd = |number: u64| RawFd::try_from(number).ok().filter(|fd| *fd > 2).ok_or_else(wrong);
        let needed = |number: Option<u64>| number.ok_or_else(wrong);
        Ok(Self {
            lock: fd(needed(lock)?)?,
            socket: fd(needed(socket)?)?,
            nofile: needed(nofile)?,
            group: group.map(fd).transpose()?,
            web: None,
        })
    }
}

impl Handover {
    /// With web.sock, where it is left as well.
    #[must_use]
    pub fn with_web(self, web: Option<RawFd>) -> Self {
        Self { web: web.filter(|fd| *fd > 2), ..self }
    }

    /// Takes the descriptors; the lock, and the sockets. Once, before anything else is opened.
    pub(super) fn take(self) -> io::Result<(OwnedFd, Left)> {
        let own = Some(helm_shim::sys::inherited(self.socket)?);
        let group = self.group.map(helm_shim::sys::inherited).transpose()?;
        let web = self.web.map(helm_shim::sys::inherited).transpose()?;
        let of_systemd = systemd::listens();
        Ok((helm_shim::sys::inherited(self.lock)?, Left { own, of_systemd, group, web }))
    }

    /// The limit of open files as it was for the first program.
    pub(super) fn nofile(self, own: Rlimit) -> Rlimit {
        Rlimit { current: Some(self.nofile), ..own }
    }
}

/// Where this program was found when it was started: what is there later takes its place. Not where it lies, which may
/// have been renamed since, or be the end of a link that leads elsewhere by now.
pub fn own_program() -> io::Result<PathBuf> {
    let first = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if first.components().count() > 1 {
        return std::path::absolute(first);
    }
    in_path(&first).map_or_else(std::env::current_exe, std::path::absolute)
}

/// Checks the program that is to take over.
#[derive(Debug, Clone)]
pub struct Successor {
    /// The program.
    pub program: PathBuf,
    /// The home.
    pub home: Home,
    /// Knows its processes.
    pub reaper: Reaper,
}

impl Successor {
    /// What it says of itself, or why it is not taken.
    pub async fn check(&self) -> Result<String, String> {
        let version = self.said(&["--version"]).await?;
        let home = self.home.path().to_string_lossy().into_owned();
        self.said(&["--home", &home, "--check", "--in-force"]).await?;
        Ok(version.trim().to_owned())
    }

    async fn said(&self, words: &[&str]) -> Result<String, String> {
        let program = self.program.display();
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut running =
            self.reaper.spawn(&mut command).map_err(|e| format!("{program} cannot be started: {e}"))?;
        let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
        let ended = async {
            let (out, err) = tokio::join!(words_of(out), words_of(err));
            (running.child.wait().await, out, err)
        };
        match timeout(CHECK_WITHIN, ended).await {
            Ok((Ok(status), out, _)) if status.success() => Ok(out),
            Ok((Ok(status), out, err)) => {
                Err(format!("{program} {} ended with {status}: {}", words.join(" "), (out + &err).trim()))
            }
            Ok((Err(e), ..)) => Err(format!("{program} {}: {e}", words.join(" "))),
            Err(_) => Err(format!("{program} {} did not end within {CHECK_WITHIN:?}", words.join(" "))),
        }
    }
}

async fn words_of(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(pipe) = pipe {
        // What could be read is told.
        let _ = pipe.take(WORDS).read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

impl Process {
    /// Comes back only where it could not be done: then this program goes on.
    pub(super) fn give_way(&self) -> io::Error {
        let failed = match self.handover() {
            Ok(handover) => self.next_program(&self.program, handover).exec(),
            Err(e) => e,
        };
        let kept = self.lock.keep().and_then(|()| self.sockets.keep());
        if let Err(e) = kept.and_then(|()| signals::let_through()) {
            tracing::error!("after a program that could not take over: {e}");
        }
        failed
    }

    /// Nothing is started any more: what is open over an exec now is left to nobody else.
    fn handover(&self) -> io::Result<Handover> {
        signals::hold_back()?;
        let Numbers { own: socket, group, web } = self.sockets.hand_over()?;
        let nofile = self.nofile.current.unwrap_or(u64::MAX);
        Ok(Handover { lock: self.lock.hand_over()?, socket, nofile, group, web })
    }

    fn next_program(&self, program: &Path, handover: Handover) -> Command {
        let mut command = Command::new(program);
        command.arg("--home").arg(self.home.path()).arg("--handover").arg(handover.to_string());
        match handover.web {
            Some(web) => command.env(WEB, web.to_string()),
            None => command.env_remove(WEB),
        };
        if let Some(mode) = self.options.default_mode {
            command.arg("--default-mode").arg(mode.as_str());
        }
        if self.options.foreground {
            command.arg("--foreground");
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_read_as_it_was_written() {
        for group in [None, Some(18)] {
            let handover = Handover { lock: 5, socket: 17, nofile: 1024, group, web: None };
            assert_eq!(handover.to_string().parse(), Ok(handover));
        }
        for wrong in ["", "5", "5,7", "5,7,x", "0,7,1024", "-1,7,1024", "5,99999999999,1", "5,7,1,1"] {
            assert!(wrong.parse::<Handover>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_pass_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let successor = |program: &str| Successor {
            program: program.into(),
            home: home.clone(),
            reaper: Reaper::default(),
        };
        assert!(successor("/nowhere/helmd").check().await.unwrap_err().contains("cannot be started"));
        let said = successor("/bin/false").check().await.unwrap_err();
        assert!(said.starts_with("/bin/false --version ended with exit status: 1"), "{said}");
        assert!(successor("/bin/true").check().await.is_ok());
    }
}
