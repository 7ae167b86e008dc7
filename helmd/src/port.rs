//! Who holds a TCP port.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use helm_core::event::News;
use helm_core::name::ServiceName;
use helm_core::status::Holder;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::readable::Readable;
use crate::supervisor::driver::NewsSender;

/// A loopback connection is refused or taken at once; a firewall that drops it must not delay a start.
const CONNECT_WITHIN: Duration = Duration::from_millis(300);
/// How often a foreign holder's port is looked at where its process cannot be watched, or hands the port on.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who listens on `port` on this host, if somebody does.
pub async fn holder(port: u16) -> Option<Holder> {
    if !answers(port).await {
        return None;
    }
    tokio::task::spawn_blocking(move || look_up(port)).await.ok()
}

/// Something accepts connections on the loopback port.
async fn answers(port: u16) -> bool {
    for address in
        [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
    {
        if matches!(timeout(CONNECT_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return true;
        }
    }
    false
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
        if !answers(port).await {
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

/// From the socket tables to the process. What may not be seen stays unknown; the uid is always there.
fn look_up(port: u16) -> Holder {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        sockets.extend(listeners(&fs::read_to_string(table).unwrap_or_default(), port));
    }
    let uid = sockets.first().map(|(uid, _)| *uid);
    let links: Vec<String> = sockets.iter().map(|(_, inode)| format!("socket:[{inode}]")).collect();
    let pid = if links.is_empty() { None } else { owner(&links) };
    let command = pid.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok()).map(|line| {
        let words = line.split(|b| *b == 0).filter(|w| !w.is_empty());
        words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    });
    Holder { pid, command, uid }
}

/// uid and inode of the listening sockets on `port` (proc(5), /proc/net/tcp: state 0A is LISTEN, numbers are hexadecimal).
fn listeners(table: &str, port: u16) -> Vec<(u32, u64)> {
    let wanted = format!(":{port:04X}");
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
        let mut rest = fields.skip(3);
        let (uid, _, inode) = (rest.next()?, rest.next()?, rest.next()?);
        (local.ends_with(&wanted) && state == "0A").then(|| Some((uid.parse().ok()?, inode.parse().ok()?)))?
    });
    rows.collect()
}

/// The lowest pid that has one of these sockets open.
fn owner(links: &[String]) -> Option<u32> {
    let mut pids: Vec<u32> =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter().find(|pid| {
        let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        fds.flatten().any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|to| links.iter().any(|l| to.as_os_str() == l.as_str()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_socket_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0\n\
           1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0 100 0 0 10 0\n\
           2: 0100007F:01F9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n";
        assert_eq!(listeners(table, 8080), [(1000, 4242)]);
        assert_eq!(listeners(table, 505), [(0, 77)]);
        assert_eq!(listeners(table, 0x1F9), [(0, 77)]);
    }

    #[tokio::test]
    async fn names_us() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(listener.local_addr().unwrap().port()).await.unwrap();
        assert_eq!(found.pid, Some(std::process::id()));
        assert!(found.command.is_some_and(|c| c.contains("helmd")));
    }
}
