//! Groups of a socket peer (SO_PEERGROUPS, Linux 4.13), which no crate wraps.
//!
//! It stands in this crate because this is the one crate that may hold `unsafe`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Supplementary groups of the process that connected `socket`, as they were when it connected.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut bytes = libc::socklen_t::try_from(groups.len() * size_of::<libc::gid_t>())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        // SAFETY: the pointer is to `bytes` bytes of initialised memory that live during the call; the kernel writes
        // whole gid_t values, each bit pattern of which is valid.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &mut bytes,
            )
        };
        let count = bytes as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE: `bytes` now holds the size that is needed.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peer_of_our_own_has_our_groups() {
        let (a, _b) = UnixStream::pair().unwrap();
        // A socketpair's peer is this process; root in a container may have no supplementary groups at all.
        let groups = super::peer_groups(&a).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("Groups:")).unwrap();
        let mut expected: Vec<u32> = line.split_whitespace().map(|g| g.parse().unwrap()).collect();
        let mut groups = groups;
        groups.sort_unstable();
        expected.sort_unstable();
        assert_eq!(groups, expected);
    }
}
