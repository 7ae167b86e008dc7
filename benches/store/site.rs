//! A store under measurement: an engine with the writer and the reader that helmd puts above it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use helm_store::engine::LogEngine;
use helm_store::entry::NewEntry;
use helm_store::id::Instance;
use helm_store::metrics::engine::MetricEngine;
use helm_store::partition::Class;
use helm_store::postgres::{PgEngine, PgOptions, Registration};
use helm_store::reader::Reader;
use helm_store::sqlite::SqliteEngine;
use helm_store::writer::{Append, Health, Receipt, Writer, WriterHandle, WriterOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::limits::psql;
use shared::{Engine, Result};

/// Where a store lies.
#[derive(Debug, Clone)]
pub(crate) enum Ground {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Ground {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Ground::Sqlite(_) => Engine::Sqlite,
            Ground::Postgres(_) => Engine::Postgres,
        }
    }

    /// An empty one on the same disk.
    pub(crate) fn scratch(&self, dir: &Path) -> Result<Ground> {
        match self {
            Ground::Sqlite(_) => Ok(Ground::Sqlite(tempfile::tempdir_in(dir)?.keep())),
            Ground::Postgres(url) => {
                let name = format!("helm_scratch_{}", std::process::id());
                psql(url, &format!("CREATE DATABASE {name}"))?;
                let (server, _) = url.rsplit_once('/').ok_or("the connection string names no database")?;
                Ok(Ground::Postgres(format!("{server}/{name}")))
            }
        }
    }

    /// Takes away what `scratch` made.
    pub(crate) fn clear(&self, beside: &Ground) -> Result<()> {
        match (self, beside) {
            (Ground::Sqlite(dir), _) => std::fs::remove_dir_all(dir)?,
            (Ground::Postgres(url), Ground::Postgres(other)) => {
                let (_, name) = url.rsplit_once('/').ok_or("the connection string names no database")?;
                psql(other, &format!("DROP DATABASE {name}"))?;
            }
            (Ground::Postgres(_), Ground::Sqlite(_)) => {}
        }
        Ok(())
    }
}

enum Kind {
    Sqlite(Arc<SqliteEngine>),
    Postgres(Arc<PgEngine>),
}

/// An open store.
pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) ground: Ground,
    pub(crate) log: Arc<dyn LogEngine>,
    pub(crate) numbers: Arc<dyn MetricEngine>,
    pub(crate) writer: WriterHandle,
    pub(crate) reader: Reader,
    kind: Kind,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Site {
    pub(crate) async fn open(ground: &Ground) -> Result<Self> {
        let kind = match ground {
            Ground::Sqlite(dir) => {
                std::fs::create_dir_all(dir)?;
                Kind::Sqlite(Arc::new(SqliteEngine::open(dir, Instance(1)).await?))
            }
            Ground::Postgres(url) => {
                let (uuid, host, home) = ("bench".into(), "bench".into(), "/bench".into());
                let who = Registration { uuid, host, home, preferred: Instance(1) };
                Kind::Postgres(Arc::new(PgEngine::open(PgOptions::parse(url)?, who).await?))
            }
        };
        let (log, numbers): (Arc<dyn LogEngine>, Arc<dyn MetricEngine>) = match &kind {
            Kind::Sqlite(engine) => (engine.clone(), engine.clone()),
            Kind::Postgres(engine) => (engine.clone(), engine.clone()),
        };
        let stop = CancellationToken::new();
        let (writer, work) = Writer::start(log.clone(), WriterOptions::new(now), stop.clone());
        let work = tokio::spawn(work);
        let mut health = writer.health();
        health.wait_for(|health| *health == Health::Well).await?;
        let reader = Reader::new(log.clone(), writer.live().clone());
        Ok(Self {
            engine: ground.engine(),
            ground: ground.clone(),
            log,
            numbers,
            writer,
            reader,
            kind,
            stop,
            work,
        })
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.stop.cancel();
        self.work.await?;
        match self.kind {
            Kind::Sqlite(engine) => engine.close().await?,
            Kind::Postgres(engine) => engine.close().await?,
        }
        Ok(())
    }
}

/// Keeps `entries`; answers after the commit.
pub(crate) async fn append(writer: &WriterHandle, entries: Vec<NewEntry>) -> Result<Receipt> {
    append_to(writer, Class::DEFAULT, entries).await
}

/// The same in another class.
pub(crate) async fn append_to(writer: &WriterHandle, class: &str, entries: Vec<NewEntry>) -> Result<Receipt> {
    let class = Class(class.to_owned());
    Ok(writer.append(Append { class, entries, cursors: Vec::new(), once: None, queue: None }).await?)
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Bytes of all files in a directory, and below.
pub(crate) fn bytes_in(dir: &Path) -> u64 {
    let items = std::fs::read_dir(dir).into_iter().flatten().flatten();
    items
        .map(|item| match item.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&item.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
