//! What Core said of users' sessions, remembered for a while: one question at a time for each token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;

use super::core::Core;
use super::standing::{Answer, Standing, standing};

/// How long an answer holds.
const HOLDS: Duration = Duration::from_secs(10);
/// Tokens that are remembered; the one that was used longest ago goes.
const MOST: usize = 10_000;

/// The digest of a secret: what is remembered in its stead.
pub type Fingerprint = [u8; 32];

/// Of this secret.
#[must_use]
pub fn fingerprint(secret: &str) -> Fingerprint {
    Sha256::digest(secret.as_bytes()).into()
}

#[derive(Debug, Default)]
struct Seen {
    asked: Option<Instant>,
    answer: Option<Answer>,
    confirmed: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    used: Instant,
    seen: Arc<Turn<Seen>>,
}

/// What is remembered.
#[derive(Debug)]
pub struct Sessions {
    core: Core,
    entries: Mutex<HashMap<Fingerprint, Entry>>,
}

impl Sessions {
    /// Nothing yet.
    #[must_use]
    pub fn new(core: Core) -> Self {
        Self { core, entries: Mutex::default() }
    }

    /// What a token is worth that was issued `age` ago.
    pub async fn standing(&self, port: u16, token: &str, age: Duration) -> Standing {
        let seen = self.seen(fingerprint(token));
        let mut seen = seen.lock().await;
        if seen.asked.is_none_or(|asked| asked.elapsed() >= HOLDS) {
            let answer = self.core.session(port, token).await;
            seen.asked = Some(Instant::now());
            if answer == Answer::Lives {
                seen.confirmed = seen.asked;
            }
            // Once ended, it stays so: Core may forget it, and be away.
            if seen.answer != Some(Answer::Ended) || answer == Answer::Lives {
                seen.answer = Some(answer);
            }
        }
        standing(seen.answer.unwrap_or(Answer::Away), seen.confirmed.map(|at| at.elapsed()), age)
    }

    fn seen(&self, of: Fingerprint) -> Arc<Turn<Seen>> {
        // Each change is one step: there is no half-done state that a panic could leave.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if entries.len() >= MOST && !entries.contains_key(&of) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(of, _)| *of);
            oldest.and_then(|oldest| entries.remove(&oldest));
        }
        let entry = entries.entry(of).or_insert_with(|| Entry { used: now, seen: Arc::default() });
        entry.used = now;
        entry.seen.clone()
    }
}
