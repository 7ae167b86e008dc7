//! An engine in memory that fails on demand, and what the tests of all that stands above the trait share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use helm_store::commit::{ClassState, Commit};
use helm_store::engine::{Answer, Count, EngineError, LogEngine, Rows, Scan};
use helm_store::entry::{Entry, Level, NewEntry, Source, flag};
use helm_store::id::{EntryId, Instance, PartitionId};
use helm_store::partition::{Class, Partition, Seal};
use helm_store::protection::Protection;
use helm_store::query::{Cursor, Order};
use helm_store::writer::{Append, Writer, WriterHandle, WriterOptions};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// What goes wrong in one call that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    AwayBefore,
    AwayAfter,
    Full,
    Refused,
    RefusedAfter,
    /// A partition begins, the one before is not sealed.
    HalfAway,
}

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) partition: Partition,
    pub(crate) rows: Vec<Entry>,
    pub(crate) counts: BTreeMap<(i64, String, Level), u64>,
    pub(crate) finished: bool,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) classes: BTreeMap<Class, ClassState>,
    pub(crate) partitions: BTreeMap<PartitionId, Stored>,
    /// Of the next calls that write, in order.
    pub(crate) faults: VecDeque<Fault>,
    /// Nothing can be reached.
    pub(crate) away: bool,
    /// The next seal is left out.
    pub(crate) half: bool,
    /// Entries whose message holds this are refused.
    pub(crate) poison: Option<&'static str>,
    /// Where entries whose message holds this would come to lie, the file is damaged.
    pub(crate) damaged: Option<&'static str>,
    pub(crate) commits: usize,
    pub(crate) scans: usize,
    /// Partitions that were read from their beginning to their end.
    pub(crate) read: usize,
}

impl World {
    fn takes(&self, entries: &[Entry]) -> Result<(), EngineError> {
        let among = |words: Option<&str>| {
            words.is_some_and(|words| entries.iter().any(|entry| entry.body.message.starts_with(words)))
        };
        match (among(self.damaged), among(self.poison)) {
            (true, _) => Err(EngineError::Damaged("malformed page".into())),
            (false, true) => Err(refused()),
            (false, false) => Ok(()),
        }
    }

    fn is_next(&self, commit: &Commit) -> Result<(), EngineError> {
        match self.classes[&commit.class].number {
            has if has + 1 == commit.number => Ok(()),
            has => Err(EngineError::NotNext { asked: commit.number, has }),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) instance: Instance,
    pub(crate) world: Mutex<World>,
    /// Each commit takes one permit; tests that do not care leave plenty.
    pub(crate) gate: Semaphore,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Self::gated(Semaphore::MAX_PERMITS)
    }

    pub(crate) fn gated(permits: usize) -> Arc<Self> {
        Arc::new(Self { instance: Instance(7), world: Mutex::default(), gate: Semaphore::new(permits) })
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.with(|world| world.faults.extend(faults.iter().copied()));
    }

    /// All entries, in the order of ids.
    pub(crate) fn all(&self) -> Vec<Entry> {
        self.with(|world| world.partitions.values().flat_map(|p| p.rows.clone()).collect())
    }

    fn read<T>(&self, look: impl FnOnce(&mut World) -> T) -> Result<T, EngineError> {
        self.with(|world| if world.away { Err(away()) } else { Ok(look(world)) })
    }

    fn write(&self, act: impl FnOnce(&mut World) -> Result<(), EngineError>) -> Result<(), EngineError> {
        self.with(|world| {
            if world.away {
                return Err(away());
            }
            match world.faults.pop_front().unwrap_or(Fault::None) {
                Fault::None => act(world),
                Fault::AwayBefore => Err(away()),
                Fault::AwayAfter => act(world).and(Err(away())),
                Fault::Full => Err(EngineError::Full("no space left".into())),
                Fault::Refused => Err(refused()),
                Fault::RefusedAfter => act(world).and(Err(refused())),
                Fault::HalfAway => {
                    world.half = true;
                    act(world).and(Err(away()))
                }
            }
        })
    }
}

fn away() -> EngineError {
    EngineError::Away("connection reset".into())
}

fn refused() -> EngineError {
    EngineError::Denied("permission denied".into())
}

fn now<'a, T: Send + 'a>(answer: Result<T, EngineError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl LogEngine for Memory {
    fn instance(&self) -> Instance {
        self.instance
    }

    fn classes(&self) -> Answer<'_, Vec<ClassState>> {
        now(self.read(|world| world.classes.values().cloned().collect()))
    }

    fn partitions(&self) -> Answer<'_, Vec<Partition>> {
        now(self.read(|world| world.partitions.values().map(|p| p.partition.clone()).collect()))
    }

    fn open_partition<'a>(&'a self, new: &'a Partition, seal: Option<(PartitionId, Seal)>) -> Answer<'a, ()> {
        now(self.write(|world| {
            if let Some((id, seal)) = seal.filter(|_| !std::mem::take(&mut world.half)) {
                world.partitions.get_mut(&id).unwrap().partition.seal = Some(seal);
            }
            if world.partitions.contains_key(&new.id) {
                return Ok(());
            }
            let stored =
                Stored { partition: new.clone(), rows: Vec::new(), counts: BTreeMap::new(), finished: false };
            world.partitions.insert(new.id, stored);
            let state = world.classes.entry(new.class.clone()).or_insert_with(|| ClassState {
                class: new.class.clone(),
                number: 0,
                head: new.before,
                arrived: new.opened,
                open: None,
                cursors: BTreeMap::new(),
                senders: BTreeMap::new(),
                keys: Vec::new(),
                queue: 0,
            });
            state.open = Some(new.id);
            Ok(())
        }))
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            self.write(|world| {
                world.takes(&commit.entries)?;
                world.is_next(commit)?;
                let state = world.classes.get_mut(&commit.class).unwrap();
                state.number = commit.number;
                state.head = commit.head;
                state.arrived = commit.arrived;
                state.cursors.extend(commit.cursors.clone());
                state.queue = commit.queue.unwrap_or(state.queue);
                state.senders.extend(commit.senders.clone());
                state.keys.extend(commit.keys.iter().map(|key| (key.clone(), commit.arrived)));
                let stored = world.partitions.get_mut(&commit.partition).unwrap();
                assert!(stored.partition.seal.is_none(), "a sealed partition takes nothing");
                assert_eq!(state.open, Some(commit.partition));
                for entry in &commit.entries {
                    assert_eq!(entry.id, commit.partition.entry(u32::try_from(stored.rows.len()).unwrap()));
                    stored.rows.push(entry.clone());
                }
                stored.partition.contents = commit.contents.clone();
                for (key, count) in &commit.counts {
                    *stored.counts.entry((key.minute, key.service.clone(), key.level)).or_default() += count;
                }
                world.commits += 1;
                Ok(())
            })
        })
    }

    fn try_out<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()> {
        now(self.write(|world| {
            world.takes(&commit.entries)?;
            world.is_next(commit)
        }))
    }

    fn unfinished(&self, instance: Instance) -> Answer<'_, Vec<PartitionId>> {
        let waits = |p: &&Stored| p.partition.seal.is_some() && !p.finished;
        now(self.read(|world| {
            let ids = world.partitions.values().filter(waits).map(|p| p.partition.id);
            ids.filter(|id| id.instance == instance).collect()
        }))
    }

    fn finish(&self, partition: PartitionId) -> Answer<'_, ()> {
        now(self.read(|world| {
            if let Some(stored) = world.partitions.get_mut(&partition) {
                stored.finished = true;
            }
        }))
    }

    fn remove<'a>(&'a self, partition: PartitionId, _: &'a Class) -> Answer<'a, ()> {
        now(self.write(|world| {
            world.partitions.remove(&partition);
            Ok(())
        }))
    }

    /// Knows services, levels, times, trace and user; texts and context are the reader's to test.
    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Entry>> {
        let f = &scan.filter;
        let fits = |e: &&Entry| {
            let b = &e.body;
            (f.services.is_empty() || f.services.contains(&b.service))
                && f.levels.is_none_or(|l| l.has(b.level))
                && f.since.is_none_or(|t| b.at >= t)
                && f.until.is_none_or(|t| b.at < t)
                && (f.trace.is_none() || b.trace == f.trace)
                && (f.user.is_none() || b.user == f.user)
                && scan.rows.as_ref().is_none_or(|rows| rows.contains(&e.id.row()))
                && scan.after.is_none_or(|after| match scan.order {
                    Order::Newest => Cursor::of(e) < after,
                    Order::Oldest => Cursor::of(e) > after,
                })
        };
        now(self.read(|world| {
            world.scans += 1;
            let Some(stored) = world.partitions.get(&scan.partition) else { return Vec::new() };
            let mut found: Vec<Entry> = stored.rows.iter().filter(fits).cloned().collect();
            found.sort_by_key(Cursor::of);
            if scan.order == Order::Newest {
                found.reverse();
            }
            found.truncate(scan.limit as usize);
            found
        }))
    }

    fn get(&self, id: EntryId) -> Answer<'_, Option<Entry>> {
        now(self.read(|world| {
            let stored = world.partitions.get(&id.partition()?)?;
            stored.rows.get(id.row() as usize).cloned()
        }))
    }

    fn counts(&self, partition: PartitionId, from: i64, to: i64) -> Answer<'_, Vec<Count>> {
        now(self.read(|world| {
            let Some(stored) = world.partitions.get(&partition) else { return Vec::new() };
            let counts = stored.counts.iter().filter(|((minute, ..), _)| (from..to).contains(minute));
            counts
                .map(|((minute, service, level), count)| Count {
                    minute: *minute,
                    service: service.as_str().into(),
                    level: *level,
                    count: *count,
                })
                .collect()
        }))
    }

    fn packed(&self, _: PartitionId) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn rows(&self, partition: PartitionId, from: u32) -> Rows {
        let rows = self.read(|world| {
            world.read += 1;
            world.partitions.get(&partition).map(|p| p.rows.clone())
        });
        let (send, receive) = mpsc::channel(2);
        tokio::spawn(async move {
            match rows {
                Ok(rows) => {
                    let rest: Vec<Entry> =
                        rows.unwrap_or_default().into_iter().filter(|e| e.id.row() >= from).collect();
                    for piece in rest.chunks(7) {
                        if send.send(Ok(piece.to_vec())).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => drop(send.send(Err(error)).await),
            }
        });
        receive
    }

    fn disk(&self, partition: PartitionId) -> Answer<'_, u64> {
        now(self.read(|world| world.partitions.get(&partition).map_or(0, |p| p.partition.contents.bytes)))
    }

    fn protection(&self) -> Answer<'_, Protection> {
        now(Ok(Protection::Triggers))
    }

    fn close(&self) -> Answer<'_, ()> {
        now(Ok(()))
    }
}

pub(crate) const MINUTE: i64 = 60 * 1_000_000_000;
/// A whole minute.
pub(crate) const T0: i64 = 28_333_333 * MINUTE;

pub(crate) fn clock() -> i64 {
    T0
}

pub(crate) fn class(name: &str) -> Class {
    Class(name.to_owned())
}

pub(crate) fn entry(service: &str, at: i64, level: Level, message: &str) -> NewEntry {
    NewEntry {
        service: service.into(),
        at,
        seen: at,
        level,
        source: Source::Sent,
        stream: 0,
        flags: 0,
        message: message.into(),
        plain: None,
        context: None,
        trace: None,
        user: None,
        hostname: None,
        process: None,
    }
}

pub(crate) fn line(message: &str) -> NewEntry {
    entry("core", T0, Level::Info, message)
}

pub(crate) fn twin(mut entry: NewEntry) -> NewEntry {
    entry.flags |= flag::TWIN;
    entry
}

pub(crate) fn append(entries: Vec<NewEntry>) -> Append {
    Append { class: Class::default_class(), entries, cursors: Vec::new(), once: None, queue: None }
}

pub(crate) fn options(rows: u32) -> WriterOptions {
    let mut options = WriterOptions::new(clock);
    options.roll.rows = rows;
    options.retry = (std::time::Duration::from_millis(1), std::time::Duration::from_millis(4));
    options
}

/// A writer that runs in the test's runtime.
pub(crate) struct Running {
    pub(crate) handle: WriterHandle,
    pub(crate) stop: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(engine: &Arc<Memory>, options: WriterOptions) -> Self {
        let stop = CancellationToken::new();
        let (handle, work) = Writer::start(engine.clone(), options, stop.clone());
        Self { handle, stop, task: tokio::spawn(work) }
    }

    pub(crate) async fn keep(&self, entries: Vec<NewEntry>) {
        let receipt = self.handle.append(append(entries)).await.unwrap();
        assert!(receipt.refused.is_empty() && !receipt.duplicate);
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// As a crash does it: wherever it is.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
