//! A PostgreSQL of the test's own, and the unreliable way to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::home::free_port;
use harness::wait::pause;

/// Holds the server by its pid; `kill` ends it and all its processes as a power cut would; so does the end of its input, which takes its files along.
const SCRIPT: &str = r#"
set -e
port=$1
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
dir=$(mktemp -d /tmp/helm-test-pg.XXXXXX)
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1
start() {
    "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 >> "$dir/server.log" 2>&1 &
    pid=$!
    until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do kill -0 "$pid" || { cat "$dir/server.log" >&2; exit 1; }; sleep 0.05; done
    echo done
}
end() {
    all="$pid $(ps -o pid= --ppid "$pid" | tr '\n' ' ')"
    kill -9 $all 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
    for one in $all; do while kill -0 "$one" 2> /dev/null; do sleep 0.02; done; done
}
trap 'end; rm -rf "$dir"' EXIT
start
while read -r order; do
    case $order in
        start) start ;;
        kill) end; echo done ;;
    esac
done
"#;

/// The server.
pub(crate) struct Cluster {
    guard: Child,
    answers: BufReader<std::process::ChildStdout>,
    pub(crate) port: u16,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let port = free_port();
        let mut command = Command::new("bash");
        if rustix::process::geteuid().is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "bash"]);
        }
        command.args(["-c", SCRIPT, "cluster", &port.to_string()]).current_dir("/tmp");
        let mut guard = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("setpriv and bash: {e}"));
        let Some(answers) = guard.stdout.take() else { panic!("its stdout is a pipe") };
        let mut cluster = Self { guard, answers: BufReader::new(answers), port };
        cluster.hears();
        cluster
    }

    pub(crate) fn order(&mut self, order: &str) {
        let said = self.guard.stdin.as_mut().map(|input| writeln!(input, "{order}"));
        assert!(matches!(said, Some(Ok(()))), "the guard of PostgreSQL is gone");
        self.hears();
    }

    fn hears(&mut self) {
        let mut line = String::new();
        let heard = self.answers.read_line(&mut line);
        assert!(heard.is_ok() && line.trim() == "done", "PostgreSQL 12 or later must be installed: {line}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.guard.stdin.take();
        // It may have ended by itself.
        let _ = self.guard.wait();
    }
}

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
