//! The file, with what is known of it. One that turns bad is moved aside and gone on without: what comes later is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::file::{Gone, Held, NewRow, QueueFile, Row};
use super::gate::Gate;
use super::known::Known;
use super::{Lost, QueueOptions};
use crate::engine::EngineError;
use crate::sqlite::files;
use crate::writer::{Append, GROUP};

/// A disk that spoils whatever is written to it gets no second new file sooner.
const PACE: Duration = Duration::from_secs(5);

pub(super) struct Book {
    path: PathBuf,
    clock: fn() -> i64,
    gate: Gate,
    /// `None`: it could not be opened anew; tried again whenever it is needed.
    file: Option<QueueFile>,
    /// Its positions are known to be above the one of the database that things are brought to.
    begun: bool,
    pub(super) held: Held,
    /// Appends that cannot be read.
    pub(super) bad: u64,
    pub(super) known: Known,
    pub(super) lost: Option<Lost>,
    moved: Option<Instant>,
}

impl Book {
    pub(super) async fn open(path: &Path, options: &QueueOptions, gate: Gate) -> Result<Self, EngineError> {
        let mut book = Self {
            path: path.to_owned(),
            clock: options.clock,
            gate,
            file: None,
            begun: false,
            held: Held::default(),
            bad: 0,
            known: Known::default(),
            lost: None,
            moved: None,
        };
        book.ready().await?;
        Ok(book)
    }

    /// The file. One that cannot be read is moved aside, and a fresh one made.
    async fn file(&mut self) -> Result<&mut QueueFile, EngineError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => match self.read().await {
                Err(EngineError::Damaged(why)) => {
                    self.move_aside(&why, None).await?;
                    self.read().await?
                }
                read => read?,
            },
        };
        Ok(self.file.insert(file))
    }

    async fn read(&mut self) -> Result<QueueFile, EngineError> {
        let mut file = QueueFile::open(&self.path).await?;
        let (held, bad, known) = (file.held().await?, file.bad().await?, Known::of(&mut file).await?);
        self.gate.came(held.appends);
        (self.held, self.bad, self.known, self.begun) = (held, bad, known, false);
        Ok(file)
    }

    /// So that what is known of it is known.
    pub(super) async fn ready(&mut self) -> Result<(), EngineError> {
        self.file().await.map(drop)
    }

    /// Passes on what was met; a file that turned bad is left behind.
    async fn met<T>(&mut self, answer: Result<T, EngineError>) -> Result<T, EngineError> {
        let Err(EngineError::Damaged(why)) = &answer else { return answer };
        let why = why.clone();
        if let Some(file) = self.file.take() {
            // Before it is moved: SQLite finds its journal by its name.
            file.close().await;
            let waited = std::mem::take(&mut self.held).appends;
            self.known = Known::default();
            self.gate.gone(waited);
            if let Err(error) = self.move_aside(&why, Some(waited)).await {
                tracing::error!(%error, "the local queue cannot be moved aside; this is tried again");
            }
        }
        answer
    }

    async fn move_aside(&mut self, why: &str, waited: Option<u64>) -> Result<(), EngineError> {
        if self.moved.is_some_and(|moved| moved.elapsed() < PACE) {
            return Err(EngineError::Damaged(why.to_owned()));
        }
        self.moved = Some(Instant::now());
        let seconds = u64::try_from((self.clock)() / 1_000_000_000).unwrap_or(0);
        let bad = self.path.clone();
        let aside = files::off(move || files::set_aside(&bad, seconds)).await?;
        let what = waited.map_or_else(|| "what".to_owned(), |waited| format!("of {waited} appends, what"));
        let aside = aside.display();
        let words = format!(
            "the local queue cannot be read ({why}): it was moved to {aside}, nothing was deleted; {what} waited in it is not in the log (`sqlite3 {aside} .recover` shows what can still be read)"
        );
        tracing::error!("{words}");
        self.lost = Some(Lost { times: self.files() + 1, words });
        Ok(())
    }

    /// All of them, or none; where the file turns out to be bad, into a fresh one.
    pub(super) async fn add(&mut self, rows: &[NewRow<'_>], now: i64) -> Result<Vec<u64>, EngineError> {
        match self.try_add(rows, now).await {
            Err(EngineError::Damaged(_)) => self.try_add(rows, now).await,
            added => added,
        }
    }

    async fn try_add(&mut self, rows: &[NewRow<'_>], now: i64) -> Result<Vec<u64>, EngineError> {
        let added = self.file().await?.add(rows, now).await;
        self.met(added).await
    }

    /// An append is in the file.
    pub(super) fn added(&mut self, append: &Append, weight: u64, position: u64, now: i64) {
        self.held.appends += 1;
        self.held.bytes += weight;
        self.held.oldest.get_or_insert(now);
        if let Some(once) = &append.once {
            self.known.add(&append.class, once, position);
        }
    }

    /// How many files were left behind.
    pub(super) fn files(&self) -> u64 {
        self.lost.as_ref().map_or(0, |lost| lost.times)
    }

    pub(super) async fn begin(&mut self, position: u64) -> Result<(), EngineError> {
        let joined = self.file().await?.join(position).await;
        if self.met(joined).await? {
            let known = Known::of(self.file().await?).await;
            self.known = self.met(known).await?;
        }
        self.begun = true;
        self.forget(position).await
    }

    pub(super) async fn next(&mut self, behind: u64) -> Result<Vec<Row>, EngineError> {
        self.is_begun().await?;
        let mut aside = Gone::default();
        let rows = self.file().await?.next(behind, GROUP, &mut aside).await;
        let rows = self.met(rows).await;
        // Of a file that was left behind there are no sums any more.
        if self.file.is_some() {
            self.bad += aside.appends;
            self.less(aside).await?;
        }
        rows
    }

    pub(super) async fn forget(&mut self, position: u64) -> Result<(), EngineError> {
        self.is_begun().await?;
        let gone = self.file().await?.forget(position).await;
        let gone = self.met(gone).await?;
        self.known.forget(position);
        self.less(gone).await
    }

    /// Positions of a file that took the place of another one mean something else.
    async fn is_begun(&mut self) -> Result<(), EngineError> {
        self.ready().await?;
        match self.begun {
            true => Ok(()),
            false => Err(EngineError::Away("the file of the local queue is another one by now".to_owned())),
        }
    }

    /// The sums are kept here: the file would have to be read as a whole for them.
    async fn less(&mut self, gone: Gone) -> Result<(), EngineError> {
        if gone == Gone::default() {
            return Ok(());
        }
        self.gate.gone(gone.appends);
        self.held.appends = self.held.appends.saturating_sub(gone.appends);
        self.held.bytes = self.held.bytes.saturating_sub(gone.bytes);
        let oldest = self.file().await?.oldest().await;
        self.held.oldest = self.met(oldest).await?;
        Ok(())
    }
}
