//! The task that owns the file: pushes that wait share a commit, repetitions are recognised.

use std::path::Path;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::file::{Held, NewRow, Row};
use super::gate::{Gate, Ticket};
use super::known::Known;
use super::{AGAIN, QueueOptions, QueueStatus};
use crate::commit::Once;
use crate::engine::EngineError;
use crate::entry::NewEntry;
use crate::once::Seen;
use crate::writer::{Append, AppendError};

/// Pushes in one commit of the file.
const SHARED: usize = 512;
/// What a repetition is told whose first time is lost.
const LEFT: &str = "the local queue was damaged, and what was sent before went with it";
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
    /// Gives the room back when the append is dealt with.
    pub(super) _room: OwnedSemaphorePermit,
}

pub(super) struct Keeper {
    book: Book,
    options: QueueOptions,
}

impl Keeper {
    pub(super) async fn open(path: &Path, options: QueueOptions, gate: Gate) -> Result<Self, EngineError> {
        Ok(Self { book: Book::open(path, &options, gate).await?, options })
    }

    /// Until `stop`; who waits then is told that helmd ends.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
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
                    self.push(pushes).await;
                }
                Ask::Begin(position, answer) => {
                    // Who left does not want to know.
                    let _ = answer.send(self.book.begin(position).await);
                }
                Ask::Next(behind, answer) => {
                    let _ = answer.send(self.book.next(behind).await);
                }
                Ask::Forget(position, answer) => {
                    let _ = answer.send(self.book.forget(position).await);
                }
            }
            self.tell(&tell);
        }
    }

    async fn push(&mut self, pushes: Vec<Push>) {
        if let Err(error) = self.book.ready().await {
            return later(pushes, &error);
        }
        let now = (self.options.clock)();
        let (new, again) = self.judge(pushes, now);
        let rows = new.iter().map(|(push, weight)| NewRow {
            class: &push.append.class,
            entries: &push.append.entries,
            once: push.append.once.as_ref(),
            weight: *weight,
        });
        let rows: Vec<NewRow<'_>> = rows.collect();
        let files = self.book.files();
        let added = if rows.is_empty() { Ok(Vec::new()) } else { self.book.add(&rows, now).await };
        match added {
            Ok(positions) => {
                for ((push, weight), position) in new.into_iter().zip(positions) {
                    self.book.added(&push.append, weight, position, now);
                    push.ticket.taken();
                    let _ = push.answer.send(Ok(false));
                }
                for push in again {
                    // What they repeat went with the file that was left behind meanwhile.
                    let answer = match self.book.files() == files {
                        true => Ok(true),
                        false => Err(AppendError::Later { after: AGAIN, why: LEFT.to_owned() }),
                    };
                    let _ = push.answer.send(answer);
                }
            }
            Err(error) => later(new.into_iter().map(|(push, _)| push).chain(again), &error),
        }
    }

    /// Those that are to be kept, with their weights, and those that repeat what waits. The others get their answer.
    fn judge(&self, pushes: Vec<Push>, now: i64) -> (Vec<(Push, u64)>, Vec<Push>) {
        let (mut new, mut again) = (Vec::new(), Vec::new());
        let (held, mut coming) = (self.book.held, Known::default());
        let mut bytes = held.bytes;
        for push in pushes {
            let Append { class, entries, once, .. } = &push.append;
            let known = |once: &Once| [&self.book.known, &coming].map(|known| known.seen(class, once));
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
            if let Some(why) = full(&self.options, held.oldest, bytes + weight, now) {
                let _ = push.answer.send(Err(AppendError::Later { after: AGAIN, why }));
                continue;
            }
            bytes += weight;
            if let Some(once) = once {
                coming.add(class, once, 0);
            }
            new.push((push, weight));
        }
        (new, again)
    }

    /// Publishes what waits; a warning when it is full, once.
    pub(super) fn tell(&self, tell: &watch::Sender<QueueStatus>) {
        let Held { appends, bytes, oldest } = self.book.held;
        // One more entry of common size.
        let full = full(&self.options, oldest, bytes + 1024, (self.options.clock)());
        tell.send_if_modified(|status| {
            if let Some(why) = full.as_ref().filter(|_| status.full.is_none()) {
                tracing::warn!("{why}: senders are told to come again, nothing that waits is dropped");
            }
            let lost = self.book.lost.clone();
            let now = QueueStatus { appends, bytes, oldest, full, bad: self.book.bad, lost };
            let changes = *status != now;
            *status = now;
            changes
        });
    }
}

fn later(pushes: impl IntoIterator<Item = Push>, error: &EngineError) {
    tracing::warn!(%error, "an append could not be queued; its sender is told to come again");
    let later = AppendError::Later { after: AGAIN, why: error.to_string() };
    for push in pushes {
        // Who left does not want to know.
        let _ = push.answer.send(Err(later.clone()));
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
