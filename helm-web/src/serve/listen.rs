//! The listening sockets: handed over (LISTEN_FDS), or bound here.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait until they are accepted, also while helm-web restarts on sockets that were handed over.
const BACKLOG: u32 = 1024;

/// Why there is nothing to listen at.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else is there.
    #[error(
        "{address} is taken by {}. Whoever sends logs or signs in there speaks with that program, not with Helm. End it, or listen elsewhere with --listen (and change the url of `helm` in services.json)",
        holder(*uid, *pid)
    )]
    Taken {
        /// Where.
        address: SocketAddr,
        /// Whose it is.
        uid: Option<u32>,
        /// Its process, where it may be seen.
        pid: Option<u32>,
    },
    /// An address that others reach.
    #[error(
        "{0} can be reached from other hosts: give --allow-remote if that is meant (docs/tls.md says what to put before it)"
    )]
    Remote(SocketAddr),
    /// Another reason.
    #[error("cannot listen at {address}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What was handed over is no listening socket of TCP.
    #[error("the sockets that were handed over (LISTEN_FDS) cannot be used")]
    HandedOver(#[source] io::Error),
}

fn holder(uid: Option<u32>, pid: Option<u32>) -> String {
    let uid = uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("uid {uid}"));
    pid.map_or_else(
        || format!("a process of {uid} that cannot be seen from here"),
        |pid| format!("pid {pid} of {uid}"),
    )
}

/// The sockets that were handed over, else new ones at these addresses. Of the two loopback addresses with one port that of
/// IPv6 may be missing, where the host has none.
///
/// # Errors
/// One of them cannot be had.
pub fn open(addresses: &[SocketAddr], allow_remote: bool) -> Result<Vec<TcpListener>, ListenError> {
    let handed = handed_over().map_err(ListenError::HandedOver)?;
    for listener in &handed {
        let address = listener.local_addr().map_err(ListenError::HandedOver)?;
        if !address.ip().is_loopback() && !allow_remote {
            return Err(ListenError::Remote(address));
        }
    }
    if !handed.is_empty() {
        return Ok(handed);
    }
    let mut open = Vec::new();
    for address in addresses.iter().copied() {
        if !address.ip().is_loopback() && !allow_remote {
            return Err(ListenError::Remote(address));
        }
        match bind(address) {
            Ok(listener) => open.push(listener),
            Err(e) if is_second(address, addresses) && is_missing(&e) => {
                tracing::info!("this host has no IPv6: {address} is left out");
            }
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(taken(address)),
            Err(source) => return Err(ListenError::Other { address, source }),
        }
    }
    Ok(open)
}

fn handed_over() -> io::Result<Vec<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    let mut taken = Vec::new();
    for index in 0..sockets.len() {
        if let Some(listener) = sockets.take_tcp_listener(index)? {
            taken.push(adopt(listener)?);
        }
    }
    Ok(taken)
}

fn adopt(listener: net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the program before, that are ending, are no holder.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// `[::1]` beside 127.0.0.1 with the same port.
fn is_second(address: SocketAddr, addresses: &[SocketAddr]) -> bool {
    let first = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    address.ip() == Ipv6Addr::LOCALHOST && addresses.contains(&first)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn taken(address: SocketAddr) -> ListenError {
    let sockets = helm_sockets::listeners_on(address.port()).unwrap_or_default();
    let uid = sockets.first().map(|socket| socket.uid);
    ListenError::Taken { address, uid, pid: helm_sockets::holder_of(&sockets) }
}
