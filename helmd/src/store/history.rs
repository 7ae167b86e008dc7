//! States and events into the store: the journal is followed by number, the fleet by its view.
//!
//! Nothing is lost while the store is away: the journal keeps events in memory and in its file, and the newest state is
//! all that a state is.

use std::sync::Arc;
use std::time::Duration;

use helm_core::event::ChangeKind;
use helm_core::incident::Incident;
use helm_core::status::{Health, ServiceStatus};
use helm_store::engine::EngineError;
use helm_store::history::{EventFilter, EventRow, HistoryEngine, StatusRow};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::open::in_words;
use super::{Opened, Store};
use crate::clock;
use crate::incident::shelf::{Shelf, Wanted};
use crate::journal::{Entry, Journal};
use crate::sample::Sampler;
use crate::supervisor::{FleetView, Supervisor};
use crate::work;

/// Events of one transaction.
const BATCH: usize = 256;
/// Incidents that are read at once: each may have some KiB.
const INCIDENTS: u32 = 100;
/// So often, at most: who asks for what lies further back hears that, and is not kept waiting.
const ROUNDS: u32 = 100;
/// After a failure.
const RETRY: Duration = Duration::from_secs(5);
/// Changes of states within this time are written together.
const GATHER: Duration = Duration::from_secs(1);
/// All states are written at least so often: with their numbers, and to say that somebody looked.
const STATES: Duration = Duration::from_secs(60);
/// Between two rounds of forgetting.
const FORGET: Duration = Duration::from_secs(3600);

/// What keeps the history.
#[derive(Debug)]
pub struct History {
    /// Where to.
    pub store: Store,
    /// Events.
    pub journal: Journal,
    /// The incidents that some of them tell.
    pub shelf: Shelf,
    /// States.
    pub supervisor: Supervisor,
    /// Their numbers.
    pub sampler: Sampler,
    /// How long events are kept; `None`: for ever.
    pub age: Option<Duration>,
}

impl History {
    /// Works until it is dropped.
    pub async fn run(self) {
        let Self { store, journal, shelf, supervisor, sampler, age } = &self;
        let work = |opened: Arc<Opened>| async move {
            let engine = &*opened.history;
            tokio::join!(
                events(engine, journal, shelf),
                states(engine, supervisor, sampler),
                forget(engine, *age),
            );
        };
        store.while_open(work).await;
    }
}

/// Tells once that something fails, and once that it goes on.
#[derive(Debug)]
struct Fault {
    what: &'static str,
    failing: bool,
}

impl Fault {
    fn of(what: &'static str) -> Self {
        Self { what, failing: false }
    }

    fn note<T>(&mut self, result: Result<T, EngineError>) -> Option<T> {
        match result {
            Ok(done) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("{} are stored again", self.what);
                }
                Some(done)
            }
            Err(e) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("{} are not stored, which is tried again: {}", self.what, in_words(&e));
                }
                None
            }
        }
    }
}

async fn events(engine: &dyn HistoryEngine, journal: &Journal, shelf: &Shelf) {
    let mut fault = Fault::of("events");
    let mut newest = journal.subscribe();
    let stored = loop {
        match fault.note(engine.last_event().await) {
            Some(stored) => break stored,
            None => sleep_until(Instant::now() + RETRY).await,
        }
    };
    let mut at = journal.known(stored);
    journal.rise_above(stored);
    loop {
        // Only what the next helmd will know as well: else a number might be given twice.
        let upto = *newest.borrow_and_update();
        let (missed, batch) = journal.after(at, upto, BATCH);
        let Some(last) = batch.last().map(|entry| entry.id) else {
            if newest.changed().await.is_err() {
                return;
            }
            continue;
        };
        if missed > 0 && at > 0 {
            tracing::warn!(
                "{missed} events are not in memory any more and go into no store; raise events_kept"
            );
        }
        let (rows, bare) = rows(shelf, batch).await;
        match fault.note(engine.put_events(&rows).await) {
            Some(()) => {
                at = last;
                if bare > 0 {
                    tracing::warn!("{}", lost_evidence(bare));
                }
            }
            None => sleep_until(Instant::now() + RETRY).await,
        }
    }
}

/// The shelf is bounded: what it gave up while the store was away is nowhere any more.
fn lost_evidence(incidents: usize) -> String {
    format!(
        "the store has no evidence of {incidents} incident(s): they had gone from instance/incidents before it could take them"
    )
}

/// As they are stored: an incident's event holds all of it. The second value counts those that could not be found.
async fn rows(shelf: &Shelf, batch: Vec<Entry>) -> (Vec<EventRow>, usize) {
    if batch.iter().all(|entry| entry.change.kind != ChangeKind::Incident) {
        return (batch.iter().filter_map(|entry| row(entry, None)).collect(), 0);
    }
    let shelf = shelf.clone();
    let read = move || {
        let mut bare = 0;
        let mut of = |entry: &Entry| {
            if entry.change.kind != ChangeKind::Incident {
                return None;
            }
            let incident = entry.change.to.parse().ok().and_then(|number| shelf.get(number));
            bare += usize::from(incident.is_none());
            incident
        };
        let rows = batch.iter().filter_map(|entry| row(entry, of(entry))).collect();
        Ok((rows, bare))
    };
    work::STORE.run(read).await.unwrap_or_default()
}

/// An event as it lies in the store.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    entry: Entry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incident: Option<Incident>,
}

fn row(entry: &Entry, incident: Option<Incident>) -> Option<EventRow> {
    Some(EventRow {
        id: entry.id,
        at: entry.change.at.0,
        service: entry.change.service.to_string(),
        kind: entry.change.kind.as_str().to_owned(),
        body: serde_json::to_string(&Stored { entry: entry.clone(), incident }).ok()?,
    })
}

/// Events of the past, oldest first: from memory what is there, the rest from the store. The second value says why older
/// ones may be missing.
pub async fn past(journal: &Journal, store: &Store, filter: EventFilter) -> (Vec<Entry>, Option<String>) {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let wanted = |entry: &Entry| {
        let at = entry.change.at.0;
        (filter.services.is_empty() || filter.services.iter().any(|s| s == entry.change.service.as_str()))
            && filter.since.is_none_or(|since| since <= at)
            && filter.until.is_none_or(|until| at < until)
            && filter.before.is_none_or(|before| entry.id < before)
    };
    let (oldest, mut found) = journal.newest_where(limit, wanted);
    let all = oldest.as_ref().is_some_and(|oldest| oldest.id == 1 || filter.since > Some(oldest.change.at.0));
    if all || found.len() >= limit {
        return (found, None);
    }
    let rest = EventFilter {
        before: filter.before.into_iter().chain(oldest.map(|e| e.id)).min(),
        limit: filter.limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX)),
        ..filter
    };
    let stored = match store.opened() {
        Ok(opened) => opened.history.events(&rest).await.map_err(|e| in_words(&e)),
        Err(why) => Err(why),
    };
    match stored {
        Ok(rows) => {
            let mut older: Vec<Entry> =
                rows.iter().rev().filter_map(|row| serde_json::from_str(&row.body).ok()).collect();
            older.append(&mut found);
            (older, None)
        }
        Err(why) => (found, Some(format!("older events are in the store, which cannot be read: {why}"))),
    }
}

/// Incidents of the past, newest first: those below number `before`. The second value says why older ones may be missing.
pub async fn incidents(store: &Store, wanted: &Wanted) -> Result<(Vec<Incident>, Option<String>), String> {
    let opened = store.opened()?;
    look_through(&*opened.history, wanted).await
}

async fn look_through(
    engine: &dyn HistoryEngine,
    wanted: &Wanted,
) -> Result<(Vec<Incident>, Option<String>), String> {
    let (mut found, mut before) = (Vec::new(), None);
    for _ in 0..ROUNDS {
        let filter = EventFilter {
            services: wanted.names.clone(),
            kind: Some(ChangeKind::Incident.as_str().to_owned()),
            since: wanted.since,
            before,
            limit: INCIDENTS,
            ..EventFilter::default()
        };
        let rows = engine.events(&filter).await.map_err(|e| in_words(&e))?;
        let incident = |row: &EventRow| serde_json::from_str::<Stored>(&row.body).ok()?.incident;
        let below = |incident: &Incident| wanted.before.is_none_or(|before| incident.number < before);
        found.extend(rows.iter().filter_map(incident).filter(below).take(wanted.limit - found.len()));
        before = rows.last().map(|row| row.id);
        let whole = u32::try_from(rows.len()).is_ok_and(|rows| rows >= INCIDENTS);
        if !whole || found.len() >= wanted.limit {
            return Ok((found, None));
        }
    }
    let why = format!("only the newest {} incidents in the store were looked through", ROUNDS * INCIDENTS);
    Ok((found, Some(why)))
}

/// The part of a state that is worth a row of its own.
fn told(view: &FleetView) -> Vec<StatusRow> {
    view.services.iter().map(|s| status_row(s, 0, None)).collect()
}

async fn states(engine: &dyn HistoryEngine, supervisor: &Supervisor, sampler: &Sampler) {
    let mut fault = Fault::of("states of services");
    let mut fleet = supervisor.subscribe();
    loop {
        let view = fleet.borrow_and_update().clone();
        let now = clock::wall().0;
        let rows: Vec<StatusRow> =
            view.services.iter().map(|s| status_row(s, now, sampler.usage(s))).collect();
        let stored = fault.note(engine.put_status(&rows).await).is_some();
        let written = told(&view);
        let due = Instant::now() + if stored { STATES } else { RETRY };
        loop {
            tokio::select! {
                changed = fleet.changed() => if changed.is_err() { return },
                () = sleep_until(due) => break,
            }
            if stored && told(&fleet.borrow_and_update().clone()) != written {
                sleep_until(Instant::now() + GATHER).await;
                break;
            }
        }
    }
}

fn status_row(s: &Arc<ServiceStatus>, now: i64, usage: Option<crate::sample::reckon::Usage>) -> StatusRow {
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    StatusRow {
        service: s.name.to_string(),
        status: s.state.seed_word().to_owned(),
        pid: s.pid.and_then(|pid| i32::try_from(pid).ok()),
        port: s.port.map(i32::from),
        started_at: s.started_at.map(|at| at.0),
        checked_at: now,
        health: (s.health != Health::Unknown).then(|| s.health.as_str().to_owned()),
        health_message: Some(s.health_message.clone()).filter(|text| !text.is_empty()),
        cpu_percent: usage.and_then(|u| u.cpu_percent),
        memory_mb: usage.map(|u| mebibytes(u.memory_bytes)),
    }
}

async fn forget(engine: &dyn HistoryEngine, age: Option<Duration>) {
    let Some(age) = age else { return };
    let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    loop {
        match engine.forget_events(clock::wall().0.saturating_sub(age)).await {
            Ok(gone) => tracing::debug!(gone, "events that were too old are gone"),
            Err(e) => tracing::warn!("events that are too old could not be taken away: {}", in_words(&e)),
        }
        sleep_until(Instant::now() + FORGET).await;
    }
}

#[cfg(test)]
mod tests {
    use helm_store::engine::Answer;

    use super::*;

    /// A store whose incidents have no end, none of which can be read.
    #[derive(Debug)]
    struct Endless;

    impl HistoryEngine for Endless {
        fn events<'a>(&'a self, filter: &'a EventFilter) -> Answer<'a, Vec<EventRow>> {
            let newest = filter.before.unwrap_or(u64::MAX);
            let row = move |back: u32| EventRow {
                id: newest - u64::from(back) - 1,
                at: 0,
                service: "core".to_owned(),
                kind: ChangeKind::Incident.as_str().to_owned(),
                body: String::new(),
            };
            Box::pin(async move { Ok((0..filter.limit).map(row).collect()) })
        }

        fn put_status<'a>(&'a self, _: &'a [StatusRow]) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }
        fn states(&self) -> Answer<'_, Vec<StatusRow>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn put_events<'a>(&'a self, _: &'a [EventRow]) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }
        fn last_event(&self) -> Answer<'_, u64> {
            Box::pin(async { Ok(0) })
        }
        fn forget_events(&self, _: i64) -> Answer<'_, u64> {
            Box::pin(async { Ok(0) })
        }
    }

    #[tokio::test]
    async fn whoever_asks_for_what_lies_far_back_is_told_so() {
        let wanted = Wanted { limit: 20, ..Wanted::default() };
        let (found, why) = look_through(&Endless, &wanted).await.unwrap();
        assert_eq!(found.len(), 0);
        assert!(why.unwrap().contains("the newest 10000 incidents"));
    }
}
