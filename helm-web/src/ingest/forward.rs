//! Decoded entries to helmd: in pieces that it takes, each tried again while there is time, and kept once however often it is sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use helm_client::{ClientError, Reason};
use helm_ingest::answer::Outcome;
use helm_ingest::{Decoded, Record, Rejected};
use helm_proto::reason;
use helm_proto::v1::{AppendRequest, AppendResponse, NewLogEntry};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Once;
use super::sender::Sender;
use crate::app::App;
use crate::problem::{Problem, Result};

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// What is to be kept.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Who sent it.
    pub sender: &'a Sender,
    /// What was read of it.
    pub decoded: Decoded,
    /// How it is kept once.
    pub once: &'a Once,
}

/// Sends all of it.
///
/// # Errors
/// Nothing of it was kept. Where a later piece could not be, its entries are told as rejected.
pub async fn all(app: &App, batch: Batch<'_>, until: Instant) -> Result<Outcome> {
    let Batch { sender, decoded, once } = batch;
    let service = sender.service_of(&decoded.service).to_owned();
    let mut outcome = Outcome { total: decoded.total, ingested: 0, rejected: decoded.rejected };
    let mut records = decoded.records;
    records.iter_mut().for_each(|record| sender.mark(record));
    let mut pieces = Decoded::pieces(records).peekable();
    let mut sequence = once.sequence.clone();
    let mut kept_some = false;
    while let Some(piece) = pieces.next() {
        if sequence.is_some() && (kept_some || pieces.peek().is_some()) {
            return Err(Problem::bad_request(
                "a numbered batch (X-Helm-Sequence) must fit one commit: at most 10,000 entries and 4 MiB of text",
            ));
        }
        let indexes: Vec<u32> = piece.iter().map(|record| record.index).collect();
        match one(app, sender, &service, piece, sequence.take(), until).await {
            Ok(answer) => {
                kept_some = true;
                take(&mut outcome, &indexes, answer);
            }
            Err(problem) if kept_some => {
                let why = problem.detail().to_owned();
                outcome
                    .rejected
                    .extend(indexes.into_iter().map(|index| Rejected { index, reason: why.clone().into() }));
            }
            Err(problem) => return Err(problem),
        }
    }
    outcome.rejected.sort_by_key(|rejected| rejected.index);
    Ok(outcome)
}

fn take(outcome: &mut Outcome, indexes: &[u32], answer: AppendResponse) {
    let rejected = answer.rejected.len();
    // What was kept under its number before is as good as kept now.
    let kept = if answer.duplicate { indexes.len().saturating_sub(rejected) } else { answer.kept as usize };
    outcome.ingested += u32::try_from(kept).unwrap_or(u32::MAX);
    outcome.rejected.extend(answer.rejected.into_iter().filter_map(|one| {
        let index = *indexes.get(one.index as usize)?;
        Some(Rejected { index, reason: one.reason.into() })
    }));
}

/// One piece, until it is kept, refused, or the time is over.
async fn one(
    app: &App,
    sender: &Sender,
    service: &str,
    piece: Vec<Record>,
    sequence: Option<(String, u64)>,
    until: Instant,
) -> Result<AppendResponse> {
    // Its own number makes it safe to send it again after a broken answer.
    let lane = if sequence.is_none() { Some(app.ingest.lanes.take()) } else { None };
    let (name, number) = match (sequence, &lane) {
        (Some(given), _) => given,
        (None, Some(lane)) => (lane.name.clone(), lane.number()),
        (None, None) => (String::new(), 0),
    };
    let request = AppendRequest {
        service: service.to_owned(),
        entries: piece.into_iter().map(entry).collect(),
        sender: name,
        sequence: number,
        idempotency_key: String::new(),
    };
    loop {
        let error = match timeout_at(until, append(app, sender, &request)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(Problem::unavailable(
                    "helmd did not keep the entries in time",
                    Duration::from_secs(2),
                ));
            }
        };
        let next = Instant::now() + TRY_EVERY;
        if !may_pass(&error) || next >= until {
            return Err(error.into());
        }
        sleep_until(next).await;
    }
}

async fn append(
    app: &App,
    sender: &Sender,
    request: &AppendRequest,
) -> std::result::Result<AppendResponse, ClientError> {
    app.backend.logs(&sender.caller.principal).await?.append(request.clone()).await
}

fn may_pass(error: &ClientError) -> bool {
    let later = matches!(error, ClientError::Refused { reason: Reason::Other(word, _), .. } if word == reason::LATER || word == reason::UNCLEAR);
    later || error.may_pass()
}

fn entry(record: Record) -> NewLogEntry {
    NewLogEntry {
        service: record.service,
        at: record.at_ns,
        level: record.level,
        message: record.message,
        context: record.context_json,
        trace_id: record.trace_id,
        user_id: record.user_id,
        hostname: record.hostname,
        process_id: record.process_id,
    }
}

/// Numbered senders of helm-web's own: each has one batch under way at a time, so that its numbers only rise.
#[derive(Debug)]
pub struct Lanes {
    /// Of this process.
    stem: String,
    made: AtomicU64,
    free: Mutex<Vec<Numbers>>,
}

#[derive(Debug)]
struct Numbers {
    name: String,
    next: u64,
}

/// One of them, while it has a batch under way.
#[derive(Debug)]
pub struct Lane<'a> {
    name: String,
    number: u64,
    lanes: &'a Lanes,
}

impl Lanes {
    /// None yet; `stem` tells this process from others.
    #[must_use]
    pub fn new(stem: &str) -> Self {
        Self { stem: format!("helm-web/{stem}"), made: AtomicU64::new(0), free: Mutex::default() }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Numbers>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free one, or a new one: there are as many as batches were ever under way at once.
    fn take(&self) -> Lane<'_> {
        let free = self.free().pop();
        let Numbers { name, next } = free.unwrap_or_else(|| {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            Numbers { name: format!("{}/{number}", self.stem), next: 1 }
        });
        Lane { name, number: next, lanes: self }
    }
}

impl Lane<'_> {
    fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let numbers = Numbers { name: std::mem::take(&mut self.name), next: self.number + 1 };
        self.lanes.free().push(numbers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_lane_rise_and_two_batches_never_share_one() {
        let lanes = Lanes::new("7");
        let (first, second) = (lanes.take(), lanes.take());
        assert_ne!(first.name, second.name);
        let name = first.name.clone();
        assert_eq!(first.number(), 1);
        drop(first);
        let again = lanes.take();
        assert_eq!((again.name.clone(), again.number()), (name, 2));
    }

    #[test]
    fn what_was_kept_before_counts_as_kept() {
        let mut outcome = Outcome { total: 3, ..Outcome::default() };
        let answer = AppendResponse { duplicate: true, ..AppendResponse::default() };
        take(&mut outcome, &[0, 1, 2], answer);
        assert_eq!(outcome.ingested, 3);
    }
}
