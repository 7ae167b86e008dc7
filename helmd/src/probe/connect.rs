//! Connecting to what a probe asks. Names are looked up by the operating system's resolver, which blocks and may hang: on a
//! lane of its own, each probe one name at a time, so that a resolver that hangs disturbs nobody who does not need it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::work;

/// The way of one probe to its addresses.
#[derive(Debug)]
pub(super) struct Dialer {
    /// A look-up that nobody waits for any more goes on; the next one waits for its end.
    turn: Arc<Semaphore>,
}

impl Dialer {
    pub(super) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)) }
    }

    /// Connects to the first address that lets us. The caller sets the time limit.
    pub(super) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut refused = None;
        for address in self.addresses(host, port, look_up).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                // The first one says most: `localhost` is IPv4 before it is IPv6.
                Err(e) => refused = refused.or(Some(e)),
            }
        }
        Err(refused.unwrap_or_else(|| io::Error::other(format!("`{host}` has no address"))))
    }

    async fn addresses<L>(&self, host: &str, port: u16, look_up: L) -> io::Result<Vec<SocketAddr>>
    where
        L: FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        // Loopback, whatever a resolver says (RFC 6761, 6.3).
        if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        let turn = self.turn.clone().acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        work::NAMES
            .run(move || {
                let found = look_up(&host, port);
                drop(turn);
                found
            })
            .await
    }
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    fn never(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        panic!("nothing is to be looked up")
    }

    #[tokio::test]
    async fn loopback_and_numbers_need_no_resolver() {
        let dialer = Dialer::new();
        for host in ["localhost", "LOCALHOST."] {
            let found = dialer.addresses(host, 80, never).await.unwrap();
            assert_eq!(found, ["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()]);
        }
        assert_eq!(dialer.addresses("::1", 80, never).await.unwrap(), ["[::1]:80".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_probe_whose_look_up_hangs_takes_one_thread_and_disturbs_no_other() {
        let answer: SocketAddr = "127.0.0.2:80".parse().unwrap();
        let (go, wait) = sync_channel::<()>(0);
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (hangs, other) = (Arc::new(Dialer::new()), Dialer::new());
        let hanging = tokio::spawn({
            let hangs = hangs.clone();
            async move {
                let look_up = move |_: &str, _: u16| {
                    let _ = begun.send(());
                    let _ = wait.recv();
                    Ok(Vec::new())
                };
                hangs.addresses("dead.example", 80, look_up).await
            }
        });
        begins.await.unwrap();
        // Its time limit is over: the thread is not.
        hanging.abort();
        assert!(hanging.await.unwrap_err().is_cancelled());
        assert_eq!(hangs.turn.available_permits(), 0, "the next look-up of this probe waits");
        assert_eq!(
            other.addresses("well.example", 80, move |_, _| Ok(vec![answer])).await.unwrap(),
            [answer]
        );
        drop(go);
        assert_eq!(
            hangs.addresses("dead.example", 80, move |_, _| Ok(vec![answer])).await.unwrap(),
            [answer]
        );
    }
}
