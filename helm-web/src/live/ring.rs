//! What the hub told last, for all streams together: bounded in number and in bytes. Who is so far behind that it has gone is told
//! how much was missed; none holds up another, and however many are slow, what waits for them is held once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Items that a stream may be behind before it misses some.
const MOST: usize = 1024;
/// Bytes that these may have together; one item is held whatever it has.
const MOST_BYTES: usize = 8 << 20;

#[derive(Debug)]
struct Held<T> {
    items: VecDeque<(T, usize)>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
}

impl<T> Held<T> {
    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }
}

/// The ring.
#[derive(Debug)]
pub struct Ring<T> {
    held: Mutex<Held<T>>,
    end: watch::Sender<u64>,
}

/// A place in the ring.
#[derive(Debug)]
pub struct Reader<T> {
    ring: Arc<Ring<T>>,
    end: watch::Receiver<u64>,
    at: u64,
}

/// So many items had gone before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

impl<T: Clone> Ring<T> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let held = Held { items: VecDeque::new(), first: 0, bytes: 0 };
        Arc::new(Self { held: Mutex::new(held), end: watch::Sender::new(0) })
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        // No change below can panic half-way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, of so many bytes.
    pub fn push(&self, item: T, bytes: usize) {
        let mut held = self.held();
        held.items.push_back((item, bytes));
        held.bytes += bytes;
        while held.items.len() > MOST || held.bytes > MOST_BYTES && held.items.len() > 1 {
            let Some((_, bytes)) = held.items.pop_front() else { break };
            held.bytes -= bytes;
            held.first += 1;
        }
        self.end.send_replace(held.end());
    }

    /// Nobody reads any more.
    pub fn clear(&self) {
        let mut held = self.held();
        held.first = held.end();
        held.items.clear();
        held.bytes = 0;
    }

    /// From here on.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> Reader<T> {
        let at = self.held().end();
        Reader { ring: self.clone(), end: self.end.subscribe(), at }
    }
}

impl<T: Clone> Reader<T> {
    /// The next item, once there is one.
    ///
    /// # Errors
    /// What came next has gone already; the call after that goes on with what is there.
    pub async fn next(&mut self) -> Result<T, Missed> {
        loop {
            if let Some(next) = self.now() {
                return next;
            }
            // The ring, and with it the sender, lives as long as this.
            let _ = self.end.wait_for(|end| *end > self.at).await;
        }
    }

    fn now(&mut self) -> Option<Result<T, Missed>> {
        let held = self.ring.held();
        if self.at < held.first {
            let missed = held.first - self.at;
            self.at = held.first;
            return Some(Err(Missed(missed)));
        }
        let ahead = usize::try_from(self.at - held.first).ok()?;
        let (item, _) = held.items.get(ahead)?;
        self.at += 1;
        Some(Ok(item.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_behind_by_too_many_or_too_much_is_told_how_many_went() {
        let ring = Ring::new();
        let (mut quick, mut slow) = (ring.read(), ring.read());
        ring.push(0, 1);
        assert_eq!(quick.next().await, Ok(0));
        for n in 1..=MOST {
            ring.push(n, 1);
        }
        assert_eq!(slow.next().await, Err(Missed(1)));
        assert_eq!(slow.next().await, Ok(1));
        assert_eq!(quick.next().await, Ok(1));
        ring.push(7, MOST_BYTES + 1);
        assert_eq!(quick.next().await, Err(Missed(MOST as u64 - 1)));
        assert_eq!(quick.next().await, Ok(7), "one is held whatever it has");
        ring.push(8, 1);
        assert_eq!(quick.next().await, Ok(8));
        assert_eq!(ring.held().items.len(), 1);
        assert_eq!(ring.read().now(), None, "from here on");
    }
}
