//! Concurrent appenders: each numbers what it sends, and notes what was acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::fixture::Dice;
use harness::wait::pause;
use harness::watch::block_on;
use helm_client::{Client, ClientError, Home, Logs};
use helm_proto::v1::{AppendRequest, AppendResponse, NewLogEntry};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// One send of so many is given up before its answer can be expected, and one that was acknowledged is sent once more.
const ODD: u64 = 16;
/// After the attack an append is acknowledged within this time.
const SETTLES: Duration = Duration::from_secs(90);

/// What makes its repetitions harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Sequence,
    Key,
    /// Nothing: it repeats nothing.
    Bare,
}

/// What one appender says of itself. An append holds two entries.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) name: String,
    pub(crate) way: Way,
    /// Numbers of its appends, rising.
    pub(crate) acknowledged: Vec<u64>,
    /// Appends are numbered from 1 to this.
    pub(crate) last: u64,
    /// How many of the acknowledged waited in the local queue then.
    pub(crate) queued: u64,
    /// Sends without an answer, or with an error for one.
    pub(crate) unanswered: u64,
    /// Sends of what had been sent before, answered or not.
    pub(crate) repeated: u64,
    /// What must not be, in words.
    pub(crate) fault: Option<String>,
}

/// What all appenders share with the attack.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) stop: AtomicBool,
    pub(crate) acknowledged: AtomicU64,
}

/// Sends until it is told to stop; then until its last append is acknowledged, unless it is bare.
pub(crate) fn start(
    dir: &Path,
    name: &str,
    way: Way,
    mut dice: Dice,
    shared: &Arc<Shared>,
) -> JoinHandle<Word> {
    let (dir, shared) = (dir.to_owned(), shared.clone());
    let (acknowledged, name) = (Vec::new(), name.to_owned());
    let mut word =
        Word { name, way, acknowledged, last: 1, queued: 0, unanswered: 0, repeated: 0, fault: None };
    std::thread::spawn(move || {
        block_on(async {
            let mut logs = None;
            let mut late = None;
            loop {
                let limit = match dice.between(1, ODD) {
                    ODD => Duration::from_millis(dice.between(0, 30)),
                    _ => ANSWER,
                };
                let sent = tokio::time::timeout(limit, send(&dir, &mut logs, &word)).await;
                let answer = sent.ok().and_then(Result::ok);
                if let Some(answer) = &answer {
                    note(&mut word, answer, &shared);
                } else {
                    logs = None;
                    word.unanswered += 1;
                    pause(Duration::from_millis(20));
                }
                let stops = shared.stop.load(Ordering::Relaxed);
                let since = *late.get_or_insert_with(Instant::now);
                if !stops {
                    late = None;
                } else if answer.is_some() || way == Way::Bare || word.fault.is_some() {
                    return word;
                } else if since.elapsed() > SETTLES {
                    word.fault = Some(format!(
                        "append {} was not acknowledged within {SETTLES:?} of the attack's end",
                        word.last
                    ));
                    return word;
                }
                let again = way != Way::Bare && (answer.is_none() || dice.between(1, ODD) == ODD);
                word.repeated += u64::from(again);
                word.last += u64::from(!again);
                pause(Duration::from_millis(5));
            }
        })
    })
}

fn note(word: &mut Word, answer: &AppendResponse, shared: &Shared) {
    if let Some(rejected) = answer.rejected.first() {
        word.fault = Some(format!("append {}: an entry was rejected: {}", word.last, rejected.reason));
        return;
    }
    if word.acknowledged.last() != Some(&word.last) {
        word.acknowledged.push(word.last);
        word.queued += u64::from(answer.queued);
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

async fn send(dir: &Path, logs: &mut Option<Logs>, word: &Word) -> Result<AppendResponse, ClientError> {
    let mut open = match logs.take() {
        Some(open) => open,
        None => Logs::of(&Client::of(&Home::find(Some(dir))?).await?).await?,
    };
    let number = word.last;
    let entry = |half| NewLogEntry {
        message: format!("sent {number} {half}"),
        level: "info".into(),
        ..Default::default()
    };
    let mut request =
        AppendRequest { service: word.name.clone(), entries: vec![entry(1), entry(2)], ..Default::default() };
    match word.way {
        Way::Sequence => (request.sender, request.sequence) = (word.name.clone(), number),
        Way::Key => request.idempotency_key = format!("{}-{number}", word.name),
        Way::Bare => {}
    }
    let answer = open.append(request).await?;
    *logs = Some(open);
    Ok(answer)
}
