//! What happened: a ring in memory that clients follow, and a bounded file that keeps it over restarts of helmd.
//!
//! The thread that writes the file also writes down what the next helmd is to remember (`memory`): in the order of the
//! steps, so that nothing counts as told before it was.
//!
//! Readers pull by id: no reader has a queue of its own, a slow one is told how many it missed.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use helm_core::event::Change;
use helm_core::memory::Memory;
use helm_core::name::ServiceName;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::home::Home;
use crate::memory::{Memories, MemoryFile};

/// The file is rotated (one former file is kept) beyond this many bytes.
const FILE_BYTES: u64 = 4 << 20;
/// Notes that may wait for the files; further events are in memory only, further memories lost.
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
    file: mpsc::Sender<Note>,
}

/// What is to be written.
#[derive(Debug)]
enum Note {
    Event(Entry),
    Memory(ServiceName, Box<Memory>),
}

/// The task that writes the files.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    queue: mpsc::Receiver<Note>,
    memory: MemoryFile,
}

impl Journal {
    /// Reads what former helmds left, and keeps the newest `kept` events in memory. Blocking.
    pub fn open(home: &Home, kept: usize, memory: MemoryFile) -> (Self, Writer) {
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
        (journal, Writer { path, queue, memory })
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
        if let Err(e) = self.file.try_send(Note::Event(entry)) {
            tracing::warn!("an event was not written to events.jsonl: {e}");
        }
    }

    /// Leaves this to the next helmd. Never waits.
    pub fn remember(&self, service: ServiceName, memory: Box<Memory>) {
        if let Err(e) = self.file.try_send(Note::Memory(service, memory)) {
            tracing::warn!("a state was not written for the next helmd: {e}");
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
    /// Writes until the journal is dropped. Blocking: runs on a thread of its own.
    pub fn run(mut self) {
        let mut file: Option<(File, u64)> = None;
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = Vec::new();
            let mut memories = Memories::new();
            let mut next = Some(first);
            while let Some(note) = next {
                match note {
                    Note::Event(entry) => {
                        if serde_json::to_writer(&mut batch, &entry).is_ok() {
                            batch.push(b'\n');
                        }
                    }
                    Note::Memory(service, memory) => {
                        memories.insert(service, *memory);
                    }
                }
                next = self.queue.try_recv().ok();
            }
            if !batch.is_empty()
                && let Err(e) = self.append(&mut file, &batch)
            {
                tracing::warn!("events.jsonl: {e}");
                file = None;
            }
            if !memories.is_empty()
                && let Err(e) = self.memory.remember(memories)
            {
                tracing::warn!("memory.jsonl: {e}");
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
