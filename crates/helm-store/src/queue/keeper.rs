//! The task that owns the file: pushes that wait share a commit, repetitions are recognised.

use std::collections::HashMap;
use std::path::Path;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::file::{Gone, Held, NewRow, QueueFile, Row};
use super::gate::{Gate, Ticket};
use super::{AGAIN, QueueOptions, QueueStatus};
use crate::commit::Once;
use crate::engine::EngineError;
use crate::entry::NewEntry;
use crate::once::{Numbers, Seen};
use crate::partition::Class;
use crate::writer::{Append, AppendError, GROUP};

/// Pushes in one commit of the file.
const SHARED: usize = 512;
/// What a row weighs beside its entries.
const ROW: usize = 256;

#[derive(Debug)]
pub(super) enum Ask {
    Push(Box<Push>),
    /// Before anything is brought to a database that has this position.
    Begin(u64, oneshot::Sender<Result<(), EngineError>>),
    Next(u64, oneshot::Sender<Result<Vec<Row>, EngineError>>),
    Forget(u64, oneshot::Sender<Result<(), EngineError>>),
}

/// An append that shall be kept. The answer: whether it was there already.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) append: Append,
    pub(super) ticket: Ticket,
    pub(super) answer: oneshot::Sender<Result<bool, AppendError>>,
}

pub(super) struct Keeper {
    file: QueueFile,
    held: Held,
    /// Appends that cannot be read.
    bad: u64,
    known: Known,
}

/// What makes repetitions harmless of all that waits, with the positions. Of a class: a batch with entries of several is an append in each.
#[derive(Debug, Default)]
struct Known {
    senders: HashMap<(Class, String), (Numbers, u64)>,
    keys: HashMap<(Class, String), u64>,
}

impl Known {
    async fn of(file: &mut QueueFile) -> Result<Self, EngineError> {
        let mut known = Known::default();
        for (position, class, once) in file.once().await? {
            known.add(&class, &once, position);
        }
        Ok(known)
    }

    fn seen(&self, class: &Class, once: &Once) -> Seen {
        match once {
            Once::Sequence { sender, number } => {
                let numbers = self.senders.get(&(class.clone(), sender.clone()));
                numbers.map_or(Seen::No, |(numbers, _)| numbers.seen(*number))
            }
            Once::Key(key) if self.keys.contains_key(&(class.clone(), key.clone())) => Seen::Kept,
            Once::Key(_) => Seen::No,
        }
    }

    fn add(&mut self, class: &Class, once: &Once, position: u64) {
        match once {
            Once::Sequence { sender, number } => {
                let first = (Numbers::first(*number, 0), position);
                let known = self.senders.entry((class.clone(), sender.clone())).or_insert(first);
                known.0.add(*number, 0);
                known.1 = position;
            }
            Once::Key(key) => {
                self.keys.insert((class.clone(), key.clone()), position);
            }
        }
    }

    fn forget(&mut self, position: u64) {
        self.senders.retain(|_, (_, at)| *at > position);
        self.keys.retain(|_, at| *at > position);
    }
}

impl Keeper {
    pub(super) async fn open(path: &Path) -> Result<Self, EngineError> {
        let mut file = QueueFile::open(path).await?;
        let held = file.held().await?;
        let bad = file.bad().await?;
        let known = Known::of(&mut file).await?;
        Ok(Self { file, held, bad, known })
    }

    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// Until `stop`; who waits then is told that helmd ends.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        options: QueueOptions,
        gate: Gate,
        tell: watch::Sender<QueueStatus>,
        stop: CancellationToken,
    ) {
        let mut next = None;
        loop {
            let ask = match next.take() {
                Some(ask) => ask,
                None => match stop.run_until_cancelled(asks.recv()).await {
                    Some(Some(ask)) => ask,
                    None | Some(None) => return,
                },
            };
            match ask {
                Ask::Push(first) => {
                    let mut pushes = vec![*first];
                    while pushes.len() < SHARED && next.is_none() {
                        match asks.try_recv() {
                            Ok(Ask::Push(push)) => pushes.push(*push),
                            Ok(other) => next = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.push(pushes, &options).await;
                }
                Ask::Begin(position, answer) => {
                    // Who left does not want to know.
                    let _ = answer.send(self.begin(position, &gate).await);
                }
                Ask::Next(behind, answer) => {
                    let _ = answer.send(self.next(behind, &gate).await);
                }
                Ask::Forget(position, answer) => {
                    let _ = answer.send(self.forget(position, &gate).await);
                }
            }
            self.tell(&options, &tell);
        }
    }

    async fn push(&mut self, pushes: Vec<Push>, options: &QueueOptions) {
        let now = (options.clock)();
        let (mut new, mut again) = (Vec::new(), Vec::new());
        let mut bytes = self.held.bytes;
        let mut coming = Known::default();
        for push in pushes {
            let Append { class, entries, once, .. } = &push.append;
            let known = |once: &Once| [&self.known, &coming].map(|known| known.seen(class, once));
            let seen = once.as_ref().map_or([Seen::No; 2], known);
            if seen.contains(&Seen::Kept) {
                again.push(push);
                continue;
            }
            if let Some(Once::Sequence { number, .. }) =
                once.as_ref().filter(|_| seen.contains(&Seen::Unknown))
            {
                let _ = push.answer.send(Err(AppendError::Below { number: *number }));
                continue;
            }
            let weight = (ROW + entries.iter().map(NewEntry::weight).sum::<usize>()) as u64;
            if let Some(why) = full(options, self.held.oldest, bytes + weight, now) {
                let _ = push.answer.send(Err(AppendError::Later { after: AGAIN, why }));
                continue;
            }
            bytes += weight;
            if let Some(once) = once {
                coming.add(class, once, 0);
            }
            new.push((push, weight));
        }
        let rows = new.iter().map(|(push, weight)| NewRow {
            class: &push.append.class,
            entries: &push.append.entries,
            once: push.append.once.as_ref(),
            weight: *weight,
        });
        let rows: Vec<NewRow<'_>> = rows.collect();
        let added = if rows.is_empty() { Ok(Vec::new()) } else { self.file.add(&rows, now).await };
        match added {
            Ok(positions) => {
                for ((push, weight), position) in new.into_iter().zip(positions) {
                    self.held.appends += 1;
                    self.held.bytes += weight;
                    self.held.oldest.get_or_insert(now);
                    if let Some(once) = &push.append.once {
                        self.known.add(&push.append.class, once, position);
                    }
                    push.ticket.taken();
                    let _ = push.answer.send(Ok(false));
                }
                for push in again {
                    let _ = push.answer.send(Ok(true));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "an append could not be queued; its sender is told to come again");
                let later = AppendError::Later { after: AGAIN, why: error.to_string() };
                for push in new.into_iter().map(|(push, _)| push).chain(again) {
                    let _ = push.answer.send(Err(later.clone()));
                }
            }
        }
    }

    async fn begin(&mut self, position: u64, gate: &Gate) -> Result<(), EngineError> {
        if self.file.join(position).await? {
            self.known = Known::of(&mut self.file).await?;
        }
        self.forget(position, gate).await
    }

    async fn next(&mut self, behind: u64, gate: &Gate) -> Result<Vec<Row>, EngineError> {
        let mut aside = Gone::default();
        let rows = self.file.next(behind, GROUP, &mut aside).await;
        self.bad += aside.appends;
        self.less(aside, gate).await?;
        rows
    }

    async fn forget(&mut self, position: u64, gate: &Gate) -> Result<(), EngineError> {
        let gone = self.file.forget(position).await?;
        self.known.forget(position);
        self.less(gone, gate).await
    }

    /// The sums are kept here: the file would have to be read as a whole for them.
    async fn less(&mut self, gone: Gone, gate: &Gate) -> Result<(), EngineError> {
        if gone == Gone::default() {
            return Ok(());
        }
        gate.gone(gone.appends);
        self.held.appends = self.held.appends.saturating_sub(gone.appends);
        self.held.bytes = self.held.bytes.saturating_sub(gone.bytes);
        self.held.oldest = self.file.oldest().await?;
        Ok(())
    }

    /// Publishes what waits; a warning when it is full, once.
    pub(super) fn tell(&self, options: &QueueOptions, tell: &watch::Sender<QueueStatus>) {
        let Held { appends, bytes, oldest } = self.held;
        // One more entry of common size.
        let full = full(options, oldest, bytes + 1024, (options.clock)());
        tell.send_if_modified(|status| {
            if let Some(why) = full.as_ref().filter(|_| status.full.is_none()) {
                tracing::warn!("{why}: senders are told to come again, nothing that waits is dropped");
            }
            let now = QueueStatus { appends, bytes, oldest, full, bad: self.bad };
            let changes = *status != now;
            *status = now;
            changes
        });
    }
}

fn full(options: &QueueOptions, oldest: Option<i64>, bytes: u64, now: i64) -> Option<String> {
    if bytes > options.bytes {
        return Some(format!("the local queue is full ({} MiB wait for the database)", options.bytes >> 20));
    }
    let days = options.age / 86_400_000_000_000;
    oldest
        .is_some_and(|at| at.saturating_add(options.age) < now)
        .then(|| format!("the database has been away for {days} days, and nothing more is queued"))
}
