//! The end of a life of helmd, and what comes after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// What comes after it. Each is more than the one before: who asks for less later changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Then {
    /// Another life in this process, by what is in force then.
    Again,
    /// Another life, of the program that is on disk.
    Replace,
    /// Nothing: helmd leaves, services stay.
    Nothing,
}

/// Ends the life that it belongs to.
#[derive(Debug, Clone)]
pub struct Leave {
    then: Arc<Mutex<Option<Then>>>,
    stop: CancellationToken,
}

impl Leave {
    /// Of a life that ends with `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        Self { then: Arc::default(), stop }
    }

    /// Ends it.
    pub fn to(&self, then: Then) {
        let mut asked = self.lock();
        *asked = (*asked).max(Some(then));
        drop(asked);
        self.stop.cancel();
    }

    /// Completes when it ends.
    pub async fn asked(&self) {
        self.stop.cancelled().await;
    }

    /// It ends, or has ended.
    pub fn begun(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// What comes now. An end that nobody asked for is one for good.
    pub fn then(&self) -> Then {
        self.lock().unwrap_or(Then::Nothing)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Then>> {
        // One word: nothing of it can be half done.
        self.then.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_for_good_wins() {
        let leave = Leave::new(CancellationToken::new());
        assert!(!leave.begun());
        assert_eq!(leave.then(), Then::Nothing);
        leave.to(Then::Again);
        leave.to(Then::Nothing);
        leave.to(Then::Again);
        assert!(leave.begun());
        assert_eq!(leave.then(), Then::Nothing);
    }
}
