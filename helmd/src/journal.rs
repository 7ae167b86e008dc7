//! What happened: a ring in memory that clients follow, and a bounded file that keeps it over restarts of helmd.
//!
//! The thread that writes the file also writes down what the next helmd is to remember (`memory`): in the order of the
//! steps, so that nothing counts as told before it was.
//!
//! Readers pull by id: no reader has a queue of its own, a slow one is told how many it missed.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use helm_core::event::{Change, ChangeKind};
use helm_core::memory::Memory;
use helm_core::name::ServiceName;
use helm_core::status::RunId;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
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
    ring: Arc<Mutex<Ring>>,
    /// Newest number that readers may be told: it is in the file (or the file cannot be written), so that the next
    /// helmd does not give it again to something else.
    newest: watch::Sender<u64>,
    /// Newest number of former helmds.
    former: u64,
    /// They left no event.
    begins: bool,
    file: mpsc::Sender<Note>,
}

/// Events in memory.
#[derive(Debug)]
struct Ring {
    entries: VecDeque<Entry>,
    /// At most so many.
    kept: usize,
    /// Number of the newest event that there was.
    last: u64,
}

impl Ring {
    fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.kept {
            self.entries.pop_front();
        }
        self.last = self.last.max(entry.id);
        self.entries.push_back(entry);
    }
}

/// What is to be written.
#[derive(Debug)]
enum Note {
    Event(Entry),
    Memory(ServiceName, Box<Memory>),
}

/// Writes the files.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    queue: mpsc::Receiver<Note>,
    newest: watch::Sender<u64>,
    memory: MemoryFile,
}

impl Journal {
    /// Reads what former helmds left, and keeps the newest `kept` events in memory. Blocking.
    pub fn open(home: &Home, kept: usize, memory: MemoryFile) -> (Self, Writer) {
        let path = home.instance().join("events.jsonl");
        let mut ring = Ring { entries: VecDeque::new(), kept, last: 0 };
        for file in [former(&path), path.clone()] {
            // A torn last line (power cut, kill) is skipped; it was told to whoever listened.
            // Bytes, not text: it may be torn in the middle of a character.
            let lines = File::open(file).map(|f| BufReader::new(f).split(b'\n').map_while(Result::ok));
            for entry in lines.into_iter().flatten().filter_map(|l| serde_json::from_slice::<Entry>(&l).ok())
            {
                ring.push(entry);
            }
        }
        if ring.entries.is_empty() && home.instance().join("store").exists() {
            // The file was taken away, the store remembers: no number of before is given again.
            ring.last = u64::try_from(clock::wall().0 / 1_000_000).unwrap_or(0);
        }
        let (former, begins) = (ring.last, ring.entries.is_empty());
        let (file, queue) = mpsc::channel(QUEUE);
        let newest = watch::Sender::new(former);
        let writer = Writer { path, queue, newest: newest.clone(), memory };
        (Self { ring: Arc::new(Mutex::new(ring)), newest, former, begins, file }, writer)
    }

    /// Adds a change. Never waits: where the file cannot follow, the event is in memory only.
    pub fn record(&self, change: Change) {
        let entry = {
            let mut ring = self.lock();
            let entry = Entry { id: ring.last + 1, change };
            ring.push(entry.clone());
            entry
        };
        let id = entry.id;
        if let Err(e) = self.file.try_send(Note::Event(entry)) {
            tracing::warn!("an event was not written to events.jsonl: {e}");
            publish(&self.newest, id);
        }
    }

    /// Leaves this to the next helmd. Never waits.
    pub fn remember(&self, service: ServiceName, memory: Box<Memory>) {
        if let Err(e) = self.file.try_send(Note::Memory(service, memory)) {
            tracing::warn!("a state was not written for the next helmd: {e}");
        }
    }

    /// The newest `n` events up to number `upto` that `wanted` lets through, oldest first.
    pub fn last(&self, n: usize, upto: u64, wanted: impl Fn(&Change) -> bool) -> Vec<Entry> {
        let ring = self.lock();
        let told = ring.entries.iter().rev().filter(|e| e.id <= upto && wanted(&e.change));
        let mut found: Vec<Entry> = told.take(n).cloned().collect();
        found.reverse();
        found
    }

    /// The newest `n` events that `wanted` lets through, oldest first, and the oldest event in memory.
    pub fn newest_where(&self, n: usize, wanted: impl Fn(&Entry) -> bool) -> (Option<Entry>, Vec<Entry>) {
        let ring = self.lock();
        let mut found: Vec<Entry> =
            ring.entries.iter().rev().filter(|e| wanted(e)).take(n).cloned().collect();
        found.reverse();
        (ring.entries.front().cloned(), found)
    }

    /// The next events get higher numbers than this one.
    pub fn rise_above(&self, id: u64) {
        let mut ring = self.lock();
        ring.last = ring.last.max(id);
    }

    /// `after`, if it is a number of this journal. A higher one is of a helmd whose last events did not reach the file:
    /// what this one did is new to whoever names it. Nor has anybody missed the numbers that were passed over before the first
    /// event: where the file is gone, they go on from the clock.
    pub fn known(&self, after: u64) -> u64 {
        if after > self.newest() || (self.begins && after < self.former) { self.former } else { after }
    }

    /// The newest run of each service whose end is among the events in memory.
    pub fn ends(&self) -> BTreeMap<ServiceName, RunId> {
        let ring = self.lock();
        let changes = ring.entries.iter().map(|entry| &entry.change);
        let exits = changes.filter(|change| change.kind == ChangeKind::Exit);
        let mut ends = BTreeMap::new();
        for (service, run) in exits.filter_map(|change| Some((&change.service, change.run?))) {
            let newest = ends.entry(service.clone()).or_insert(run);
            *newest = run.max(*newest);
        }
        ends
    }

    /// Number of the newest event in memory.
    pub fn newest(&self) -> u64 {
        self.lock().last
    }

    /// At most `max` events after number `after` and up to `upto`, and how many of those between are not in memory any more.
    pub fn after(&self, after: u64, upto: u64, max: usize) -> (u64, Vec<Entry>) {
        let ring = self.lock();
        let oldest = ring.entries.front().map_or(after + 1, |e| e.id);
        let missed = oldest.saturating_sub(after + 1);
        (missed, ring.entries.iter().filter(|e| e.id > after && e.id <= upto).take(max).cloned().collect())
    }

    /// Number of the newest event that may be told, and a way to wait for newer ones.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        // A panic while the ring was held leaves it usable: pushes are single steps.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers only rise: the writer may be behind one that was told without it.
fn publish(newest: &watch::Sender<u64>, id: u64) {
    newest.send_if_modified(|told| std::mem::replace(told, id.max(*told)) < id);
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
            let mut memories = Memories::new();
            let (mut last, mut next) = (None, Some(first));
            while let Some(note) = next {
                match note {
                    Note::Event(entry) => {
                        last = Some(entry.id);
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
            if let Some(last) = last {
                publish(&self.newest, last);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_torn_within_a_character_hides_no_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let line = |id: u64| {
            let change = Change {
                at: clock::wall(),
                service: ServiceName::new("app").unwrap(),
                kind: ChangeKind::Exit,
                from: String::new(),
                to: "code 1".into(),
                cause: "für immer".into(),
                run: Some(RunId(id)),
                pid: None,
                exit: None,
            };
            serde_json::to_vec(&Entry { id, change }).unwrap()
        };
        let (whole, second) = (line(7), line(8));
        let torn = &second[..second.iter().position(|byte| !byte.is_ascii()).unwrap() + 1];
        let text = [&whole[..], b"\n", torn, b"\n", &line(9), b"\n"].concat();
        fs::write(home.instance().join("events.jsonl"), text).unwrap();
        let (journal, _writer) = Journal::open(&home, 100, MemoryFile::open(&home).0);
        assert_eq!(journal.newest(), 9, "no number is given again");
        assert_eq!(journal.ends().into_values().collect::<Vec<_>>(), [RunId(9)], "no end is told again");
    }

    #[test]
    fn numbers_that_the_clock_passed_over_were_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        fs::create_dir_all(home.instance().join("store")).unwrap();
        let (journal, _writer) = Journal::open(&home, 100, MemoryFile::open(&home).0);
        journal.record(Change {
            at: clock::wall(),
            service: ServiceName::new("app").unwrap(),
            kind: ChangeKind::State,
            from: String::new(),
            to: "running".into(),
            cause: String::new(),
            run: None,
            pid: None,
            exit: None,
        });
        // The store has seen 300 events of a file that is gone.
        let (missed, events) = journal.after(journal.known(300), journal.newest(), 10);
        assert_eq!((missed, events.len()), (0, 1));
    }
}
