//! What happened: a ring in memory that clients follow, and a bounded file that keeps it over restarts of helmd.
//!
//! Readers pull by id: no reader has a queue of its own, a slow one is told how many it missed.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use helm_core::event::Change;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::home::Home;

/// The file is rotated (one former file is kept) beyond this many bytes.
const FILE_BYTES: u64 = 4 << 20;
/// Events that may wait for the file; further ones are in memory only, and counted.
const QUEUE: usize = 1024;

/// A change with its number. Numbers rise by one, over restarts of helmd as well.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Number.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
}

/// Handle to the journal.
#[derive(Debug, Clone)]
pub struct Journal {
    ring: Arc<Mutex<VecDeque<Entry>>>,
    /// Events kept in memory.
    kept: usize,
    newest: watch::Sender<u64>,
    file: mpsc::Sender<Entry>,
}

/// Writes the file.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    queue: mpsc::Receiver<Entry>,
}

impl Journal {
    /// Reads what former helmds left, and keeps the newest `kept` events in memory. Blocking.
    pub fn open(home: &Home, kept: usize) -> (Self, Writer) {
        let path = home.instance().join("events.jsonl");
        let mut ring = VecDeque::new();
        for file in [former(&path), path.clone()] {
            // A torn last line (power cut, kill) is skipped; it was told to whoever listened.
            let lines = File::open(file).map(|f| BufReader::new(f).lines().map_while(Result::ok));
            for entry in lines.into_iter().flatten().filter_map(|l| serde_json::from_str::<Entry>(&l).ok()) {
                push(&mut ring, kept, entry);
            }
        }
        let newest = ring.back().map_or(0, |e| e.id);
        let (file, queue) = mpsc::channel(QUEUE);
        let journal =
            Self { ring: Arc::new(Mutex::new(ring)), kept, newest: watch::Sender::new(newest), file };
        (journal, Writer { path, queue })
    }

    /// Adds a change. Never waits: where the file cannot follow, the event is in memory only.
    pub fn record(&self, change: Change) {
        let entry = {
            let mut ring = self.lock();
            let entry = Entry { id: ring.back().map_or(0, |e| e.id) + 1, change };
            push(&mut ring, self.kept, entry.clone());
            entry
        };
        self.newest.send_replace(entry.id);
        if let Err(e) = self.file.try_send(entry) {
            tracing::warn!("an event was not written to events.jsonl: {e}");
        }
    }

    /// The newest `n` events that `wanted` lets through, oldest first.
    pub fn last(&self, n: usize, wanted: impl Fn(&Change) -> bool) -> Vec<Entry> {
        let ring = self.lock();
        let mut found: Vec<Entry> =
            ring.iter().rev().filter(|e| wanted(&e.change)).take(n).cloned().collect();
        found.reverse();
        found
    }

    /// At most `max` events after number `after`, and how many of those between are not in memory any more.
    pub fn after(&self, after: u64, max: usize) -> (u64, Vec<Entry>) {
        let ring = self.lock();
        let oldest = ring.front().map_or(after + 1, |e| e.id);
        let missed = oldest.saturating_sub(after + 1);
        (missed, ring.iter().filter(|e| e.id > after).take(max).cloned().collect())
    }

    /// Number of the newest event, and a way to wait for newer ones.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Entry>> {
        // A panic while the ring was held leaves it usable: pushes are single steps.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(ring: &mut VecDeque<Entry>, kept: usize, entry: Entry) {
    if ring.len() >= kept {
        ring.pop_front();
    }
    ring.push_back(entry);
}

fn former(path: &std::path::Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

impl Writer {
    /// Writes on a thread of its own until the journal is dropped; then the answer comes.
    pub fn start(self) -> io::Result<oneshot::Receiver<()>> {
        let (done, written) = oneshot::channel();
        let write = move || {
            self.run();
            // Whoever waited may have given up.
            let _ = done.send(());
        };
        std::thread::Builder::new().name("journal".into()).spawn(write)?;
        Ok(written)
    }

    fn run(mut self) {
        let mut file: Option<(File, u64)> = None;
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(entry) = next {
                if serde_json::to_writer(&mut batch, &entry).is_ok() {
                    batch.push(b'\n');
                }
                next = self.queue.try_recv().ok();
            }
            if let Err(e) = self.append(&mut file, &batch) {
                tracing::warn!("events.jsonl: {e}");
                file = None;
            }
        }
    }

    fn append(&self, file: &mut Option<(File, u64)>, batch: &[u8]) -> io::Result<()> {
        if file.as_ref().is_some_and(|(_, size)| *size > FILE_BYTES) {
            fs::rename(&self.path, former(&self.path))?;
            *file = None;
        }
        if file.is_none() {
            let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
            let size = opened.metadata()?.len();
            *file = Some((opened, size));
            // A torn last line of a former helmd ends here; an empty line is skipped when the file is read.
            if size > 0
                && let Some((out, _)) = file
            {
                out.write_all(b"\n")?;
            }
        }
        if let Some((out, size)) = file {
            out.write_all(batch)?;
            *size += batch.len() as u64;
        }
        Ok(())
    }
}
