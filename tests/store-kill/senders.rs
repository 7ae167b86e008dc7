//! Concurrent appenders: each numbers what it sends, and notes what was acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::home::Home;
use harness::wait::pause;
use harness::watch::block_on;
use helm_client::{ClientError, Logs};
use helm_proto::v1::{AppendRequest, NewLogEntry};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(15);

/// What makes its repetitions harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Sequence,
    Key,
    /// Nothing: it repeats nothing.
    Bare,
}

/// What one appender says of itself.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) acknowledged: BTreeSet<u64>,
    pub(crate) queued: u64,
}

/// Sends until it is told to stop; then until its last number is acknowledged, unless it is bare.
pub(crate) fn start(home: &Arc<Home>, name: &str, way: Way, stop: &Arc<AtomicBool>) -> JoinHandle<Word> {
    let (home, stop) = (home.clone(), stop.clone());
    let mut word = Word { name: name.to_owned(), way, acknowledged: BTreeSet::new(), queued: 0 };
    std::thread::spawn(move || {
        block_on(async {
            let mut logs = None;
            let mut number = 1;
            loop {
                let sent =
                    tokio::time::timeout(ANSWER, send(&home, &mut logs, &word.name, way, number)).await;
                let acknowledged = matches!(sent, Ok(Ok(_)));
                if let Ok(Ok(queued)) = sent {
                    word.acknowledged.insert(number);
                    word.queued += u64::from(queued);
                } else {
                    logs = None;
                    pause(Duration::from_millis(20));
                }
                if stop.load(Ordering::Relaxed) && (acknowledged || way == Way::Bare) {
                    return word;
                }
                number += u64::from(acknowledged || way == Way::Bare);
                pause(Duration::from_millis(5));
            }
        })
    })
}

async fn send(
    home: &Home,
    logs: &mut Option<Logs>,
    name: &str,
    way: Way,
    number: u64,
) -> Result<bool, ClientError> {
    let mut open = match logs.take() {
        Some(open) => open,
        None => Logs::of(&home.client().await?).await?,
    };
    let entry = |half| NewLogEntry {
        message: format!("sent {number} {half}"),
        level: "info".into(),
        ..Default::default()
    };
    let mut request =
        AppendRequest { service: name.to_owned(), entries: vec![entry(1), entry(2)], ..Default::default() };
    match way {
        Way::Sequence => (request.sender, request.sequence) = (name.to_owned(), number),
        Way::Key => request.idempotency_key = format!("{name}-{number}"),
        Way::Bare => {}
    }
    let answer = open.append(request).await?;
    *logs = Some(open);
    Ok(answer.queued)
}
