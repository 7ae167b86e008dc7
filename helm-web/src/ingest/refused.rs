//! What senders were refused because there was no room or no helmd: counted by service, and written into the service's own log as
//! soon as that can be done. The loggers of the ecosystem never send again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use helm_proto::v1::{AppendRequest, NewLogEntry, Principal};
use tokio::time::{Instant, sleep_until};

use crate::backend::Backend;
use crate::situation::ourselves;

/// Services that are counted apart; more of them are counted together.
const MOST: usize = 1000;
/// Between two tries to write the counts down.
const WRITE_EVERY: Duration = Duration::from_secs(2);

/// What was refused, and is not written down yet.
#[derive(Debug, Default)]
pub struct Refused {
    by_service: Mutex<HashMap<String, Count>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count {
    batches: u64,
    entries: u64,
    why: String,
}

impl Refused {
    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<String, Count>> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.by_service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch of so many entries was refused.
    pub fn count(&self, service: &str, entries: u32, why: &str) {
        let mut counts = self.counts();
        let name = if counts.len() < MOST || counts.contains_key(service) { service } else { "helm" };
        let name = if name.is_empty() { "helm" } else { name };
        let count = counts.entry(name.to_owned()).or_default();
        count.batches += 1;
        count.entries += u64::from(entries);
        why.clone_into(&mut count.why);
    }

    /// Entries that were refused and are not written down yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.counts().values().map(|count| count.entries).sum()
    }

    /// Writes the counts down, again and again.
    pub async fn keep(&self, backend: &Backend) {
        let whom = ourselves();
        loop {
            sleep_until(Instant::now() + WRITE_EVERY).await;
            let taken = std::mem::take(&mut *self.counts());
            for (service, count) in taken {
                if let Err(e) = write(backend, &whom, &service, &count).await {
                    tracing::debug!("what was refused cannot be written down yet: {e}");
                    self.put_back(service, count);
                }
            }
        }
    }

    fn put_back(&self, service: String, count: Count) {
        let mut counts = self.counts();
        let held = counts.entry(service).or_default();
        held.batches += count.batches;
        held.entries += count.entries;
        if held.why.is_empty() {
            held.why = count.why;
        }
    }
}

async fn write(
    backend: &Backend,
    whom: &Principal,
    service: &str,
    count: &Count,
) -> Result<(), helm_client::ClientError> {
    let Count { batches, entries, why } = count;
    let entry = NewLogEntry {
        level: "WARNING".to_owned(),
        message: format!(
            "Helm refused {entries} log entries in {batches} batches that were sent over HTTP: {why}"
        ),
        context: serde_json::json!({ "helm.refused": entries, "helm.batches": batches }).to_string(),
        ..NewLogEntry::default()
    };
    let request =
        AppendRequest { service: service.to_owned(), entries: vec![entry], ..AppendRequest::default() };
    backend.logs(whom).await?.append(request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_are_bounded() {
        let refused = Refused::default();
        refused.count("core", 10, "full");
        refused.count("core", 5, "away");
        refused.count("", 1, "away");
        assert_eq!(refused.waiting(), 16);
        assert_eq!(refused.counts()["core"], Count { batches: 2, entries: 15, why: "away".into() });
        for number in 0..2 * MOST {
            refused.count(&format!("s{number}"), 1, "full");
        }
        assert!(refused.counts().len() <= MOST + 1);
        assert_eq!(refused.waiting(), 16 + 2 * MOST as u64);
    }
}
