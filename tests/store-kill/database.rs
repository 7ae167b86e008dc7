//! The unreliable way to a PostgreSQL of the test's own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use harness::postgres::Cluster;
use harness::wait::pause;

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
    mood: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// It lives as long as the process.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("proxy: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let (mood, open) = (Arc::new(AtomicU8::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (moods, opens) = (mood.clone(), open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Nobody there: the client sees its connection end.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    if let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone())
                    {
                        let mut open = opens.lock().unwrap_or_else(PoisonError::into_inner);
                        open.retain(|stream: &TcpStream| stream.peer_addr().is_ok());
                        open.push(kept);
                        let moods = moods.clone();
                        std::thread::spawn(move || carry(from, to, &moods));
                    }
                }
            }
        });
        Self { port, mood, open }
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// Ends all connections, wherever they are.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be over already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mood: &AtomicU8) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if mood.load(Ordering::SeqCst) == Mood::Delays as u8 {
            pause(Duration::from_millis(20));
        }
        while mood.load(Ordering::SeqCst) == Mood::Stalls as u8 {
            pause(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
