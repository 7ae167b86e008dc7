//! The same question by the same principal at the same time is put to helmd once. Nobody gets an answer that was begun before they asked.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as Turn;
use tokio::time::Instant;

/// Questions under way, by who asks what.
#[derive(Debug)]
pub struct Together<K, V>(Mutex<Turns<K, V>>);

type Turns<K, V> = HashMap<K, Arc<Turn<Option<Begun<V>>>>>;

/// The last answer, and when it was begun.
#[derive(Debug)]
struct Begun<V> {
    at: Instant,
    answer: V,
}

impl<K, V> Default for Together<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Together<K, V> {
    /// The answer of `ask`, or of somebody else's who asked the same after this was called. Who gives up hands the turn on.
    pub async fn ask(&self, key: K, ask: impl Future<Output = V>) -> V {
        let came = Instant::now();
        let turn = self.turns().entry(key.clone()).or_default().clone();
        let mut last = turn.lock().await;
        let answer = match &*last {
            Some(begun) if begun.at >= came => begun.answer.clone(),
            _ => {
                let at = Instant::now();
                let answer = ask.await;
                *last = Some(Begun { at, answer: answer.clone() });
                answer
            }
        };
        drop(last);
        self.leave(&key, turn);
        answer
    }

    /// The last one takes the answer away: nothing is remembered that nobody waits for.
    fn leave(&self, key: &K, turn: Arc<Turn<Option<Begun<V>>>>) {
        let mut turns = self.turns();
        drop(turn);
        if turns.get(key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(key);
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns<K, V>> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn those_who_come_meanwhile_share_the_next_answer() {
        let (together, asked, gate) = (Together::default(), AtomicU32::new(0), Semaphore::new(0));
        let ask = || {
            together.ask("status", async {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                number
            })
        };
        let first = ask();
        tokio::pin!(first);
        // It has begun before the others come.
        assert!(polled_once(first.as_mut()).await.is_none());
        let others = async { tokio::join!(ask(), ask(), ask()) };
        tokio::pin!(others);
        assert!(polled_once(others.as_mut()).await.is_none());
        gate.add_permits(2);
        let (first, others) = tokio::join!(first, others);
        assert_eq!((first, others), (0, (1, 1, 1)));
        assert!(together.turns().is_empty());
        gate.add_permits(1);
        assert_eq!(ask().await, 2, "nothing is remembered");
    }

    /// One poll.
    async fn polled_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = std::future::ready(()) => None,
        }
    }
}
