//! helmd's own log: `logs/helmd.log`, rotated by size, or stderr; errors before it is open go to stderr.
//!
//! Whoever logs never waits for a disk or a terminal: lines go through a bounded queue to one thread, which writes them. What does
//! not fit is dropped and counted, and the count stands in the log where the lines are missing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::home::Home;
use crate::store::own::{self, Lines};

/// The log is rotated (one former file is kept) beyond this many bytes.
const BYTES: u64 = 16 << 20;
/// Lines that may wait for the disk or the terminal.
const QUEUE: usize = 2048;
/// How long the last lines may take when helmd leaves, or a thread of it panics.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The open log. Dropping it waits, within a bound, until everything is written.
#[derive(Debug)]
#[must_use = "the last lines are written when it is dropped"]
pub struct Log(Queue);

/// Opens the log, and the way of its lines into the store. `HELM_LOG` sets the level (`debug`, `helmd=trace`).
pub fn init(home: &Home, foreground: bool) -> io::Result<(Log, Lines)> {
    let filter = EnvFilter::try_from_env("HELM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let (tap, lines) = own::tap();
    let all = tracing_subscriber::registry().with(filter).with(tap);
    let form = tracing_subscriber::fmt::layer().with_target(false);
    // A terminal that is held, or a pipe that nobody reads, is as slow as a dead disk.
    let queue = if foreground {
        let queue = start(io::stderr(), QUEUE)?;
        all.with(form.with_writer(queue.clone())).try_init().map_err(io::Error::other)?;
        queue
    } else {
        let queue = start(Rotated::open(home.logs().join("helmd.log"))?, QUEUE)?;
        let form = form.with_ansi(false).with_writer(queue.clone());
        all.with(form).try_init().map_err(io::Error::other)?;
        queue
    };
    log_panics(queue.clone(), foreground);
    Ok((Log(queue), lines))
}

impl Log {
    /// Waits, within a bound, until everything is written.
    pub fn flush(&self) {
        self.0.flush();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A panic is an error in the log, written before the thread goes on unwinding; beside it on stderr, where the log is
/// elsewhere.
fn log_panics(queue: Queue, on_stderr: bool) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("a thread of helmd panicked: {panic}");
        queue.flush();
        if !on_stderr {
            usual(panic);
        }
    }));
}

/// Says `ready` to whoever started us, then lets go of its terminal: helmd must not die or block with it.
pub fn announce_ready(foreground: bool) {
    let mut out = io::stdout();
    let _ = writeln!(out, "ready");
    let _ = out.flush();
    if foreground {
        return;
    }
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// What the writer's thread is told.
enum Message {
    /// How many lines were dropped before this one, and the line.
    Line(u64, Vec<u8>),
    /// Answer when everything before this is written.
    Flush(SyncSender<()>),
}

/// The way to the writer.
#[derive(Debug, Clone)]
struct Queue {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// Starts the thread that writes.
fn start(file: impl Write + Send + 'static, length: usize) -> io::Result<Queue> {
    let (lines, queue) = sync_channel(length);
    let dropped = Arc::new(AtomicU64::new(0));
    let missing = dropped.clone();
    // It lives as long as the process, since the subscriber does; `Log` sees to it that nothing is left in the queue.
    std::thread::Builder::new().name("log".into()).spawn(move || write_all(file, &queue, &missing))?;
    Ok(Queue { lines, dropped })
}

fn write_all(mut file: impl Write, queue: &Receiver<Message>, missing: &AtomicU64) {
    while let Ok(message) = queue.recv() {
        match message {
            Message::Line(missed, line) => {
                let mut text = Vec::new();
                if missed > 0 {
                    let note = "lines of this log were dropped: the disk or terminal could not follow";
                    text = format!("[helm] {missed} {note}\n").into_bytes();
                }
                text.extend(line);
                // There is no other place to complain about a full disk; the count comes once there is space.
                if file.write_all(&text).is_err() {
                    missing.fetch_add(missed + 1, Ordering::Relaxed);
                }
            }
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

impl Queue {
    fn flush(&self) {
        let (done, written) = sync_channel(1);
        let until = Instant::now() + FLUSH_WITHIN;
        let mut message = Message::Flush(done);
        // A full queue is given the time to get shorter.
        loop {
            match self.lines.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(_) => return,
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// The subscriber writes each event as one whole line.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let missed = self.dropped.swap(0, Ordering::Relaxed);
        if self.lines.try_send(Message::Line(missed, line.to_owned())).is_err() {
            self.dropped.fetch_add(missed + 1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;
    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Rotated {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }
}

impl Write for Rotated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size > BYTES {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Self::open(self.path.clone())?;
        }
        let n = self.file.write(bytes)?;
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A disk that stands still until it is told to go on.
    struct Disk {
        go: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once the sender is gone, nothing waits any more.
            let _ = self.go.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_stands_still_delays_nobody_and_the_gap_is_counted() {
        let (go, wait) = sync_channel(0);
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut queue = start(Disk { go: wait, written: written.clone() }, 4).unwrap();
        for n in 0..20 {
            queue.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        let dropped = queue.dropped.load(Ordering::Relaxed);
        assert!(dropped >= 15, "4 wait, one may be on its way: {dropped} dropped");
        drop(go);
        Queue::flush(&queue);
        queue.write_all(b"last\n").unwrap();
        Queue::flush(&queue);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\n"), "{text}");
        assert!(text.contains(&format!("{dropped} lines of this log were dropped")), "{text}");
        assert!(text.ends_with("last\n"), "{text}");
        assert_eq!(text.lines().filter(|l| l.starts_with("line")).count() as u64, 20 - dropped, "{text}");
    }

    #[test]
    fn a_log_beyond_its_bound_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("helmd.log");
        fs::write(&path, vec![b'x'; usize::try_from(BYTES).unwrap() + 1]).unwrap();
        let mut log = Rotated::open(path.clone()).unwrap();
        log.write_all(b"new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        assert_eq!(fs::metadata(path.with_extension("log.1")).unwrap().len(), BYTES + 1);
    }
}
