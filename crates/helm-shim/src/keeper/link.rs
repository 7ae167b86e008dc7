//! The connection to helmd: at most one, a newer one replaces it. Never blocks: a helmd that does not read is cut off,
//! it connects again and learns everything from `Report::Hello`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use helm_shim::codec::{CodecError, Decoder, encode};
use helm_shim::wire::{Order, Report};

/// Reports that may wait for a slow reader, in bytes.
const BACKLOG: usize = 1 << 20;
/// Orders taken from one wake-up's bytes at most this many at a time.
const CHUNK: usize = 4 << 10;

#[derive(Debug)]
pub(crate) struct Link {
    listener: UnixListener,
    peer: Option<Peer>,
}

#[derive(Debug)]
struct Peer {
    stream: UnixStream,
    decoder: Decoder,
    /// Not taken by the socket yet.
    unsent: Vec<u8>,
    greeted: bool,
}

impl Peer {
    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, decoder: Decoder::default(), unsent: Vec::new(), greeted: false })
    }

    /// Writes what the socket takes; an error when the peer is gone or does not read.
    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        if self.unsent.len() > BACKLOG { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Link {
    pub(crate) fn new(listener: UnixListener, first: Option<OwnedFd>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let peer = first.map(|fd| Peer::new(UnixStream::from(fd))).transpose()?;
        Ok(Self { listener, peer })
    }

    pub(crate) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The connection, and whether it has to be waited for until it takes bytes.
    pub(crate) fn peer(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.peer.as_ref().map(|p| (p.stream.as_fd(), !p.unsent.is_empty()))
    }

    /// Takes a new connection. Only our own user and root may speak.
    pub(crate) fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        let own = rustix::process::geteuid();
        let allowed = rustix::net::sockopt::socket_peercred(&stream)
            .is_ok_and(|cred| cred.uid == own || cred.uid.is_root());
        if allowed && let Ok(peer) = Peer::new(stream) {
            self.peer = Some(peer);
        }
    }

    /// Sends at once what the socket takes. Before the connection's `Hello` nothing is sent: its answer contains all.
    pub(crate) fn send(&mut self, report: &Report) {
        if let Some(peer) = self.peer.as_mut().filter(|p| p.greeted) {
            peer.unsent.extend_from_slice(&encode(report));
            self.flush();
        }
    }

    /// The connection has said Hello.
    pub(crate) fn greeted(&mut self) {
        if let Some(peer) = &mut self.peer {
            peer.greeted = true;
        }
    }

    pub(crate) fn flush(&mut self) {
        if self.peer.as_mut().is_some_and(|p| p.flush().is_err()) {
            self.peer = None;
        }
    }

    /// Reads what is there and gives the orders in it.
    pub(crate) fn receive(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        let Some(peer) = &mut self.peer else { return orders };
        let mut bytes = [0; CHUNK];
        let mut open = loop {
            match peer.stream.read(&mut bytes) {
                Ok(0) => break false,
                Ok(n) => peer.decoder.feed(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break e.kind() == io::ErrorKind::WouldBlock,
            }
        };
        loop {
            match peer.decoder.take() {
                Ok(Some(order)) => orders.push(order),
                Ok(None) => break,
                // An order of a newer helmd: it will learn from our version why nothing comes of it.
                Err(CodecError::Unknown(_)) => {}
                Err(CodecError::TooLong(_)) => {
                    open = false;
                    break;
                }
            }
        }
        if !open {
            self.peer = None;
        }
        orders
    }
}
