//! Who listens: from /proc/net/tcp and tcp6 (proc(5)). All of it blocks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// The ports that these processes listen on.
///
/// # Errors
/// The tables cannot be read.
pub fn listening(pids: &[u32]) -> io::Result<Vec<u16>> {
    let mut open = BTreeSet::new();
    for pid in pids {
        // A process may have ended meanwhile.
        let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        open.extend(fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()));
    }
    let all = tables(None)?.into_iter();
    let own = all.filter(|socket| open.contains(Path::new(&format!("socket:[{}]", socket.inode))));
    let ports: BTreeSet<u16> = own.map(|socket| socket.port).collect();
    Ok(ports.into_iter().collect())
}

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where: a loopback address, or all.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whose it is.
    pub uid: u32,
    inode: u64,
}

impl Listener {
    /// Whether who connects to 127.0.0.1 reaches it.
    #[must_use]
    pub fn is_reached_at_localhost(&self) -> bool {
        self.address.is_unspecified() || self.address == IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
    }
}

/// All sockets, of both families, that listen on `port` where a service on loopback would.
///
/// # Errors
/// The tables cannot be read.
pub fn listeners_on(port: u16) -> io::Result<Vec<Listener>> {
    tables(Some(port))
}

/// The same of one port, or of all.
fn tables(port: Option<u16>) -> io::Result<Vec<Listener>> {
    let mut found = listeners(BufReader::new(File::open("/proc/net/tcp")?), port)?;
    match File::open("/proc/net/tcp6") {
        Ok(table) => found.extend(listeners(BufReader::new(table), port)?),
        // A kernel without IPv6.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    Ok(found)
}

/// The listening sockets on `port` in one table (proc(5), /proc/net/tcp: state 0A is LISTEN, numbers are hexadecimal). They
/// stand first: a host with many connections costs no more than one with few.
fn listeners(table: impl BufRead, only: Option<u16>) -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let line = line?;
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, uid, _, inode, ..] = fields.as_slice() else { continue };
        if *state != "0A" {
            break;
        }
        let Some((address, of)) = local.split_once(':') else { continue };
        if let (Ok(port), Ok(uid), Ok(inode)) = (u16::from_str_radix(of, 16), uid.parse(), inode.parse())
            && only.is_none_or(|only| only == port)
            && let Some(address) = of_this_host(address)
        {
            found.push(Listener { address, port, uid, inode });
        }
    }
    Ok(found)
}

/// The wildcard or a loopback address of either family, as the tables write them: words of 32 bits in the host's order.
fn of_this_host(address: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..address.len() / 8)
        .map(|i| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    let ip: Option<IpAddr> = words.and_then(|words| {
        let bytes = words.concat();
        match <[u8; 16]>::try_from(bytes.as_slice()) {
            Ok(six) => Some(Ipv6Addr::from(six).to_canonical()),
            Err(_) => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
        }
    });
    ip.filter(|ip| ip.is_unspecified() || ip.is_loopback())
}

/// The lowest pid that has one of these sockets open, where it may be seen.
#[must_use]
pub fn holder_of(sockets: &[Listener]) -> Option<u32> {
    let links: Vec<String> = sockets.iter().map(|socket| format!("socket:[{}]", socket.inode)).collect();
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
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0\n\
           1: 0500A8C0:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4241 1 0 100 0 0 10 0\n\
           2: 0100007F:01F9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n\
           3: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0 100 0 0 10 0\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn reads_the_socket_table() {
        let found = |port| listeners(TABLE.as_bytes(), Some(port)).unwrap();
        assert_eq!(
            found(8080),
            [Listener { address: Ipv4Addr::LOCALHOST.into(), port: 8080, uid: 1000, inode: 4242 }],
            "not 192.168.0.5, not a connection"
        );
        assert_eq!(
            found(0x1F9),
            [Listener { address: Ipv4Addr::LOCALHOST.into(), port: 0x1F9, uid: 0, inode: 77 }]
        );
        assert_eq!(found(1), []);
    }

    #[test]
    fn a_listener_of_either_family_is_found_with_its_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.is_ipv6(), "{address}");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let of = |port| holder_of(&listeners_on(port).unwrap());
            assert_eq!(of(port), Some(std::process::id()), "{address}");
            assert!(listening(&[std::process::id()]).unwrap().contains(&port), "{address}");
            drop(listener);
            assert!(listeners_on(port).unwrap().is_empty(), "{address}");
        }
    }
}
