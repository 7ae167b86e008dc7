//! What makes repetitions harmless of all that waits. Pure, apart from reading it.

use std::collections::HashMap;

use super::file::QueueFile;
use crate::commit::Once;
use crate::engine::EngineError;
use crate::once::{Numbers, Seen};
use crate::partition::Class;

/// With the positions. Of a class: a batch with entries of several is an append in each.
#[derive(Debug, Default)]
pub(super) struct Known {
    senders: HashMap<(Class, String), (Numbers, u64)>,
    keys: HashMap<(Class, String), u64>,
}

impl Known {
    pub(super) async fn of(file: &mut QueueFile) -> Result<Self, EngineError> {
        let mut known = Known::default();
        for (position, class, once) in file.once().await? {
            known.add(&class, &once, position);
        }
        Ok(known)
    }

    pub(super) fn seen(&self, class: &Class, once: &Once) -> Seen {
        match once {
            Once::Sequence { sender, number } => {
                let numbers = self.senders.get(&(class.clone(), sender.clone()));
                numbers.map_or(Seen::No, |(numbers, _)| numbers.seen(*number))
            }
            Once::Key(key) if self.keys.contains_key(&(class.clone(), key.clone())) => Seen::Kept,
            Once::Key(_) => Seen::No,
        }
    }

    pub(super) fn add(&mut self, class: &Class, once: &Once, position: u64) {
        match once {
            Once::Sequence { sender, number } => {
                let first = (Numbers::first(*number, 0), position);
                let known = self.senders.entry((class.clone(), sender.clone())).or_insert(first);
                known.0.add(*number, 0);
                known.1 = position;
            }
            Once::Key(key) => {
                self.keys.insert((class.clone(), key.clone()), position);
            }
        }
    }

    pub(super) fn forget(&mut self, position: u64) {
        self.senders.retain(|_, (_, at)| *at > position);
        self.keys.retain(|_, at| *at > position);
    }
}
