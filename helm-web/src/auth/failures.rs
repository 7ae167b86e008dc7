//! Credentials that did not count: who guesses is told to slow down. A credential that counts is never refused for it, because each is looked at
//! first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many failures within this time are nobody's typing errors.
const MOST: u32 = 30;
const WITHIN: Duration = Duration::from_secs(10);
/// Users that are told apart; when there are more, all are forgotten.
const USERS: usize = 1024;

/// Failures by the user of the connection; `None`: one that is not known.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<Option<u32>, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    count: u32,
}

impl Failures {
    /// One more of this user, now; how long it is to wait, if there were too many.
    pub fn note(&self, uid: Option<u32>, now: Instant) -> Option<Duration> {
        // Each change is one step: there is no half-done state that a panic could leave.
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= USERS && !users.contains_key(&uid) {
            users.clear();
        }
        let window = users.entry(uid).or_insert(Window { since: now, count: 0 });
        if now.duration_since(window.since) >= WITHIN {
            *window = Window { since: now, count: 0 };
        }
        window.count += 1;
        (window.count > MOST).then(|| WITHIN.saturating_sub(now.duration_since(window.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_on_and_on_is_told_to_wait_and_nobody_else() {
        let (failures, now) = (Failures::default(), Instant::now());
        assert!((0..MOST).all(|_| failures.note(Some(7), now).is_none()));
        assert_eq!(failures.note(Some(7), now), Some(WITHIN));
        assert_eq!((failures.note(Some(8), now), failures.note(None, now)), (None, None));
        assert_eq!(failures.note(Some(7), now + WITHIN), None);
    }
}
