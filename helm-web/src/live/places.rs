//! How many streams each user has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many streams one user may have open.
pub const MOST: usize = 8;

/// All of them.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<String, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place {
    all: Arc<Places>,
    user: String,
}

impl Places {
    /// One more of this user; `None`: it has as many as it may.
    pub fn take(self: &Arc<Self>, user: String) -> Option<Place> {
        // Each change is one step: there is no half-done state that a panic could leave.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user.clone()).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Place { all: self.clone(), user })
    }

    /// Of all users.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ninth_is_told_to_wait_and_an_ended_one_makes_room() {
        let all = Arc::new(Places::default());
        let mut held: Vec<Place> = (0..MOST).filter_map(|_| all.take("anna".into())).collect();
        assert!(held.len() == MOST && all.take("anna".into()).is_none() && all.take("ben".into()).is_some());
        held.pop();
        assert!(all.take("anna".into()).is_some());
        held.clear();
        assert_eq!(all.count(), 0);
    }
}
