//! What the writer knows and the reader needs: all partitions, what is open kept in memory, and news for followers.
//!
//! The manifest is replaced before the news goes out, so that whoever subscribes first and looks at the manifest then misses nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{broadcast, watch};

use crate::commit::CountKey;
use crate::counts::Minutes;
use crate::engine::{EngineError, LogEngine};
use crate::entry::Entry;
use crate::hot::Hot;
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::{Class, Partition, Seal};

/// All partitions, by instance and number.
pub type Manifest = BTreeMap<PartitionId, Arc<Partition>>;

/// Last entry of each class.
pub type Places = BTreeMap<Class, EntryId>;

/// What followers are told.
#[derive(Debug, Clone)]
pub enum News {
    /// What one commit added to a class, in the order of ids.
    Added(Class, Arc<[Entry]>),
    /// There is more, to be read from the database: a commit too large to be kept for whoever is slow, or one that somebody else carried out.
    Look,
}

/// News that a follower may lag behind.
const NEWS: usize = 16;
/// Weight of a commit that is kept for them, bytes.
const KEPT: usize = 512 << 10;

/// A partition that the database has no dear indexes of: what stands in for them.
#[derive(Debug)]
struct Part {
    /// Rows from the start of this process on.
    hot: Hot,
    /// Rows before, read when they are first asked for.
    early: Option<Hot>,
    /// Ends when they have been read.
    reading: Option<watch::Receiver<()>>,
    minutes: Minutes,
}

/// See the module.
#[derive(Debug)]
pub struct Live {
    manifest: RwLock<Arc<Manifest>>,
    parts: RwLock<HashMap<PartitionId, Part>>,
    news: broadcast::Sender<News>,
}

/// Answer of [`Live::candidates`].
#[derive(Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Nothing is kept of this partition: the database has an index.
    Ask,
    /// Rows before this one must be read first.
    Read(u32),
    /// These, and no others.
    Rows(Vec<u32>),
}

impl Default for Live {
    fn default() -> Self {
        Self { manifest: RwLock::default(), parts: RwLock::default(), news: broadcast::channel(NEWS).0 }
    }
}

impl Live {
    /// All partitions as they are now.
    pub fn manifest(&self) -> Arc<Manifest> {
        self.manifest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether somebody is told of what is committed, as it comes.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// News from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// The last entry of each class of `instance`.
    pub fn places(&self, instance: Instance) -> Places {
        let mut places = Places::new();
        for partition in self.manifest().values().filter(|p| p.id.instance == instance) {
            if let Some(last) = partition.contents.rows.checked_sub(1) {
                places.insert(partition.class.clone(), partition.id.entry(last));
            }
        }
        places
    }

    /// Rows of an open partition that may have this trace and user.
    pub fn candidates(&self, id: PartitionId, trace: Option<&str>, user: Option<&str>) -> Candidates {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(part) = parts.get(&id) else { return Candidates::Ask };
        let mut rows = Vec::new();
        if part.hot.base() > 0 {
            let Some(early) = &part.early else { return Candidates::Read(part.hot.base()) };
            early.find(trace, user, &mut rows);
        }
        part.hot.find(trace, user, &mut rows);
        Candidates::Rows(rows)
    }

    /// Counts of an open partition, if they are in memory.
    pub fn minutes<T>(&self, id: PartitionId, look: impl FnOnce(&Minutes) -> T) -> Option<T> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        parts.get(&id).map(|part| look(&part.minutes))
    }

    /// Reads the rows of a partition before the start of this process: once, whoever asks, and whether or not they wait for the end, which is
    /// when the receiver is closed.
    pub(crate) fn read_early(
        self: &Arc<Self>,
        engine: &Arc<dyn LogEngine>,
        id: PartitionId,
        end: u32,
    ) -> Option<watch::Receiver<()>> {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        let part = parts.get_mut(&id)?;
        if let Some(reading) = part.reading.as_ref().filter(|reading| reading.has_changed().is_ok()) {
            return Some(reading.clone());
        }
        let (done, reading) = watch::channel(());
        part.reading = Some(reading.clone());
        let (live, engine) = (self.clone(), engine.clone());
        tokio::spawn(async move {
            let _done = done;
            let mut early = Hot::from(0);
            let mut pieces = engine.rows(id, 0);
            while early.end() < end {
                // What cannot be read is told to whoever walks through it.
                let Some(Ok(piece)) = pieces.recv().await else { return };
                let left = (end - early.end()) as usize;
                piece.iter().take(left).for_each(|entry| early.push(&entry.body));
            }
            live.early(id, early);
        });
        Some(reading)
    }

    /// The rows before the start of this process, once they are read.
    fn early(&self, id: PartitionId, early: Hot) {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.get_mut(&id).filter(|part| part.hot.base() == early.end()) {
            part.early = Some(early);
        }
    }

    /// Everything anew, with the counts of the open partitions of this instance.
    pub(crate) fn replace(&self, partitions: Vec<Partition>, open: Vec<(PartitionId, Minutes)>) {
        let manifest: Manifest = partitions.into_iter().map(|p| (p.id, Arc::new(p))).collect();
        let rows = |id: &PartitionId| manifest.get(id).map_or(0, |p| p.contents.rows);
        let parts = open
            .into_iter()
            .map(|(id, minutes)| {
                (id, Part { hot: Hot::from(rows(&id)), early: None, reading: None, minutes })
            })
            .collect();
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = parts;
        let former = {
            let mut held = self.manifest.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, Arc::new(manifest))
        };
        // At the beginning nobody has missed anything.
        if !former.is_empty() {
            self.tell(News::Look);
        }
    }

    fn tell(&self, news: News) {
        // Nobody follows: nothing to do.
        let _ = self.news.send(news);
    }

    /// Takes over what other helmds wrote into the same database.
    pub async fn refresh(&self, engine: &dyn LogEngine) -> Result<(), EngineError> {
        let own = engine.instance();
        let foreign = engine.partitions().await?;
        self.change(|manifest| {
            manifest.retain(|id, _| id.instance == own);
            for partition in foreign.into_iter().filter(|p| p.id.instance != own) {
                manifest.insert(partition.id, Arc::new(partition));
            }
        });
        Ok(())
    }

    pub(crate) fn opened(&self, new: Partition, seal: Option<(PartitionId, Seal)>) {
        let part = Part { hot: Hot::from(0), early: None, reading: None, minutes: Minutes::default() };
        self.parts.write().unwrap_or_else(PoisonError::into_inner).insert(new.id, part);
        self.change(|manifest| {
            if let Some((id, seal)) = seal
                && let Some(sealed) = manifest.get_mut(&id)
            {
                Arc::make_mut(sealed).seal = Some(seal);
            }
            manifest.insert(new.id, Arc::new(new));
        });
    }

    pub(crate) fn committed(
        &self,
        partition: Arc<Partition>,
        entries: Vec<Entry>,
        counts: &BTreeMap<CountKey, u64>,
    ) {
        if let Some(part) = self.parts.write().unwrap_or_else(PoisonError::into_inner).get_mut(&partition.id)
        {
            entries.iter().for_each(|entry| part.hot.push(&entry.body));
            for (key, count) in counts {
                part.minutes.add(key.minute, &key.service, key.level, *count);
            }
        }
        let class = partition.class.clone();
        self.change(|manifest| {
            manifest.insert(partition.id, partition);
        });
        if !entries.is_empty() {
            let weight: usize = entries.iter().map(|entry| entry.body.weight()).sum();
            self.tell(if weight > KEPT { News::Look } else { News::Added(class, entries.into()) });
        }
    }

    /// The database has its own indexes of this partition now, of `disk` bytes in all.
    pub(crate) fn finished(&self, id: PartitionId, disk: u64) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.change(|manifest| {
            if let Some(partition) = manifest.get_mut(&id) {
                Arc::make_mut(partition).disk = disk;
            }
        });
    }

    /// Retention took it away.
    pub fn removed(&self, id: PartitionId) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.change(|manifest| {
            manifest.remove(&id);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Manifest)) {
        let mut manifest = self.manifest.write().unwrap_or_else(PoisonError::into_inner);
        // In place, unless a reader holds the one before.
        change(Arc::make_mut(&mut manifest));
    }
}
