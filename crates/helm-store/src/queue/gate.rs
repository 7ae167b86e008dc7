//! Which way an append goes: straight to the writer while nothing waits, else behind what waits. Pure, apart from waiting.

use tokio::sync::watch;

/// How many wait, and whether the last ones are on their way.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    appends: u64,
    /// All that wait are being written: who comes waits for the end of that, so that a queue under load comes to an end at all.
    last: bool,
}

/// Clones share the gate.
#[derive(Debug, Clone)]
pub(super) struct Gate(watch::Sender<Waiting>);

/// A place in the queue. Given back when it is dropped, unless it was [`Ticket::taken`].
#[derive(Debug)]
pub(super) struct Ticket(Option<Gate>);

impl Ticket {
    /// The append is on disk.
    pub(super) fn taken(mut self) {
        self.0 = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.gone(1);
        }
    }
}

/// Some are being written.
#[derive(Debug)]
pub(super) struct Writing<'a>(&'a Gate);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|waiting| waiting.last = false);
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Waiting::default()))
    }

    /// `None`: nothing waits.
    pub(super) async fn ticket(&self) -> Option<Ticket> {
        let mut changes = self.0.subscribe();
        loop {
            let mut decided = None;
            self.0.send_if_modified(|waiting| {
                if waiting.last {
                    return false;
                }
                decided = Some(waiting.appends > 0);
                waiting.appends += u64::from(waiting.appends > 0);
                false
            });
            match decided {
                Some(true) => return Some(Ticket(Some(self.clone()))),
                Some(false) => return None,
                // The gate itself keeps the sender.
                None => drop(changes.wait_for(|waiting| !waiting.last).await),
            }
        }
    }

    /// For what must go into the queue.
    pub(super) fn forced(&self) -> Ticket {
        self.0.send_if_modified(|waiting| {
            waiting.appends += 1;
            false
        });
        Ticket(Some(self.clone()))
    }

    /// So many more are on disk.
    pub(super) fn came(&self, appends: u64) {
        self.0.send_if_modified(|waiting| {
            waiting.appends += appends;
            false
        });
    }

    /// So many are being written, until the answer is dropped: dealt with, well or not.
    pub(super) fn writing(&self, appends: u64) -> Writing<'_> {
        self.0.send_if_modified(|waiting| {
            waiting.last = waiting.appends == appends;
            false
        });
        Writing(self)
    }

    /// So many have left the queue.
    pub(super) fn gone(&self, appends: u64) {
        self.0.send_modify(|waiting| waiting.appends = waiting.appends.saturating_sub(appends));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_goes_behind_what_waits_and_waits_for_the_last() {
        let gate = Gate::new();
        assert!(gate.ticket().await.is_none());
        gate.forced().taken();
        gate.ticket().await.unwrap().taken();
        drop(gate.ticket().await.unwrap());
        drop(gate.writing(1));
        gate.ticket().await.unwrap().taken();
        let writing = gate.writing(3);
        let waits = tokio::spawn({
            let gate = gate.clone();
            async move { gate.ticket().await.is_none() }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        gate.gone(3);
        drop(writing);
        assert!(waits.await.unwrap(), "nothing waits any more");
    }
}
