//! SQLite: a file a partition.
//!
//! ```text
//!  DIR/reserve                    room that is given up where the disk is full and something must go
//!  DIR/lock                       held while a helmd uses the store
//!  DIR/main.db                    number of the instance; metrics, states, events
//!  DIR/log/NNNNNNNN-CLASS.db      one partition with everything that changes together with its entries
//!  DIR/log/….db.damaged-SECONDS   what could not be read, moved aside
//! ```
//!
//! The newest file of a class is the open one. A new file is made whole under another name before the old one is sealed, so that a crash in
//! between leaves two files of which the older is sealed when the store is next opened, from what the newer knows.

mod checkpoint;
mod class;
mod commit;
mod condition;
mod connect;
mod damage;
mod dissolve;
pub(crate) mod error;
pub(crate) mod files;
mod finish;
mod history;
mod main_file;
pub(crate) mod migrate;
mod numbers;
mod open;
mod protect;
mod read;
mod scan;
mod segment;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::commit::{ClassState, Commit};
use crate::engine::{Answer, Count, EngineError, LogEngine, Rows, Scan};
use crate::entry::Entry;
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::{Class, Partition, Seal};
use crate::protection::Protection;
use class::Writer;
use connect::Readers;
use damage::Damage;
use main_file::MainFile;
pub use protect::protection;
use segment::Segment;

/// Pieces of `rows` that wait to be taken.
const PIECES_AHEAD: usize = 1;

/// The log in SQLite files. One process at a time has it open.
pub struct SqliteEngine {
    instance: Instance,
    log: PathBuf,
    main: MainFile,
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    writers: Mutex<BTreeMap<Class, Arc<tokio::sync::Mutex<Writer>>>>,
    /// Partitions begin one at a time: their numbers rise over all classes.
    beginning: tokio::sync::Mutex<()>,
    readers: Arc<Readers>,
    tasks: TaskTracker,
    notes: Vec<String>,
    lost: Vec<String>,
    damage: Damage,
    /// Held until it is let go.
    lock: Mutex<Option<File>>,
}

impl std::fmt::Debug for SqliteEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteEngine")
            .field("log", &self.log)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// Version of the SQLite that is built in.
pub async fn version() -> Result<String, EngineError> {
    connect::version().await.map_err(|e| EngineError::Other {
        what: "asking for the version of SQLite".to_owned(),
        source: Box::new(e),
    })
}

impl SqliteEngine {
    /// Opens the store in `dir`, and makes it where there is none, as that of `instance` (a store that is there keeps its number).
    pub async fn open(dir: &Path, instance: Instance) -> Result<Self, EngineError> {
        open::open(dir, instance).await
    }

    /// What the operator must be told of the opening: a partition that was sealed afterwards, a class that goes on elsewhere.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Files that were damaged and moved aside at the opening, in words.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Waits until a file that is written turns out to be damaged. Opened anew, the store moves it aside and goes on without.
    pub async fn damaged(&self) -> String {
        self.damage.first().await
    }

    /// Lets another opening have the store, whoever still reads from this one.
    pub fn let_go(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn all(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn segment(&self, partition: PartitionId) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(&partition.number).filter(|_| partition.instance == self.instance).cloned()
    }

    fn put(&self, segment: &Arc<Segment>) {
        let number = segment.with(|record| record.id.number);
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.insert(number, segment.clone());
    }

    fn writer(&self, class: &Class) -> Option<Arc<tokio::sync::Mutex<Writer>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).get(class).cloned()
    }

    /// A closed partition that is damaged holds up nobody: only reads in it fail.
    async fn note_of<T>(&self, segment: &Segment, answer: Result<T, EngineError>) -> Result<T, EngineError> {
        if segment.with(|record| record.seal.is_some()) {
            return answer;
        }
        self.damage.note(&segment.path, answer).await
    }

    async fn end(&self) -> Result<(), EngineError> {
        self.tasks.close();
        self.tasks.wait().await;
        let writers = std::mem::take(&mut *self.writers.lock().unwrap_or_else(PoisonError::into_inner));
        for segment in self.all() {
            self.readers.forget(&segment).await;
        }
        for writer in writers.into_values() {
            writer.lock().await.close().await?;
        }
        let closed = self.main.close().await;
        self.let_go();
        closed
    }

    async fn states(&self) -> Result<Vec<ClassState>, EngineError> {
        let writers: Vec<_> =
            self.writers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut states = Vec::new();
        for writer in writers {
            let mut writer = writer.lock().await;
            let state = writer.state().await;
            states.push(self.damage.note(&writer.segment().path, state).await?);
        }
        Ok(states)
    }

    async fn begin(&self, new: &Partition, seal: Option<(PartitionId, Seal)>) -> Result<(), EngineError> {
        let _one_at_a_time = self.beginning.lock().await;
        if new.id.instance != self.instance {
            return Err(stale(format!("this store is that of instance {}, not {}", self.instance.0, new.id)));
        }
        let former = self.writer(&new.class);
        let Some(former) = former else {
            let path = self.log.join(files::segment_name(new.id.number, &new.class));
            let begun = Writer::begin(&self.log, new, None).await;
            let writer = self.damage.note(&path, begun).await?;
            self.put(writer.segment());
            let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
            writers.insert(new.class.clone(), Arc::new(tokio::sync::Mutex::new(writer)));
            return Ok(());
        };
        let mut writer = former.lock().await;
        if writer.segment().with(|record| record.id == new.id) {
            return self.seal_again(seal).await;
        }
        let Some((former, seal)) = seal.filter(|(id, _)| writer.segment().with(|record| record.id == *id))
        else {
            return Err(stale(format!(
                "partition {} of the class `{}` must be sealed when {} is opened",
                writer.segment().record().id,
                new.class.0,
                new.id
            )));
        };
        let state = writer.state().await;
        if self.damage.note(&writer.segment().path, state).await?.head != new.before {
            return Err(stale(format!(
                "partition {} does not begin where the chain of class `{}` ends",
                new.id, new.class.0
            )));
        }
        let path = &writer.segment().path;
        let begun = Writer::begin(&self.log, new, Some((former, seal, path))).await;
        let mut next = self.damage.note(path, begun).await?;
        // From here on the new one is what the next opening goes on with.
        self.put(next.segment());
        std::mem::swap(&mut *writer, &mut next);
        drop(writer);
        self.end_of(next, seal).await
    }

    /// The new partition is there; a call that failed or was given up may have left the former one open.
    async fn seal_again(&self, seal: Option<(PartitionId, Seal)>) -> Result<(), EngineError> {
        match seal.and_then(|(id, seal)| Some((self.segment(id)?, seal))) {
            Some((former, seal)) if former.with(|record| record.seal.is_none()) => {
                self.end_of(Writer::of(former), seal).await
            }
            _ => Ok(()),
        }
    }

    async fn end_of(&self, writer: Writer, seal: Seal) -> Result<(), EngineError> {
        let path = writer.segment().path.clone();
        let sealed = writer.seal(seal).await;
        self.damage.note(&path, sealed).await
    }

    async fn carry_out(&self, commit: &Commit) -> Result<(), EngineError> {
        let Some(writer) = self.writer(&commit.class) else {
            return Err(stale(format!("the class `{}` has no open partition", commit.class.0)));
        };
        let due = {
            let mut writer = writer.lock().await;
            let done = writer.commit(commit).await;
            self.damage.note(&writer.segment().path, done).await?;
            writer.backlog().is_due()
        };
        if due {
            self.tasks.spawn(checkpoint::run(writer));
        }
        Ok(())
    }

    async fn attempt(&self, commit: &Commit) -> Result<(), EngineError> {
        let Some(writer) = self.writer(&commit.class) else {
            return Err(stale(format!("the class `{}` has no open partition", commit.class.0)));
        };
        let mut writer = writer.lock().await;
        let answer = writer.try_out(commit).await;
        self.damage.note(&writer.segment().path, answer).await
    }

    async fn take_away(&self, partition: PartitionId) -> Result<(), EngineError> {
        let Some(segment) = self.segment(partition) else { return Ok(()) };
        if segment.with(|record| record.seal.is_none()) {
            return Err(stale(format!("partition {partition} is open: only sealed ones are taken away")));
        }
        let path = segment.path.clone();
        let gone = files::off(move || files::set_apart(&path)).await?;
        segment.retired.store(true, std::sync::atomic::Ordering::Release);
        self.segments.write().unwrap_or_else(PoisonError::into_inner).remove(&partition.number);
        self.readers.forget(&segment).await;
        let dir = self.dir();
        let hold_back = move || {
            files::hold_back(&dir);
            Ok(())
        };
        // Now, where there is room already, and once there is more.
        files::off(hold_back.clone()).await?;
        self.tasks.spawn(async move {
            dissolve::run(gone, segment.using.clone()).await;
            files::off(hold_back).await
        });
        Ok(())
    }

    fn dir(&self) -> PathBuf {
        self.log.parent().unwrap_or(&self.log).to_owned()
    }
}

/// What was asked for is not what may be.
fn refuse(what: String) -> EngineError {
    EngineError::Other { what: "refused".into(), source: what.into() }
}

/// What was asked for does not fit what is there by now.
fn stale(what: String) -> EngineError {
    EngineError::Stale(what)
}

impl LogEngine for SqliteEngine {
    fn instance(&self) -> Instance {
        self.instance
    }

    fn classes(&self) -> Answer<'_, Vec<ClassState>> {
        Box::pin(self.states())
    }

    fn partitions(&self) -> Answer<'_, Vec<Partition>> {
        Box::pin(async {
            let segments = self.all();
            files::off(move || {
                Ok(segments.iter().map(|s| Partition { disk: files::size(&s.path), ..s.record() }).collect())
            })
            .await
        })
    }

    fn examine(&self, partition: PartitionId) -> Answer<'_, Option<String>> {
        Box::pin(async move {
            match self.segment(partition) {
                Some(segment) => read::examine(&self.readers, &segment).await,
                None => Ok(None),
            }
        })
    }

    fn open_partition<'a>(&'a self, new: &'a Partition, seal: Option<(PartitionId, Seal)>) -> Answer<'a, ()> {
        Box::pin(self.begin(new, seal))
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(self.carry_out(commit))
    }

    fn try_out<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(self.attempt(commit))
    }

    fn unfinished(&self, instance: Instance) -> Answer<'_, Vec<PartitionId>> {
        let waits = |segment: &Arc<Segment>| {
            let id = segment.with(|record| record.seal.map(|_| record.id));
            id.filter(|id| id.instance == instance && !segment.is_finished())
        };
        let waiting = self.all().iter().filter_map(waits).collect();
        Box::pin(std::future::ready(Ok(waiting)))
    }

    fn finish(&self, partition: PartitionId) -> Answer<'_, ()> {
        Box::pin(async move {
            match self.segment(partition) {
                Some(segment) => finish::finish(&self.readers, &segment).await,
                None => Ok(()),
            }
        })
    }

    fn remove<'a>(&'a self, partition: PartitionId, _class: &'a Class) -> Answer<'a, ()> {
        Box::pin(self.take_away(partition))
    }

    fn make_room(&self) -> Answer<'_, ()> {
        let dir = self.dir();
        Box::pin(files::off(move || files::make_room(&dir)))
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Entry>> {
        Box::pin(async move {
            match self.segment(scan.partition) {
                Some(segment) => {
                    let found = scan::scan(&self.readers, &segment, scan).await;
                    self.note_of(&segment, found).await
                }
                None => Ok(Vec::new()),
            }
        })
    }

    fn get(&self, id: EntryId) -> Answer<'_, Option<Entry>> {
        Box::pin(async move {
            let Some(partition) = id.partition() else { return Ok(None) };
            match self.segment(partition) {
                Some(segment) => {
                    let found = read::get(&self.readers, &segment, partition, id.row()).await;
                    self.note_of(&segment, found).await
                }
                None => Ok(None),
            }
        })
    }

    fn counts(&self, partition: PartitionId, from: i64, to: i64) -> Answer<'_, Vec<Count>> {
        Box::pin(async move {
            match self.segment(partition) {
                Some(segment) => {
                    let counts = read::counts(&self.readers, &segment, from, to).await;
                    self.note_of(&segment, counts).await
                }
                None => Ok(Vec::new()),
            }
        })
    }

    fn packed(&self, partition: PartitionId) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            match self.segment(partition) {
                Some(segment) => read::packed(&self.readers, &segment).await,
                None => Ok(None),
            }
        })
    }

    fn rows(&self, partition: PartitionId, from: u32) -> Rows {
        let (to, rows) = mpsc::channel(PIECES_AHEAD);
        if let Some(segment) = self.segment(partition) {
            self.tasks.spawn(read::send_rows(self.readers.clone(), segment, partition, from, to));
        }
        rows
    }

    fn disk(&self, partition: PartitionId) -> Answer<'_, u64> {
        Box::pin(async move {
            let Some(segment) = self.segment(partition) else { return Ok(0) };
            files::off(move || Ok(files::size(&segment.path))).await
        })
    }

    fn protection(&self) -> Answer<'_, Protection> {
        Box::pin(async { protect::protection(&self.dir()).await })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.end())
    }
}
