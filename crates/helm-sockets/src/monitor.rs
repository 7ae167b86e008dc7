//! Whose one connection is: asked of the kernel's socket monitor (sock_diag(7)), which finds it at once however many there are.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// SOCK_DIAG_BY_FAMILY (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST (linux/netlink.h).
const REQUEST: u16 = 1;
/// NLMSG_ERROR (linux/netlink.h).
const ERROR: u16 = 2;
/// Lengths of `nlmsghdr`, `inet_diag_req_v2` (linux/inet_diag.h).
const HEADER: usize = 16;
const QUESTION: usize = 56;
/// Where `idiag_uid` is in `inet_diag_msg`: behind four bytes, the id of the socket (48) and three numbers.
const UID: usize = 4 + 48 + 12;

/// TCP_ESTABLISHED (net/tcp_states.h).
const ESTABLISHED: u8 = 1;

/// The user who made the socket at `near` that is connected to `far`; `None`: the kernel knows no such connection (any more). What is
/// left of a socket that was closed already belongs to nobody, although the kernel says 0.
///
/// # Errors
/// The socket monitor cannot be asked.
pub fn user_of(near: SocketAddr, far: SocketAddr) -> io::Result<Option<u32>> {
    let monitor = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::send(&monitor, &question(near, far)?, SendFlags::empty())?;
    // The answer is there when the question has been sent: the kernel gives it on the way.
    let mut answer = [0; 512];
    let (_, length) = rustix::net::recv(&monitor, &mut answer, RecvFlags::empty())?;
    read(answer.get(..length).unwrap_or_default())
}

/// The question, in the kernel's own form: numbers of this host's order, addresses and ports of the net's.
fn question(near: SocketAddr, far: SocketAddr) -> io::Result<Vec<u8>> {
    let family = match (near.ip(), far.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => 2_u8,
        (IpAddr::V6(_), IpAddr::V6(_)) => 10,
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "two families of addresses"));
        }
    };
    let mut bytes = Vec::with_capacity(HEADER + QUESTION);
    let length = u32::try_from(HEADER + QUESTION).map_err(io::Error::other)?;
    bytes.extend(length.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    // Protocol 6 is TCP; all states.
    bytes.extend([family, 6, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(near.port().to_be_bytes());
    bytes.extend(far.port().to_be_bytes());
    for address in [near.ip(), far.ip()] {
        let mut field = [0; 16];
        match address {
            IpAddr::V4(four) => field[..4].copy_from_slice(&four.octets()),
            IpAddr::V6(six) => field.copy_from_slice(&six.octets()),
        }
        bytes.extend(field);
    }
    // Any interface; no cookie.
    bytes.extend([0; 4]);
    bytes.extend([0xFF; 8]);
    Ok(bytes)
}

fn read(answer: &[u8]) -> io::Result<Option<u32>> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too short");
    let two = |at: usize| {
        answer.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(short)
    };
    let four = |at: usize| answer.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).ok_or_else(short);
    match two(4)? {
        BY_FAMILY => {
            let state = *answer.get(HEADER + 1).ok_or_else(short)?;
            let (uid, inode) = (four(HEADER + UID)?, four(HEADER + UID + 4)?);
            let whole = state == ESTABLISHED && u32::from_ne_bytes(inode) != 0;
            Ok(whole.then_some(u32::from_ne_bytes(uid)))
        }
        ERROR => {
            let number = i32::from_ne_bytes(four(HEADER)?);
            let error = io::Error::from_raw_os_error(-number);
            if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) }
        }
        other => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the kernel's answer has the kind {other}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_user_of_a_connection_is_known_from_both_ends_until_it_is_closed() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "{address}");
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, far) = listener.accept().unwrap();
            let near = server.local_addr().unwrap();
            let own = rustix::process::getuid().as_raw();
            assert_eq!(user_of(far, near).unwrap(), Some(own), "{address}");
            assert_eq!(user_of(near, far).unwrap(), Some(own), "{address}");
            drop((client, server));
            let never = SocketAddr::new(far.ip(), 1);
            assert_eq!(user_of(never, near).unwrap(), None, "{address}");
        }
    }

    #[test]
    fn one_that_was_closed_before_it_was_accepted_is_nobodys() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(client);
        let (server, far) = listener.accept().unwrap();
        assert_eq!(user_of(far, server.local_addr().unwrap()).unwrap(), None);
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        assert!(read(&[]).is_err());
        assert!(read(&[0; 20]).is_err());
    }
}
