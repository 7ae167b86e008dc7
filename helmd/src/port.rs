//! Who holds a TCP port.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use helm_core::event::News;
use helm_core::name::ServiceName;
use helm_core::status::Holder;
use helm_sockets::Listener;
use tokio::time::{Instant, sleep_until, timeout};

use crate::readable::Readable;
use crate::supervisor::driver::NewsSender;
use crate::work;

/// How often a foreign holder's port is looked at where its process cannot be watched, or hands the port on.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who listens on `port` of this host's loopback, if somebody does. The kernel's tables say so, whether or not the holder
/// accepts connections.
pub async fn holder(port: u16) -> Option<Holder> {
    work::PORTS.run(move || Ok(look_up(port))).await.ok()?
}

/// Who listens at this address, or at all addresses with its port.
pub async fn holder_at(address: SocketAddr) -> Option<Holder> {
    let look = move || {
        let mut sockets = helm_sockets::listeners_on(address.port())?;
        sockets.retain(|socket| socket.address == address.ip() || socket.address.is_unspecified());
        Ok(holder_of(&sockets))
    };
    work::PORTS.run(look).await.ok()?
}

async fn is_held(port: u16) -> bool {
    // Where the tables cannot be read now, nothing is known to have changed.
    work::PORTS.run(move || Ok(!helm_sockets::listeners_on(port)?.is_empty())).await.unwrap_or(true)
}

/// Tells `Released` when nobody listens on the port any more.
pub async fn watch(service: ServiceName, port: u16, holder: Holder, news: NewsSender) {
    let mut process = holder.pid.and_then(|pid| open(pid).ok());
    loop {
        match &process {
            Some(fd) => {
                let _ = timeout(LOOK_EVERY, fd.until(|fd| has_ended(fd).then_some(()))).await;
            }
            None => sleep_until(Instant::now() + LOOK_EVERY).await,
        }
        if !is_held(port).await {
            let _ = news.send((service, News::Released)).await;
            return;
        }
        // Still held: by the same process, or by another one that is not watched.
        if process.as_ref().is_some_and(|fd| has_ended(fd.get())) {
            process = None;
        }
    }
}

fn open(pid: u32) -> io::Result<Readable> {
    let pid =
        i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK)?;
    Readable::new(fd)
}

/// The descriptor of a process is readable when the process has ended.
fn has_ended(process: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
        .is_ok_and(|n| n > 0)
}

/// From the socket tables to the process. What may not be seen stays unknown; the uid is always there. Blocking.
pub(crate) fn look_up(port: u16) -> Option<Holder> {
    holder_of(&helm_sockets::listeners_on(port).unwrap_or_default())
}

fn holder_of(sockets: &[Listener]) -> Option<Holder> {
    let uid = sockets.first().map(|socket| socket.uid)?;
    let pid = helm_sockets::holder_of(sockets);
    let command = pid.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok()).map(|line| {
        let words = line.split(|b| *b == 0).filter(|w| !w.is_empty());
        words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    });
    Some(Holder { pid, command, uid: Some(uid) })
}
