//! Numbers, states and events of one instance, as they are: under their keys, so that doing it again changes nothing.

use std::collections::BTreeMap;

use super::TransferError;
use crate::history::{EventFilter, HistoryEngine};
use crate::metrics::engine::{Batch, MetricEngine, SeriesId, SeriesKey, Tier};

/// Rows of one transaction.
const ROWS: usize = 5_000;
/// Events of one page.
const PAGE: u32 = 1_000;

/// What was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Brought {
    /// Series of numbers.
    pub series: usize,
    /// Their minutes and hours.
    pub steps: u64,
    /// Events.
    pub events: u64,
}

/// Brings numbers, and reads them back.
pub async fn numbers(from: &dyn MetricEngine, to: &dyn MetricEngine) -> Result<Brought, TransferError> {
    let there: BTreeMap<SeriesId, SeriesKey> = to.series().await?.into_iter().collect();
    let all = from.series().await?;
    // Put aside before, by a run that was killed afterwards: all of it was brought.
    if all.is_empty() {
        return Ok(Brought::default());
    }
    if all.iter().any(|(id, key)| there.get(id).is_some_and(|has| has != key)) || there.len() > all.len() {
        return Err(TransferError::Numbers("has other series already: move before helmd writes there"));
    }
    let mut brought = Brought { series: all.len(), ..Brought::default() };
    for (id, key) in all {
        to.put(&Batch { series: vec![(id, key)], ..Batch::default() }).await?;
        let blocks = from.blocks(id, i64::MIN, i64::MAX).await?;
        for blocks in blocks.chunks(ROWS) {
            to.put(&Batch { blocks: blocks.to_vec(), ..Batch::default() }).await?;
        }
        let mut same = to.blocks(id, i64::MIN, i64::MAX).await? == blocks;
        for tier in [Tier::Minute, Tier::Hour] {
            let steps = from.rollups(id, tier, i64::MIN, i64::MAX).await?;
            brought.steps += steps.len() as u64;
            for steps in steps.chunks(ROWS) {
                let rows = steps.iter().map(|step| (id, *step)).collect();
                let batch = match tier {
                    Tier::Minute => Batch { minutes: rows, ..Batch::default() },
                    Tier::Hour => Batch { hours: rows, ..Batch::default() },
                };
                to.put(&batch).await?;
            }
            same &= to.rollups(id, tier, i64::MIN, i64::MAX).await? == steps;
        }
        if !same {
            return Err(TransferError::Numbers("did not keep all numbers as they were sent: try again"));
        }
    }
    Ok(brought)
}

/// Brings states and events, and reads them back. Answers with the number of events.
pub async fn history(from: &dyn HistoryEngine, to: &dyn HistoryEngine) -> Result<u64, TransferError> {
    to.put_status(&from.states().await?).await?;
    let mut page = EventFilter { limit: PAGE, ..EventFilter::default() };
    let mut events = 0;
    loop {
        let rows = from.events(&page).await?;
        let Some(last) = rows.last() else { return Ok(events) };
        to.put_events(&rows).await?;
        if to.events(&page).await? != rows {
            return Err(TransferError::Numbers("has other events already: move before helmd writes there"));
        }
        (page.before, events) = (Some(last.id), events + rows.len() as u64);
    }
}
