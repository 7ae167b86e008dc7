//! The notify socket of a run (sd_notify(3)).
//!
//! Understood: READY, STATUS, STOPPING, WATCHDOG, WATCHDOG_USEC. Ignored: MAINPID (the main process is the one that was
//! started; another one would not be our child), EXTEND_TIMEOUT_USEC (time limits are the operator's), FDSTORE.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use helm_core::status::RunId;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, UCred, recvmsg, sockopt};

/// Longest status that is kept.
const STATUS_BYTES: usize = 512;
/// A socket's path has at most 107 bytes.
const PATH_BYTES: usize = 107;

/// A bound socket and the address that the service is told.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    pub(crate) address: String,
}

/// What one datagram said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) ready: bool,
    pub(crate) stopping: bool,
    pub(crate) status: Option<String>,
    pub(crate) alive: bool,
    pub(crate) watchdog: Option<Duration>,
}

impl NotifySocket {
    /// Binds in the run directory, or, where that path is too long, at an abstract name.
    pub(crate) fn bind(path: &Path, run: RunId) -> io::Result<Self> {
        match path.to_str() {
            Some(text) if path.as_os_str().as_bytes().len() <= PATH_BYTES => Self::bind_at(text),
            _ => Self::bind_at(&format!("@helm-{run}")),
        }
    }

    /// Binds at the recorded address (again).
    pub(crate) fn bind_at(address: &str) -> io::Result<Self> {
        let socket = match address.strip_prefix('@') {
            Some(name) => UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?,
            None => {
                let _ = std::fs::remove_file(address);
                UnixDatagram::bind(address)?
            }
        };
        socket.set_nonblocking(true)?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self { socket, address: address.to_owned() })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next datagram and who sent it. Descriptors that come along are closed: there is no room for them.
    pub(crate) fn receive(&self) -> Option<(UCred, Said)> {
        let mut text = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut text)], &mut control, flags).ok()?;
        let sender = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(cred) => Some(cred),
            RecvAncillaryMessage::ScmRights(_) | _ => None,
        })?;
        Some((sender, parse(&text[..got.bytes])))
    }
}

fn parse(text: &[u8]) -> Said {
    let mut said = Said::default();
    for line in String::from_utf8_lossy(text).lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => said.ready = true,
            Some(("STOPPING", "1")) => said.stopping = true,
            Some(("WATCHDOG", "1")) => said.alive = true,
            Some(("STATUS", status)) => {
                said.status = Some(status[..status.floor_char_boundary(STATUS_BYTES)].to_owned());
            }
            Some(("WATCHDOG_USEC", usec)) => said.watchdog = usec.parse().ok().map(Duration::from_micros),
            Some(_) | None => {}
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_say() {
        let said = parse(b"READY=1\nSTATUS=Serving 3 clients\nMAINPID=77\nWATCHDOG_USEC=5000000\nWATCHDOG=1");
        assert_eq!(
            said,
            Said {
                ready: true,
                stopping: false,
                status: Some("Serving 3 clients".into()),
                alive: true,
                watchdog: Some(Duration::from_secs(5))
            }
        );
        assert_eq!(parse(b"READY=0\nnonsense\xff"), Said::default());
        assert_eq!(parse("STATUS=é".repeat(600).as_bytes()).status.unwrap().len(), 512);
    }
}
