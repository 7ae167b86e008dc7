//! Lines that are counted instead of stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Services that are counted by name: senders choose theirs.
const NAMES: usize = 1000;

/// Access lines of health probes by service, since this helmd began. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Arc<Mutex<BTreeMap<String, u64>>>);

impl Dropped {
    /// So many more of a service.
    pub fn tell(&self, service: &str, lines: u64) {
        if lines == 0 {
            return;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(service) {
            *count += lines;
        } else if counts.len() < NAMES {
            counts.insert(service.to_owned(), lines);
        }
    }

    /// As they are now.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
