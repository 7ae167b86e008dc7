//! Streams of status and events. They hold no queue: each reader is told the newest state when it can take it.

use std::collections::BTreeMap;
use std::sync::Arc;

use helm_core::event::Change;
use helm_core::name::ServiceName;
use helm_core::status::ServiceStatus;
use helm_core::time::Mono;
use helm_proto::convert;
use helm_proto::v1::{self, EventRecord, EventsRequest, WatchStatusResponse};
use helm_store::history::EventFilter;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::seen::Sight;
use crate::clock;
use crate::journal::{Entry, Journal};
use crate::sample::{self, Sampler};
use crate::store::{Store, history};
use crate::supervisor::FleetView;

/// Events from the past where the caller does not say.
const DEFAULT_EVENTS: u32 = 100;
/// Events handed over at once.
const BATCH: usize = 64;

/// What of the fleet is told to whom.
pub(super) struct Asked {
    /// Empty: all.
    pub names: Vec<String>,
    /// New samples are changes, too.
    pub numbers: bool,
    /// How much of each.
    pub(super) sight: Sight,
}

/// Sends everything, then changes; ends when the reader or helmd leaves. `sink` has room for one message: while the
/// reader does not take it, changes gather in the fleet's view, and what was passed over is counted.
pub(super) async fn statuses(
    mut fleet: watch::Receiver<Arc<FleetView>>,
    sampler: Sampler,
    Asked { names, numbers, sight }: Asked,
    sink: mpsc::Sender<Result<WatchStatusResponse, Status>>,
) {
    let mut told: BTreeMap<ServiceName, u64> = BTreeMap::new();
    let (mut complete, mut hold) = (true, false);
    let mut samples = sampler.subscribe();
    loop {
        // Room first, then the newest view: nothing stale is ever sent.
        let Ok(room) = sink.reserve().await else { return };
        let view = fleet.borrow_and_update().clone();
        let sampled = numbers && samples.has_changed().unwrap_or(false);
        samples.mark_unchanged();
        let now = clock::mono();
        let mut message = WatchStatusResponse { complete, hold: view.hold, ..Default::default() };
        for status in &view.services {
            if !names.is_empty() && !names.iter().any(|n| n == status.name.as_str()) {
                continue;
            }
            if !sight.holds(status.name.as_str()) {
                continue;
            }
            let former = told.insert(status.name.clone(), status.revision);
            match former {
                Some(former) if former == status.revision && !(sampled && status.pid.is_some()) => continue,
                Some(former) => message.missed += status.revision.saturating_sub(former + 1),
                None => {}
            }
            message.services.extend(sight.status(shown(status, now, &sampler)));
        }
        let worth_sending = complete || !message.services.is_empty() || hold != view.hold;
        (complete, hold) = (false, view.hold);
        if worth_sending {
            room.send(Ok(message));
        }
        tokio::select! {
            changed = fleet.changed() => if changed.is_err() { return },
            Ok(()) = samples.changed(), if numbers => samples.mark_changed(),
            () = sink.closed() => return,
        }
    }
}

/// A status with what was sampled of it.
pub fn shown(status: &ServiceStatus, now: Mono, sampler: &Sampler) -> v1::ServiceStatus {
    let usage = sampler.usage(status);
    v1::ServiceStatus {
        cpu_percent: usage.and_then(|u| u.cpu_percent),
        memory_bytes: usage.map(|u| u.memory_bytes),
        uptime_seconds: sample::uptime(status, clock::wall()).map(|up| up.as_secs()),
        ..convert::service_status(status, now)
    }
}

/// Sends events of a range, oldest first, and says before them why older ones may be missing.
pub async fn past(
    journal: Journal,
    store: Store,
    request: EventsRequest,
    sink: mpsc::Sender<Result<EventRecord, Status>>,
) {
    let filter = EventFilter {
        services: request.names,
        kind: None,
        since: request.since.as_ref().map(convert::nanos),
        until: request.until.as_ref().map(convert::nanos),
        before: request.before,
        limit: request.last.unwrap_or(DEFAULT_EVENTS),
    };
    let (events, incomplete) = history::past(&journal, &store, filter).await;
    let notice = incomplete.map(|incomplete| EventRecord { incomplete, ..EventRecord::default() });
    for record in notice.into_iter().chain(events.iter().map(|entry| record(entry, 0))) {
        if sink.send(Ok(record)).await.is_err() {
            return;
        }
    }
}

/// Sends the newest events, or those after the number that was named, then (`follow`) what happens.
pub async fn events(
    journal: Journal,
    request: EventsRequest,
    sink: mpsc::Sender<Result<EventRecord, Status>>,
) {
    let EventsRequest { names, last, follow, after, mark, .. } = request;
    let wanted = |change: &Change| names.is_empty() || names.iter().any(|n| n == change.service.as_str());
    let mut newest = journal.subscribe();
    // History is told as it is in memory; what is followed, only when the next helmd will know it as well.
    let mut upto = *newest.borrow_and_update();
    if !follow {
        upto = journal.newest();
    }
    let mut at = match after {
        Some(after) => journal.known(after),
        None => {
            let n = usize::try_from(last.unwrap_or(DEFAULT_EVENTS)).unwrap_or(usize::MAX);
            for entry in journal.last(n, upto, wanted) {
                if sink.send(Ok(record(&entry, 0))).await.is_err() {
                    return;
                }
            }
            upto
        }
    };
    if follow && mark && sink.send(Ok(EventRecord { id: at, ..EventRecord::default() })).await.is_err() {
        return;
    }
    // Told with the next event that is wanted, which may be in a later batch.
    let mut missed = 0;
    loop {
        let (gap, batch) = journal.after(at, upto, BATCH);
        if batch.is_empty() {
            if !follow {
                return;
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = sink.closed() => return,
            }
            upto = *newest.borrow_and_update();
            continue;
        }
        missed += gap;
        for entry in batch {
            at = entry.id;
            if wanted(&entry.change)
                && sink.send(Ok(record(&entry, std::mem::take(&mut missed)))).await.is_err()
            {
                return;
            }
        }
    }
}

fn record(entry: &Entry, missed: u64) -> EventRecord {
    EventRecord { missed, ..convert::event_record(entry.id, &entry.change) }
}
