//! Opening a store: the lock, what is there, and what a crash or a bad disk left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::sqlite::SqliteJournalMode;
use sqlx::{Connection as _, SqliteConnection};
use tokio_util::task::TaskTracker;

use super::class::Writer;
use super::connect::{self, Readers};
use super::damage::{self, Damage};
use super::error::engine_error;
use super::main_file::MainFile;
use super::segment::{self, Segment};
use super::{SqliteEngine, files, migrate, refuse};
use crate::chain::Head;
use crate::engine::EngineError;
use crate::id::{Instance, PartitionId};
use crate::partition::{Class, Contents, Partition, Seal};

pub(super) async fn open(dir: &Path, instance: Instance) -> Result<SqliteEngine, EngineError> {
    let (dir, log) = (dir.to_owned(), dir.join("log"));
    let directory = log.clone();
    let (lock, listing, main) = files::off(move || {
        files::make_directory(&dir)?;
        let lock = files::lock(&dir)?;
        files::make_directory(&directory)?;
        let main = dir.join("main.db");
        files::make_file(&main)?;
        files::hold_back(&dir);
        Ok((lock, files::list(&directory)?, main))
    })
    .await?;
    let mut lost = Vec::new();
    // Where main.db was lost, the log knows.
    let drawn = instance_of_log(&listing).await.unwrap_or(instance);
    let instance = instance_of(&main, drawn, &mut lost).await?;
    let mut opening = Opening {
        log: log.clone(),
        instance,
        highest: listing.highest,
        classes: BTreeMap::new(),
        numbers: BTreeMap::new(),
        notes: Vec::new(),
        lost,
    };
    for path in listing.strange {
        opening.leave(&path, "has a name that Helm does not give");
    }
    for (number, path) in listing.segments {
        opening.take(number, path).await?;
    }
    let Opened { segments, writers, notes, lost } = opening.finish().await?;
    let damage = Damage::none();
    Ok(SqliteEngine {
        instance,
        log,
        main: MainFile::at(main, damage.clone()),
        segments: RwLock::new(segments),
        writers: Mutex::new(writers),
        beginning: tokio::sync::Mutex::default(),
        readers: Readers::new(),
        tasks: TaskTracker::new(),
        notes,
        lost,
        damage,
        lock: Mutex::new(Some(lock)),
    })
}

/// The instance's number: the one that is written, or `drawn` where none is.
async fn instance_of(main: &Path, drawn: Instance, lost: &mut Vec<String>) -> Result<Instance, EngineError> {
    match read_main(main, drawn).await {
        Err(EngineError::Damaged(why)) => {
            lost.push(set_aside(main, &why).await?);
            let path = main.to_owned();
            files::off(move || files::make_file(&path)).await?;
            read_main(main, drawn).await
        }
        other => other,
    }
}

async fn read_main(main: &Path, drawn: Instance) -> Result<Instance, EngineError> {
    damage::look_into(main).await?;
    let mut connection = connect::writer(main, SqliteJournalMode::Wal).await?;
    migrate::migrate(&mut connection, main, migrate::MAIN).await?;
    let failed = |e| engine_error("could not read the instance's number", main, e);
    sqlx::query("INSERT OR IGNORE INTO instance (one, number, made) VALUES (1, ?, ?)")
        .bind(drawn.0)
        .bind(now().cast_signed())
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    let number =
        sqlx::query_scalar("SELECT number FROM instance").fetch_one(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(Instance(number))
}

/// The number that the first readable segment bears.
async fn instance_of_log(listing: &files::Listing) -> Option<Instance> {
    for (_, path) in &listing.segments {
        if let Ok(loaded) = segment::load(path).await {
            return Some(loaded.record.id.instance);
        }
    }
    None
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Moves a damaged file out of the way; returns the sentence that says so.
async fn set_aside(path: &Path, why: &str) -> Result<String, EngineError> {
    let from = path.to_owned();
    let to = files::off(move || files::set_aside(&from, now())).await?;
    Ok(format!(
        "{why}. It was moved to `{}` and nothing of it deleted; `sqlite3 FILE .recover` may read it",
        to.display()
    ))
}

/// Number of the partition before, and when it was closed.
type Former = (u32, i64);

/// A segment that could be read.
struct Known {
    segment: Arc<Segment>,
    former: Option<Former>,
    /// Its entries are not those that are on record in it.
    torn: bool,
    /// Where the class stood at its end, as it says itself.
    head: Head,
}

impl Known {
    fn is_sealed(&self) -> bool {
        self.segment.with(|record| record.seal.is_some())
    }
}

/// One class, while its segments are looked at in the order of their numbers.
struct OfClass {
    segments: Vec<Known>,
    /// The newest file, moved aside, when it was damaged.
    lost: Option<PathBuf>,
}

struct Opening {
    log: PathBuf,
    instance: Instance,
    highest: Option<u32>,
    classes: BTreeMap<Class, OfClass>,
    /// Whose each partition is.
    numbers: BTreeMap<u32, Class>,
    notes: Vec<String>,
    lost: Vec<String>,
}

/// What the opening came to.
struct Opened {
    segments: BTreeMap<u32, Arc<Segment>>,
    writers: BTreeMap<Class, Arc<tokio::sync::Mutex<Writer>>>,
    notes: Vec<String>,
    lost: Vec<String>,
}

fn has_name_of(path: &Path, record: &Partition) -> bool {
    path.file_name().is_some_and(|name| *name == *files::segment_name(record.id.number, &record.class))
}

impl Opening {
    async fn take(&mut self, number: u32, path: PathBuf) -> Result<(), EngineError> {
        let looked = damage::look_into(&path).await;
        let loaded = match looked.and(segment::load(&path).await) {
            Ok(loaded) if has_name_of(&path, &loaded.record) => loaded,
            Ok(loaded) => {
                let Partition { id, class, .. } = loaded.record;
                self.leave(&path, &format!("says that it is partition {id} of class {}", class.0));
                return Ok(());
            }
            Err(EngineError::Damaged(why)) => return self.lose(&path, &why).await,
            Err(error) => return Err(error),
        };
        if loaded.record.id.instance != self.instance {
            return Err(refuse(format!(
                "`{}` belongs to instance {}, this store to {}: move it away",
                path.display(),
                loaded.record.id.instance.0,
                self.instance.0
            )));
        }
        if let Some(class) = self.numbers.insert(number, loaded.record.class.clone()) {
            return Err(refuse(format!(
                "both class {} and class {} have a partition {number} in `{}`: one is a copy or was made by hand; move it away",
                class.0,
                loaded.record.class.0,
                self.log.display()
            )));
        }
        let of_class = self.classes.entry(loaded.record.class.clone()).or_insert_with(OfClass::new);
        // Finished is what is read-only: the indexes come before that.
        let looked = path.clone();
        let read_only = files::off(move || files::is_read_only(&looked)).await?;
        let segment = Segment::new(path, loaded.record, loaded.finished && read_only);
        let (former, torn, head) = (loaded.former, loaded.torn, loaded.head);
        of_class.segments.push(Known { segment, former, torn, head });
        of_class.lost = None;
        Ok(())
    }

    /// What is no partition of this store, whatever it is, is neither read nor touched.
    fn leave(&mut self, path: &Path, why: &str) {
        self.notes.push(format!(
            "`{}` {why}: it is a copy or was renamed, and is left alone. Move it out of the directory of the log.",
            path.display()
        ));
    }

    async fn lose(&mut self, path: &Path, why: &str) -> Result<(), EngineError> {
        self.lost.push(set_aside(path, why).await?);
        // What the file says of its class cannot be trusted; its name can.
        if let Some(class) = files::segment_class(path) {
            self.classes.entry(class).or_insert_with(OfClass::new).lost = Some(path.to_owned());
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Opened, EngineError> {
        let (mut segments, mut writers) = (BTreeMap::new(), BTreeMap::new());
        for (class, of_class) in std::mem::take(&mut self.classes) {
            self.seal_what_is_left(&of_class).await?;
            let mut newest = of_class.segments.last().map(|known| known.segment.clone());
            if let Some(why) = of_class.cannot_go_on() {
                let fresh = self.begin_anew(&class, newest.as_ref(), why).await?;
                segments.insert(fresh.with(|record| record.id.number), fresh.clone());
                newest = Some(fresh);
            }
            for Known { segment, .. } in of_class.segments {
                segments.insert(segment.with(|record| record.id.number), segment);
            }
            if let Some(newest) = newest {
                writers.insert(class, Arc::new(tokio::sync::Mutex::new(Writer::of(newest))));
            }
        }
        Ok(Opened { segments, writers, notes: self.notes, lost: self.lost })
    }

    /// Older segments that a crash left open are sealed from what the next one knows. One that does not end where the next begins is no such one: it
    /// is sealed where it ends itself, and the proof names it.
    async fn seal_what_is_left(&mut self, of_class: &OfClass) -> Result<(), EngineError> {
        for pair in of_class.segments.windows(2) {
            let (older, newer) = (&pair[0], &pair[1]);
            if older.is_sealed() {
                continue;
            }
            let (before, opened) = newer.segment.with(|record| (record.before, record.opened));
            let id = older.segment.with(|record| record.id);
            let former = newer.former.filter(|(number, _)| *number == id.number);
            let closed = former.map_or(opened, |(_, closed)| closed);
            Writer::of(older.segment.clone()).seal(Seal { closed, head: older.head }).await?;
            self.notes.push(match older.head == before {
                true => format!("Partition {id} was sealed: the last run of helmd had no time for it."),
                false => format!(
                    "Partition {id} does not end where the next one begins, so an older copy of it was put in its place: run `helmctl logs verify`, and look who may write in `{}`.",
                    self.log.display()
                ),
            });
        }
        Ok(())
    }

    /// The open partition of a class was lost, or takes no more: another one begins, where the one before ended.
    async fn begin_anew(
        &mut self,
        class: &Class,
        newest: Option<&Arc<Segment>>,
        why: &str,
    ) -> Result<Arc<Segment>, EngineError> {
        let number = self.highest.map_or(0, |highest| highest + 1);
        self.highest = Some(number);
        let id = PartitionId { instance: self.instance, number };
        let (before, opened, former) = match newest {
            Some(segment) => {
                let mut connection = connect::reader(&segment.path).await?;
                let state = state(&mut connection, class, &segment.path).await;
                drop(connection.close().await);
                let state = state?;
                let seal = segment.with(|record| record.seal);
                let closed = seal.map_or(state.arrived, |seal| seal.closed);
                let former =
                    (segment.with(|record| record.id), Seal { closed, head: state.head }, &segment.path);
                (state.head, closed, Some(former))
            }
            None => (Head::GENESIS, 0, None),
        };
        let opened = opened.max(i64::try_from(now()).unwrap_or(0).saturating_mul(1_000_000_000));
        let new = Partition {
            id,
            class: class.clone(),
            opened,
            before,
            seal: None,
            contents: Contents::empty(),
            disk: 0,
        };
        let writer = Writer::begin(&self.log, &new, former).await?;
        if let Some((_, seal, _)) = former
            && let Some(segment) = newest.filter(|s| s.with(|record| record.seal.is_none()))
        {
            Writer::of(segment.clone()).seal(seal).await?;
        }
        self.notes.push(format!("The class `{}` goes on in partition {id}. {why}", class.0));
        Ok(writer.segment().clone())
    }
}

impl OfClass {
    fn new() -> Self {
        Self { segments: Vec::new(), lost: None }
    }

    /// Why the newest segment cannot take more.
    fn cannot_go_on(&self) -> Option<&'static str> {
        match self.segments.last() {
            _ if self.lost.is_some() => Some(
                "Where the damaged one stood is lost: lines that are still in the services' files are read again.",
            ),
            Some(newest) if newest.is_sealed() => Some(
                "The file of the partition that was open is gone, and what was in it; lines that are still in the services' files are read again.",
            ),
            Some(newest) if newest.torn => Some(
                "The entries of the one before are not those that are on record in it: somebody put some in or took some out. Run `helmctl logs verify`.",
            ),
            Some(_) | None => None,
        }
    }
}

async fn state(
    connection: &mut SqliteConnection,
    class: &Class,
    path: &Path,
) -> Result<crate::commit::ClassState, EngineError> {
    segment::state(connection, class, None)
        .await
        .map_err(|e| engine_error("could not read where the class stands", path, e))
}
