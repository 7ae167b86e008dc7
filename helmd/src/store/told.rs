//! What people are told of a store that does not take what comes: an alert while it lasts, and events when it begins and ends.

use std::convert::Infallible;
use std::time::Duration;

use helm_core::event::{Change, ChangeKind};
use helm_core::name::ServiceName;
use helm_shim::cri;
use helm_store::entry::HELM;
use helm_store::queue::QueueStatus;
use helm_store::writer::Health;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Local, State, Store};
use crate::clock;
use crate::journal::Journal;

/// What is over sooner is no event: a connection that broke is made anew within it.
const LASTS: Duration = Duration::from_secs(1);

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    /// `ok`, `away`, `full`, `refused`, `closed`
    word: &'static str,
    /// What the database says.
    cause: String,
    /// Nanoseconds since 1970.
    since: i64,
}

impl Condition {
    fn ok() -> Self {
        Self { word: "ok", cause: String::new(), since: 0 }
    }

    fn of(state: &State, health: Option<&Health>) -> Self {
        match (state, health) {
            (State::Closed { since, why: Some(why) }, _) => {
                Self { word: "closed", cause: why.clone(), since: *since }
            }
            (State::Open(_), Some(Health::Stalled { since, stall, why })) => {
                Self { word: stall.word(), cause: why.clone(), since: *since }
            }
            _ => Self::ok(),
        }
    }
}

impl Store {
    fn condition(&self) -> Condition {
        let state = self.state();
        let health = match &state {
            State::Open(opened) => Some(opened.writer.health().borrow().clone()),
            State::Closed { .. } => None,
        };
        Condition::of(&state, health.as_ref())
    }

    /// What must not be overlooked; nothing where all is well.
    pub fn alerts(&self) -> Vec<String> {
        let mut alerts: Vec<String> = self.outage(&self.condition()).into_iter().collect();
        if let State::Open(opened) = self.state() {
            alerts.extend(opened.lost.told());
        }
        alerts.extend(self.unreadable());
        alerts
    }

    fn outage(&self, condition: &Condition) -> Option<String> {
        let Condition { word, cause, since } = condition;
        let waits = self.meanwhile();
        (*word != "ok").then(|| {
            format!(
                "the log is not stored since {} ({word}): {cause}. {waits}; helmctl db status",
                stamp(*since)
            )
        })
    }

    /// Where that is which the log has not got yet.
    pub fn meanwhile(&self) -> String {
        let sent = match self.waiting() {
            Some(waiting) if waiting.full.is_some() => "; the local queue takes nothing more".to_owned(),
            Some(waiting) => format!("; {} appends wait in the local queue", waiting.appends),
            None => String::new(),
        };
        format!("Services go on, their output waits in logs/{sent}")
    }

    /// What an answer lacks that is read from the log now.
    pub fn unstored(&self) -> Option<String> {
        let draining = || {
            let appends = self.waiting().map_or(0, |waiting| waiting.appends);
            (appends > 0).then(|| {
                format!("{appends} appends wait in the local queue: they are on their way into the log")
            })
        };
        self.outage(&self.condition()).or_else(draining)
    }

    /// For whoever follows the log of an open store.
    pub fn outages(&self, health: watch::Receiver<Health>) -> Outages {
        Outages { store: self.clone(), health, told: Condition::ok(), due: None }
    }

    /// What was acknowledged, waited locally, and cannot be read.
    pub fn unreadable(&self) -> Vec<String> {
        let Some(QueueStatus { bad, lost, .. }) = self.waiting() else { return Vec::new() };
        let times = |times: u64| if times > 1 { format!(" ({times} times so far)") } else { String::new() };
        let lost = lost.map(|lost| format!("{}{}", lost.words, times(lost.times)));
        (bad > 0).then(|| unreadable(bad)).into_iter().chain(lost).collect()
    }

    /// Records what becomes of the store, until it is dropped.
    pub async fn tell(&self, journal: &Journal) {
        tokio::select! {
            () = self.tell_conditions(journal) => {}
            never = self.tell_unreadable(journal) => match never {},
        }
    }

    async fn tell_unreadable(&self, journal: &Journal) -> Infallible {
        let mut local = self.queue.clone();
        let known = local.wait_for(|local| !matches!(local, Local::Closed)).await;
        let known = known.map(|local| local.clone());
        // There is none, or helmd leaves.
        let Ok(Local::Open(queue)) = known else { return std::future::pending().await };
        let (mut told, mut times, mut status) = (0, 0, queue.watch());
        let count = |status: &QueueStatus| status.lost.as_ref().map_or(0, |lost| lost.times);
        loop {
            let news = status.wait_for(|status| status.bad > told || count(status) > times).await;
            let Ok(now) = news.map(|status| status.clone()) else { return std::future::pending().await };
            if let Some(lost) = now.lost.as_ref().filter(|lost| lost.times > times) {
                record(journal, "ok", "damaged", &lost.words);
                times = lost.times;
            }
            if now.bad > told {
                record(journal, "ok", "unreadable", &unreadable(now.bad));
            }
            // A fresh file has none.
            told = now.bad;
        }
    }

    async fn tell_conditions(&self, journal: &Journal) {
        let mut state = self.state.clone();
        let mut told = Condition::ok();
        let mut lost = 0;
        loop {
            let now = state.borrow_and_update().clone();
            let mut health = match &now {
                State::Open(opened) => {
                    opened.lost.behind(lost).for_each(|lost| record(journal, "ok", "damaged", lost));
                    lost = opened.lost.count();
                    Some(opened.writer.health())
                }
                State::Closed { .. } => None,
            };
            let found = Condition::of(
                &now,
                health.as_mut().map(|health| health.borrow_and_update().clone()).as_ref(),
            );
            if found.word != told.word {
                if found.word != "ok" {
                    sleep_until(Instant::now() + LASTS).await;
                }
                let found = self.condition();
                if found.word != told.word {
                    let cause = if found.word == "ok" { over(&told) } else { found.cause.clone() };
                    record(journal, told.word, found.word, &cause);
                    told = found;
                }
                continue;
            }
            if changed(&mut state, health).await.is_none() {
                return;
            }
        }
    }
}

/// When nothing can come, and when it comes again.
pub struct Outages {
    store: Store,
    health: watch::Receiver<Health>,
    told: Condition,
    /// When what has changed is told, if it still holds then.
    due: Option<Instant>,
}

impl Outages {
    /// The next one in words. Dropped before its answer, it loses nothing, and is answered no later.
    pub async fn next(&mut self) -> String {
        loop {
            self.health.borrow_and_update();
            if self.store.condition().word == self.told.word {
                self.due = None;
            } else {
                sleep_until(*self.due.get_or_insert_with(|| Instant::now() + LASTS)).await;
                self.due = None;
                let found = self.store.condition();
                if found.word != self.told.word {
                    let words = self.store.outage(&found).unwrap_or_else(|| over(&self.told));
                    self.told = found;
                    return words;
                }
            }
            if self.health.changed().await.is_err() {
                // Its store is closed: whoever follows is told of that.
                return std::future::pending().await;
            }
        }
    }
}

/// `None`: helmd leaves.
async fn changed(state: &mut watch::Receiver<State>, health: Option<watch::Receiver<Health>>) -> Option<()> {
    let Some(mut health) = health else { return state.changed().await.ok() };
    tokio::select! {
        changed = state.changed() => changed.ok(),
        // The writer of a store that is closed is gone: the state tells of it.
        Ok(()) = health.changed() => Some(()),
    }
}

fn unreadable(bad: u64) -> String {
    format!(
        "{bad} batch(es) that waited in the local queue cannot be read and are not in the log: they are kept in instance/store/queue.db, table bad (a newer Helm may have written them: start that one, then move the rows to the table waiting)"
    )
}

fn over(told: &Condition) -> String {
    let seconds = clock::wall().0.saturating_sub(told.since) / 1_000_000_000;
    format!("the log is stored again, after {} s", seconds.max(0))
}

fn record(journal: &Journal, from: &str, to: &str, cause: &str) {
    let Ok(service) = ServiceName::new(HELM) else { return };
    journal.record(Change {
        at: clock::wall(),
        service,
        kind: ChangeKind::Store,
        from: from.to_owned(),
        to: to.to_owned(),
        cause: cause.to_owned(),
        run: None,
        pid: None,
        exit: None,
    });
}

/// `2026-11-30 20:15:01 UTC`
pub(crate) fn stamp(at: i64) -> String {
    let stamp = cri::stamp(helm_core::time::Wall(at));
    let text = String::from_utf8_lossy(&stamp);
    format!("{} UTC", text.get(..19).unwrap_or_default().replace('T', " "))
}
