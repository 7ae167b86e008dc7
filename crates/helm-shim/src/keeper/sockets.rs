//! The listening sockets of a service: opened at a start, held until a start lists others or the keeper leaves. While no run
//! accepts from them, connections wait in their backlogs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

/// Connections that wait at each until a run accepts them; the kernel's own bound (net.core.somaxconn) may be lower.
const BACKLOG: i32 = 4096;

/// What is held.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<(SocketAddr, TcpListener)>);

impl Sockets {
    /// Listens at these addresses and no others; what is held already stays as it is. An address of IPv6 is left out where the host has
    /// none, as long as another one is listed. If one of them cannot be had none is held: whoever connects is refused, instead of waiting
    /// for a run that there is not, and the port is seen as free once the other holder has left.
    pub(crate) fn hold(&mut self, wanted: &[SocketAddr]) -> Result<(), (SocketAddr, io::Error)> {
        let mut held = std::mem::take(&mut self.0);
        held.retain(|(address, _)| wanted.contains(address));
        for address in wanted {
            if held.iter().any(|(held, _)| held == address) {
                continue;
            }
            match listen(*address) {
                Ok(socket) => held.push((*address, socket)),
                Err(e) if address.is_ipv6() && wanted.len() > 1 && is_missing(&e) => {}
                Err(e) => return Err((*address, e)),
            }
        }
        // In the order of the list, which is what the service goes by.
        held.sort_by_key(|(address, _)| wanted.iter().position(|one| one == address));
        self.0 = held;
        Ok(())
    }

    /// In the order of the list.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, socket)| socket.as_fd())
    }
}

/// With SO_REUSEADDR (std sets it): connections of a former run that are ending are no holder.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn what_is_listed_is_held_and_nothing_else() {
        let spare = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (first, second) = (spare(), spare());
        let mut sockets = Sockets::default();
        sockets.hold(&[first]).unwrap();
        // Nobody accepts, and it is let in all the same.
        let waiting = TcpStream::connect(first).unwrap();
        sockets.hold(&[second, first]).unwrap();
        let order = [second, first];
        assert!(sockets.0.iter().map(|(address, _)| *address).eq(order));
        let accepted = sockets.0[1].1.accept().unwrap();
        assert_eq!(accepted.1, waiting.local_addr().unwrap(), "it is the socket of before");
        sockets.hold(&[second]).unwrap();
        assert!(TcpStream::connect(first).is_err());
        let held = TcpListener::bind(first).unwrap();
        let (address, error) = sockets.hold(&[second, first]).unwrap_err();
        assert_eq!((address, error.kind()), (first, io::ErrorKind::AddrInUse));
        assert!(TcpStream::connect(second).is_err(), "all of them or none");
        drop(held);
    }
}
