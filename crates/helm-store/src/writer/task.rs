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
use super::sift::{self, Sifted, sift};
use super::{Append, AppendError, Ask, CLASSES, GROUP, Health, Pending, Receipt, Stall, WriterOptions};
use crate::commit::{ClassState, Commit};
use crate::counts::Minutes;
use crate::engine::{EngineError, LogEngine};
use crate::entry::NewEntry;
use crate::heavy::heavy;
use crate::id::PartitionId;
use crate::live::Live;
use crate::partition::{Class, Partition, Seal};

pub(super) async fn run(
    engine: Arc<dyn LogEngine>,
    options: WriterOptions,
    stop: CancellationToken,
    asks: mpsc::Receiver<Ask>,
    health: watch::Sender<Health>,
    live: Arc<Live>,
) {
    let (sealed, finishing) = mpsc::channel(1);
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
    /// Says that there may be something to finish; one word that waits is as good as many.
    sealed: mpsc::Sender<()>,
}

/// What became of a transaction.
enum Outcome {
    Done,
    /// It did not happen and never will.
    Not(AppendError),
    /// The database refused it, and it did not happen.
    Refused(EngineError),
    /// Nobody knows.
    Unclear(String),
}

impl Task {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        // Readers want to see what is there before somebody appends.
        let _ = self.refresh().await;
        let _ = self.sealed.try_send(());
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
            Some(Ask::Cursor(service, answer)) if self.refresh().await.is_ok() => {
                let _ = answer.send(self.ledger.cursor(&service));
            }
            Some(Ask::Queue(answer)) if self.refresh().await.is_ok() => {
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
        let ready = self.refresh().await;
        let mut bytes = 0;
        let mut appends: VecDeque<Append> = VecDeque::with_capacity(group.len());
        let mut waiting = VecDeque::with_capacity(group.len());
        for pending in group {
            if !pending.claimed.swap(true, Ordering::AcqRel) {
                bytes += pending.append.entries.iter().map(NewEntry::weight).sum::<usize>();
                appends.push_back(pending.append);
                waiting.push_back((pending.answer, pending._room));
            }
        }
        let mut fault = ready.err();
        if fault.is_none() && matches!(self.ledger.knows(class), (CLASSES.., false)) {
            fault = Some(AppendError::Class(class.0.clone()));
        }
        while fault.is_none() && !appends.is_empty() {
            let now = (self.options.clock)();
            match heavy(bytes, || self.ledger.plan(class, &mut appends, now)) {
                Step::Open(partition, seal) => fault = self.open(*partition, seal).await.err(),
                Step::Write(planned) => {
                    let answers = self.carry_out(*planned).await;
                    for ((answer, _room), result) in waiting.drain(..answers.len()).zip(answers) {
                        // Who left does not want to know.
                        let _ = answer.send(result);
                    }
                    if !self.current {
                        fault = self.refresh().await.err();
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
        let Planned { commit, mut answers, paired } = planned;
        let Some(mut commit) = commit else { return answers };
        let mut pause = self.options.retry.0;
        let fault = loop {
            match self.commit(&commit, &mut pause).await {
                Outcome::Done => {
                    self.well();
                    if let Some(partition) = self.ledger.committed(&mut commit, paired) {
                        self.live.committed(partition, commit.entries, &commit.counts);
                    }
                    return answers;
                }
                Outcome::Not(fault) => break fault,
                Outcome::Unclear(why) => break AppendError::Unclear { why },
                Outcome::Refused(error) => match sift(&*self.engine, &commit, &error).await {
                    Ok(Sifted::Poison(poison)) => {
                        tracing::error!("{}", sift::in_words(&commit.class, &poison));
                        commit = sift::replace(&self.ledger, commit, &poison);
                        sift::tell(&mut answers, &poison);
                    }
                    Ok(Sifted::Nothing | Sifted::Unknown) => {
                        if !self.wait(&error, &mut pause).await {
                            break AppendError::Closed;
                        }
                    }
                    Err(away) => {
                        if !self.wait(&away, &mut pause).await {
                            break AppendError::Closed;
                        }
                    }
                },
            }
        };
        self.current = false;
        answers.iter().map(|_| Err(fault.clone())).collect()
    }

    /// Asks for one transaction until it is known what became of it.
    async fn commit(&mut self, commit: &Commit, pause: &mut Duration) -> Outcome {
        // An earlier try may still be carried out: then it is asked for as it is, whatever comes, for only so does its number tell.
        let mut doubtful = false;
        loop {
            let error = match self.engine.commit(commit).await {
                Ok(()) => return Outcome::Done,
                Err(error) => error,
            };
            if let EngineError::NotNext { .. } = error {
                return match self.state(&commit.class, pause).await {
                    Some(state) => judge(commit, doubtful, state.as_ref(), &error),
                    None => Outcome::Unclear(error.to_string()),
                };
            }
            if let EngineError::Stale(why) = error {
                return match doubtful {
                    true => Outcome::Unclear(why),
                    false => Outcome::Not(AppendError::Later { after: Duration::from_secs(1), why }),
                };
            }
            if !error.passes() && (!doubtful || self.is_settled(commit).await) {
                return Outcome::Refused(error);
            }
            doubtful |= error.passes();
            if !self.wait(&error, pause).await {
                return Outcome::Unclear(error.to_string());
            }
        }
    }

    /// Whether no earlier try of this transaction can be carried out any more: trying it out waits for the lock that each try holds, and is the next
    /// one only if none came through.
    async fn is_settled(&self, commit: &Commit) -> bool {
        self.engine.try_out(&commit.clone_without_entries()).await.is_ok()
    }

    /// Where a class stands; `None`: the writer ends before that is known.
    async fn state(&mut self, class: &Class, pause: &mut Duration) -> Option<Option<ClassState>> {
        loop {
            match self.engine.classes().await {
                Ok(classes) => return Some(classes.into_iter().find(|state| state.class == *class)),
                Err(error) if self.wait(&error, pause).await => {}
                Err(_) => return None,
            }
        }
    }

    async fn open(&mut self, new: Partition, seal: Option<(PartitionId, Seal)>) -> Result<(), AppendError> {
        let mut pause = self.options.retry.0;
        while let Err(error) = self.engine.open_partition(&new, seal).await {
            // It may have happened, or something else has: the database knows.
            let open = match self.state(&new.class, &mut pause).await {
                Some(state) => state.and_then(|state| state.open),
                None => return Err(AppendError::Closed),
            };
            // The one before is perhaps not sealed yet: until it is, it gets no indexes and never goes. Where asking again does not help, the next
            // start seals it.
            if open == Some(new.id) && !(seal.is_some() && error.passes()) {
                break;
            }
            if let EngineError::Stale(why) = error {
                self.current = false;
                return Err(AppendError::Later { after: Duration::from_secs(1), why });
            }
            if !self.wait(&error, &mut pause).await {
                return Err(AppendError::Closed);
            }
        }
        self.well();
        if seal.is_some() {
            let _ = self.sealed.try_send(());
        }
        self.live.opened(new.clone(), seal);
        self.ledger.opened(new);
        Ok(())
    }

    async fn roll(&mut self, class: &Class) -> Result<bool, AppendError> {
        self.refresh().await?;
        match self.ledger.roll(class, (self.options.clock)()) {
            Some((new, seal)) => self.open(new, seal).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Reads what the database has, if that is not known: nothing can go on without.
    async fn refresh(&mut self) -> Result<(), AppendError> {
        let mut pause = self.options.retry.0;
        while !self.current {
            match self.load().await {
                Ok(()) => {
                    self.current = true;
                    self.well();
                }
                Err(error) => {
                    if !self.wait(&error, &mut pause).await {
                        return Err(AppendError::Closed);
                    }
                }
            }
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<(), EngineError> {
        let classes = self.engine.classes().await?;
        let partitions = self.engine.partitions().await?;
        let ledger = Ledger::load(self.engine.instance(), self.options.roll, classes, &partitions);
        let mut open = Vec::new();
        for partition in ledger.open() {
            let counts = self.engine.counts(partition.id, i64::MIN, i64::MAX).await?;
            open.push((partition.id, Minutes::of(&counts)));
        }
        self.ledger.reload(ledger);
        self.live.replace(partitions, open);
        Ok(())
    }

    fn well(&self) {
        self.health.send_if_modified(|health| {
            let changes = *health != Health::Well;
            if matches!(health, Health::Stalled { .. }) {
                tracing::info!("the log is written again");
            }
            *health = Health::Well;
            changes
        });
    }

    /// Says that it stalls, and pauses. `false`: the writer ends.
    async fn wait(&self, error: &EngineError, pause: &mut Duration) -> bool {
        let now = (self.options.clock)();
        let stall = Stall::of(error);
        self.health.send_modify(|health| {
            let since = match health {
                Health::Stalled { since, stall: before, .. } if *before == stall => *since,
                Health::Stalled { .. } | Health::Starting | Health::Well => {
                    tracing::warn!(%error, "the log cannot be written; it is tried again");
                    now
                }
            };
            *health = Health::Stalled { since, stall, why: error.to_string() };
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

/// What became of a transaction whose number is taken, by what the database has. The head tells ours from another's under the same number.
fn judge(commit: &Commit, doubtful: bool, state: Option<&ClassState>, error: &EngineError) -> Outcome {
    match state.filter(|state| state.number >= commit.number) {
        Some(state)
            if state.number == commit.number
                && state.head == commit.head
                && (doubtful || !commit.entries.is_empty()) =>
        {
            Outcome::Done
        }
        Some(_) if doubtful => Outcome::Unclear(error.to_string()),
        // Another wrote under this number first; ours was refused as a whole.
        Some(_) | None => Outcome::Not(AppendError::Later {
            after: Duration::from_secs(1),
            why: "another program writes under the same number, or an older transaction came late".to_owned(),
        }),
    }
}
