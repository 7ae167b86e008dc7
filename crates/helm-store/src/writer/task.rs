//! The task that writes: gathers, plans, commits, answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::finisher::Finisher;
use super::ledger::{Ledger, Planned, Step};
use super::{Append, AppendError, Ask, CLASSES, Health, Pending, Receipt, WriterOptions};
use crate::commit::{ClassState, Commit};
use crate::counts::Minutes;
use crate::engine::{EngineError, LogEngine};
use crate::entry::NewEntry;
use crate::id::PartitionId;
use crate::live::Live;
use crate::partition::{Class, Partition, Seal};

/// Entries and bytes after which a group takes no further append.
const GROUP: (usize, usize) = (5_000, 4 << 20);
/// Sealed partitions that may wait for their indexes.
const FINISHING: usize = 256;

pub(super) async fn run(
    engine: Arc<dyn LogEngine>,
    options: WriterOptions,
    stop: CancellationToken,
    asks: mpsc::Receiver<Ask>,
    health: watch::Sender<Health>,
    live: Arc<Live>,
) {
    let (sealed, finishing) = mpsc::channel(FINISHING);
    let finisher = Finisher { engine: engine.clone(), live: live.clone(), retry: options.retry.1 };
    let ledger = Ledger::load(engine.instance(), options.roll, Vec::new(), &[]);
    let writer = Task { engine, options, stop: stop.clone(), health, live, ledger, current: false, sealed };
    tokio::join!(writer.run(asks), finisher.run(finishing, stop));
}

struct Task {
    engine: Arc<dyn LogEngine>,
    options: WriterOptions,
    stop: CancellationToken,
    health: watch::Sender<Health>,
    live: Arc<Live>,
    ledger: Ledger,
    /// Whether the ledger is known to be what the database has.
    current: bool,
    sealed: mpsc::Sender<PartitionId>,
}

/// What became of a transaction.
enum Outcome {
    Done,
    /// It did not happen and never will.
    Not(AppendError),
    /// Nobody knows.
    Unclear(String),
}

impl Task {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        // Readers want to see what is there before somebody appends.
        let _ = self.refresh(true).await;
        loop {
            let ask = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                ask = asks.recv() => ask,
            };
            let Some(ask) = ask else { break };
            self.round(ask, &mut asks).await;
        }
        // What waits already is kept, as long as the database takes it at once.
        asks.close();
        while let Some(ask) = asks.recv().await {
            self.round(ask, &mut asks).await;
        }
    }

    /// Takes what waits, and deals with it.
    async fn round(&mut self, first: Ask, asks: &mut mpsc::Receiver<Ask>) {
        let mut groups: Vec<(Class, Vec<Pending>)> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        let mut next = Some(first);
        let mut other = None;
        while let Some(ask) = next.take() {
            match ask {
                Ask::Append(pending) => {
                    rows += pending.append.entries.len();
                    bytes += pending.append.entries.iter().map(NewEntry::weight).sum::<usize>();
                    match groups.iter_mut().find(|(class, _)| *class == pending.append.class) {
                        Some((_, group)) => group.push(*pending),
                        None => groups.push((pending.append.class.clone(), vec![*pending])),
                    }
                    if rows < GROUP.0 && bytes < GROUP.1 {
                        next = further(asks).await;
                    }
                }
                Ask::Cursor(..) | Ask::Queue(..) | Ask::Roll(..) => other = Some(ask),
            }
        }
        for (class, group) in groups {
            self.write(&class, group).await;
        }
        match other {
            Some(Ask::Cursor(service, answer)) if self.refresh(false).await.is_ok() => {
                let _ = answer.send(self.ledger.cursor(&service));
            }
            Some(Ask::Queue(answer)) if self.refresh(false).await.is_ok() => {
                let _ = answer.send(self.ledger.queue());
            }
            Some(Ask::Roll(class, answer)) => {
                let _ = answer.send(self.roll(&class).await);
            }
            // An answer that is dropped says that the writer ends.
            Some(Ask::Cursor(..) | Ask::Queue(..) | Ask::Append(_)) | None => {}
        }
    }

    /// Writes the appends of one class, in as many transactions as it takes.
    async fn write(&mut self, class: &Class, group: Vec<Pending>) {
        let ready = self.refresh(false).await;
        let mut appends: VecDeque<Append> = VecDeque::with_capacity(group.len());
        let mut waiting = VecDeque::with_capacity(group.len());
        for pending in group {
            if !pending.claimed.swap(true, Ordering::AcqRel) {
                appends.push_back(pending.append);
                waiting.push_back((pending.answer, pending._room));
            }
        }
        let mut fault = ready.err();
        if fault.is_none() && matches!(self.ledger.knows(class), (CLASSES.., false)) {
            fault = Some(AppendError::Class(class.0.clone()));
        }
        while fault.is_none() && !appends.is_empty() {
            match self.ledger.plan(class, &mut appends, (self.options.clock)()) {
                Step::Open(partition, seal) => fault = self.open(*partition, seal).await.err(),
                Step::Write(planned) => {
                    let answers = self.carry_out(*planned).await;
                    for ((answer, _room), result) in waiting.drain(..answers.len()).zip(answers) {
                        // Who left does not want to know.
                        let _ = answer.send(result);
                    }
                    if !self.current {
                        fault = self.refresh(false).await.err();
                    }
                }
            }
        }
        let Some(fault) = fault else { return };
        for (answer, _room) in waiting {
            let _ = answer.send(Err(fault.clone()));
        }
    }

    async fn carry_out(&mut self, planned: Planned) -> Vec<Result<Receipt, AppendError>> {
        let Planned { commit, answers } = planned;
        let Some(mut commit) = commit else { return answers };
        let fault = match self.commit(&commit).await {
            Outcome::Done => {
                if let Some(partition) = self.ledger.committed(&mut commit) {
                    self.live.committed(partition, commit.entries, &commit.counts);
                }
                return answers;
            }
            Outcome::Not(fault) => fault,
            Outcome::Unclear(why) => AppendError::Unclear { why },
        };
        self.current = false;
        answers.iter().map(|_| Err(fault.clone())).collect()
    }

    /// Asks for one transaction until it is known what became of it.
    async fn commit(&mut self, commit: &Commit) -> Outcome {
        let mut pause = self.options.retry.0;
        for tried in 1.. {
            let error = match self.engine.commit(commit).await {
                Ok(()) => {
                    self.well();
                    return Outcome::Done;
                }
                Err(error) => error,
            };
            if error.passes() {
                // Asked again as it is, whatever comes: only so does its number tell whether it happened.
                if !self.wait(&error, &mut pause).await {
                    return Outcome::Unclear(error.to_string());
                }
                continue;
            }
            let state = self.state(&commit.class, &mut pause).await;
            let number_taken = matches!(error, EngineError::NotNext { .. });
            return match state {
                Ok(state) => judge(commit, tried, number_taken, state.as_ref(), &error),
                Err(why) => Outcome::Unclear(why),
            };
        }
        Outcome::Unclear("the database was asked too often".to_owned())
    }

    async fn state(&mut self, class: &Class, pause: &mut Duration) -> Result<Option<ClassState>, String> {
        loop {
            match self.engine.classes().await {
                Ok(classes) => {
                    self.well();
                    return Ok(classes.into_iter().find(|state| state.class == *class));
                }
                Err(error) if error.passes() && self.wait(&error, pause).await => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn open(&mut self, new: Partition, seal: Option<(PartitionId, Seal)>) -> Result<(), AppendError> {
        let mut pause = self.options.retry.0;
        while let Err(error) = self.engine.open_partition(&new, seal).await {
            // It may have happened, or something else has: the database knows.
            let open = match self.state(&new.class, &mut pause).await {
                Ok(state) => state.and_then(|state| state.open),
                Err(why) => return Err(self.forget(why)),
            };
            if open == Some(new.id) {
                break;
            }
            if !error.passes() {
                return Err(self.forget(error.to_string()));
            }
            if !self.wait(&error, &mut pause).await {
                return Err(AppendError::Closed);
            }
        }
        self.well();
        if let Some((id, _)) = seal {
            // Full: it is finished at the next start; until then it is merely slower.
            let _ = self.sealed.try_send(id);
        }
        self.live.opened(new.clone(), seal);
        self.ledger.opened(new);
        Ok(())
    }

    async fn roll(&mut self, class: &Class) -> Result<bool, AppendError> {
        self.refresh(false).await?;
        match self.ledger.roll(class, (self.options.clock)()) {
            Some((new, seal)) => self.open(new, seal).await.map(|()| true),
            None => Ok(false),
        }
    }

    fn forget(&mut self, why: String) -> AppendError {
        self.current = false;
        AppendError::Failed(why)
    }

    /// Reads what the database has, if that is not known.
    async fn refresh(&mut self, first: bool) -> Result<(), AppendError> {
        let mut pause = self.options.retry.0;
        while !self.current {
            match self.load(first).await {
                Ok(()) => self.current = true,
                // At the start nothing can go on without, whatever the reason is.
                Err(error) if error.passes() || first => {
                    if !self.wait(&error, &mut pause).await {
                        return Err(AppendError::Closed);
                    }
                }
                Err(error) => return Err(AppendError::Failed(error.to_string())),
            }
        }
        self.well();
        Ok(())
    }

    async fn load(&mut self, first: bool) -> Result<(), EngineError> {
        let classes = self.engine.classes().await?;
        let partitions = self.engine.partitions().await?;
        let ledger = Ledger::load(self.engine.instance(), self.options.roll, classes, &partitions);
        let mut open = Vec::new();
        for partition in ledger.open() {
            let counts = self.engine.counts(partition.id, i64::MIN, i64::MAX).await?;
            open.push((partition.id, Minutes::of(&counts)));
        }
        if first {
            self.unfinished(&partitions);
        }
        self.ledger = ledger;
        self.live.replace(partitions, open);
        Ok(())
    }

    /// The process before may have ended before it finished the last partitions that it sealed.
    fn unfinished(&self, partitions: &[Partition]) {
        let own = |p: &&Partition| p.id.instance == self.engine.instance() && p.seal.is_some();
        let mut sealed: Vec<&Partition> = partitions.iter().filter(own).collect();
        sealed.sort_by(|a, b| (&a.class, b.id).cmp(&(&b.class, a.id)));
        for of_class in sealed.chunk_by(|a, b| a.class == b.class) {
            for partition in of_class.iter().take(2) {
                let _ = self.sealed.try_send(partition.id);
            }
        }
    }

    fn well(&self) {
        self.health.send_if_modified(|health| {
            let changes = *health != Health::Well;
            *health = Health::Well;
            changes
        });
    }

    /// Says that it stalls, and pauses. `false`: the writer ends.
    async fn wait(&self, error: &EngineError, pause: &mut Duration) -> bool {
        let now = (self.options.clock)();
        self.health.send_modify(|health| {
            let since = match health {
                Health::Stalled { since, .. } => *since,
                Health::Starting | Health::Well => {
                    tracing::warn!(%error, "the log cannot be written; it is tried again");
                    now
                }
            };
            *health = Health::Stalled { since, why: error.to_string() };
        });
        let until = Instant::now() + *pause;
        *pause = (*pause * 2).min(self.options.retry.1);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep_until(until) => true,
        }
    }
}

/// What waits by now. Those who were just answered are let in first: they ask for the next thing at once, and share the transaction. Nobody is waited for.
async fn further(asks: &mut mpsc::Receiver<Ask>) -> Option<Ask> {
    if let Ok(ask) = asks.try_recv() {
        return Some(ask);
    }
    tokio::task::yield_now().await;
    asks.try_recv().ok()
}

/// What became of a transaction that the database refused, by what it has then. The head tells ours from another's under the same number.
fn judge(
    commit: &Commit,
    tried: u32,
    number_taken: bool,
    state: Option<&ClassState>,
    error: &EngineError,
) -> Outcome {
    let reached = state.filter(|state| state.number >= commit.number);
    let asked_before = tried > 1 || !number_taken;
    match reached {
        Some(state)
            if state.number == commit.number
                && state.head == commit.head
                && (asked_before || !commit.entries.is_empty()) =>
        {
            Outcome::Done
        }
        Some(_) if asked_before => Outcome::Unclear(error.to_string()),
        // Another wrote under this number first; ours was refused as a whole.
        Some(_) | None if number_taken => Outcome::Not(AppendError::Later {
            after: Duration::from_secs(1),
            why: "another program writes under the same number, or an older transaction came late".to_owned(),
        }),
        // An earlier try may still be on its way.
        Some(_) | None if tried > 1 => Outcome::Unclear(error.to_string()),
        Some(_) | None => Outcome::Not(AppendError::Failed(error.to_string())),
    }
}
