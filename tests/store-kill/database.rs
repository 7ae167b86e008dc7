//! The unreliable way to a PostgreSQL of the test's own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use harness::postgres::Cluster;
use harness::wait::pause;

/// A look at whether bytes may pass again.
const LOOK: Duration = Duration::from_millis(2);
/// What each piece of bytes waits while the connection is slow.
const SLOW: Duration = Duration::from_millis(20);

/// What the proxy does to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fair = 0,
    Stalls = 1,
    Delays = 2,
}

/// A proxy before the server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    way: Arc<Way>,
}

/// What its threads share.
#[derive(Default)]
struct Way {
    mood: AtomicU8,
    /// Connections made so far; each has its number, from 1.
    made: AtomicU64,
    /// Connections up to this number are frozen.
    frozen: AtomicU64,
    /// Pieces of bytes that reached the server.
    sent: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// It lives as long as the process.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("proxy: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let way = Arc::new(Way::default());
        let shared = way.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Nobody there: the client sees its connection end.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let number = shared.made.fetch_add(1, Ordering::SeqCst) + 1;
                for (from, to, sends) in [(&client, &server, true), (&server, &client, false)] {
                    if let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone())
                    {
                        // It is only a hint.
                        let _ = to.set_nodelay(true);
                        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
                        open.retain(|stream: &TcpStream| stream.peer_addr().is_ok());
                        open.push(kept);
                        let way = shared.clone();
                        std::thread::spawn(move || way.carry(number, from, to, sends));
                    }
                }
            }
        });
        Self { port, way }
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.way.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// Holds whatever is on its way on the connections that are there; new ones are fair. What their clients sent before they died arrives at
    /// the [`Proxy::thaw`].
    pub(crate) fn freeze(&self) {
        self.way.frozen.store(self.way.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(crate) fn thaw(&self) {
        self.way.frozen.store(0, Ordering::SeqCst);
    }

    /// How many pieces of bytes reached the server so far.
    pub(crate) fn sent(&self) -> u64 {
        self.way.sent.load(Ordering::SeqCst)
    }

    /// Ends all connections, wherever they are.
    pub(crate) fn cut(&self) {
        for stream in self.way.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be over already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Way {
    fn carry(&self, number: u64, mut from: TcpStream, mut to: TcpStream, sends: bool) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer);
            if self.mood.load(Ordering::SeqCst) == Mood::Delays as u8 {
                pause(SLOW);
            }
            while self.mood.load(Ordering::SeqCst) == Mood::Stalls as u8
                || number <= self.frozen.load(Ordering::SeqCst)
            {
                pause(LOOK);
            }
            let Ok(n @ 1..) = read else { break };
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
            self.sent.fetch_add(u64::from(sends), Ordering::SeqCst);
        }
        for stream in [from, to] {
            // It may be over already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
