//! Who is at the other end of the socket: same user, root, or a member of the configured group. Others are refused on
//! every method, health and reflection included.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use helm_proto::reason;

/// Who may use the socket.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// Helm's own user.
    pub uid: u32,
    /// A group whose members may as well.
    pub gid: Option<u32>,
    /// Each call says for whom it is.
    pub web: bool,
}

/// The peer of a connection, as it was when it connected.
#[derive(Debug, Clone)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Process.
    pub pid: Option<i32>,
    /// It came through web.sock.
    pub web: bool,
    admitted: bool,
}

impl Peer {
    fn of(stream: &UnixStream, admission: Admission) -> Self {
        let web = admission.web;
        let Ok(cred) = stream.peer_cred() else {
            return Self { uid: u32::MAX, pid: None, web, admitted: false };
        };
        let in_group = |gid: u32| {
            cred.gid() == gid
                || helm_shim::peer::peer_groups(stream).is_ok_and(|groups| groups.contains(&gid))
        };
        let admitted = cred.uid() == admission.uid || cred.uid() == 0 || admission.gid.is_some_and(in_group);
        Self { uid: cred.uid(), pid: cred.pid(), web, admitted }
    }

    /// For records: "uid 1000 pid 4711 (helmctl)".
    pub fn describe(&self) -> String {
        let Some(pid) = self.pid else { return format!("uid {}", self.uid) };
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
        if name.is_empty() {
            format!("uid {} pid {pid}", self.uid)
        } else {
            format!("uid {} pid {pid} ({name})", self.uid)
        }
    }
}

/// Who is at the other end; refuses whoever is not admitted.
#[allow(clippy::result_large_err, reason = "the signature of tonic's interceptors")]
pub fn admitted<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    match request.extensions().get::<Arc<Peer>>() {
        Some(peer) if peer.admitted => Ok(peer.clone()),
        Some(peer) => Err(reason::permission_denied(&format!(
            "uid {} may not use this helmd; it listens to its own user, root, and the members of `peer_group` in instance/helm.conf",
            peer.uid
        ))),
        None => Err(reason::permission_denied("the other end of the socket is not known")),
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Door {
    /// The socket.
    pub listener: UnixListener,
    /// Who may.
    pub admission: Admission,
}

/// The listening sockets as a stream of connections that know their peer.
#[derive(Debug)]
pub struct Incoming {
    doors: Vec<Door>,
    /// Set while accepting rests after a failure.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// Of all of them.
    pub fn at(doors: Vec<Door>) -> Self {
        Self { doors, rest: None }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        for Door { listener, admission } in &self.doors {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted.map(|(stream, _)| {
                    let peer = Arc::new(Peer::of(&stream, *admission));
                    Connection { stream, peer }
                }));
            }
        }
        Poll::Pending
    }
}

/// Out of descriptors: to try again at once would only burn a core.
const REST: Duration = Duration::from_millis(100);

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(cx));
                self.rest = None;
            }
            match ready!(self.poll_accept(cx)) {
                Ok(connection) => return Poll::Ready(Some(Ok(connection))),
                Err(e) => {
                    tracing::warn!("a connection could not be accepted: {e}");
                    self.rest = Some(Box::pin(tokio::time::sleep_until(Instant::now() + REST)));
                }
            }
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    peer: Arc<Peer>,
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;
    fn connect_info(&self) -> Arc<Peer> {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
