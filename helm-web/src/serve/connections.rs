//! Which connections there are: how many of whom, what each does, and which gives way when there are too many.
//!
//! A connection waits for a request, is within the head of one, or has one under way. One that only waits gives way when its
//! user's share or the whole is used up: the longest waiting first. Requests under way are never cut off for a newcomer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How many connections there may be.
pub const MOST: usize = 1024;
/// How many of one user, where that is neither Helm's nor root: what is left serves `/health` and local sessions.
pub const SHARE: usize = 512;
/// How long a connection may wait for its next request.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long the head of a request may take.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection without any request so far may wait for one when helm-web leaves.
pub const ASKS_WITHIN: Duration = Duration::from_millis(300);
/// How long requests under way have when helm-web leaves. With the start of the next run it stays below the 5 s that HiveMatrix's loggers
/// wait for an answer: those that wait in the backlog meanwhile are not kept from it by one slow request.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Waits(Instant),
    ReadsHead(Instant),
    Answers,
}

/// All of them.
#[derive(Debug)]
pub struct Connections {
    /// Helm's own user: its share is the whole, as root's is.
    own: u32,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    by_id: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    uid: Option<u32>,
    doing: watch::Sender<Doing>,
    gives_way: CancellationToken,
}

/// One of them, for those who serve it. It is forgotten with the last clone.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Place>);

#[derive(Debug)]
struct Place {
    id: u64,
    all: Arc<Connections>,
    doing: watch::Sender<Doing>,
    gives_way: CancellationToken,
    headless: AtomicBool,
    asked: AtomicBool,
}

impl Connections {
    /// None yet; `own` is Helm's user.
    #[must_use]
    pub fn new(own: u32) -> Arc<Self> {
        Arc::new(Self { own, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held().by_id.len()
    }

    /// A place for one more; `None`: every place that this user could have has a request under way.
    pub fn admit(self: &Arc<Self>, uid: Option<u32>) -> Option<Connection> {
        let mut held = self.held();
        let of_user = held.by_id.values().filter(|entry| entry.uid == uid).count();
        let at_home = uid.is_some_and(|uid| uid == 0 || uid == self.own);
        if of_user >= if at_home { MOST } else { SHARE } {
            held.make_room(|entry| entry.uid == uid)?;
        } else if held.by_id.len() >= MOST {
            held.make_room(|_| true)?;
        }
        held.next += 1;
        let (id, gives_way) = (held.next, CancellationToken::new());
        let doing = watch::Sender::new(Doing::Waits(Instant::now()));
        held.by_id.insert(id, Entry { uid, doing: doing.clone(), gives_way: gives_way.clone() });
        drop(held);
        let place = Place {
            id,
            all: self.clone(),
            doing,
            gives_way,
            headless: AtomicBool::new(true),
            asked: AtomicBool::new(false),
        };
        Some(Connection(Arc::new(place)))
    }
}

impl Held {
    /// Ends the one of these that has had no request under way for longest.
    fn make_room(&mut self, among: impl Fn(&Entry) -> bool) -> Option<()> {
        let since = |entry: &Entry| match *entry.doing.borrow() {
            Doing::Waits(since) | Doing::ReadsHead(since) => Some(since),
            Doing::Answers => None,
        };
        let idle = self.by_id.iter().filter(|(_, entry)| among(entry));
        let (_, id) = idle.filter_map(|(id, entry)| Some((since(entry)?, *id))).min()?;
        self.by_id.remove(&id)?.gives_way.cancel();
        Some(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.held().by_id.remove(&self.id);
    }
}

impl Connection {
    /// Bytes came. The first ones after an answer begin the head of a request.
    pub(super) fn bytes_came(&self) {
        if self.0.headless.swap(false, Ordering::Relaxed) {
            self.0.doing.send_replace(Doing::ReadsHead(Instant::now()));
        }
    }

    /// For an answer that has to end though its client takes nothing.
    #[must_use]
    pub fn hang_up(&self) -> HangUp {
        HangUp(self.0.gives_way.clone())
    }

    /// It ends, whatever it does.
    #[cfg(test)]
    pub(crate) fn is_cut(&self) -> bool {
        self.0.gives_way.is_cancelled()
    }

    /// Until the first request begins, if none has.
    pub(super) async fn first_request(&self) {
        let mut doing = self.0.doing.subscribe();
        if !self.0.asked.load(Ordering::Relaxed) {
            // The sender lives as long as this does.
            let _ = doing.wait_for(|doing| matches!(doing, Doing::ReadsHead(_) | Doing::Answers)).await;
        }
    }

    /// A request is under way until the guard and its clones are dropped.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.0.asked.store(true, Ordering::Relaxed);
        self.0.doing.send_replace(Doing::Answers);
        Busy(self.clone())
    }

    /// It has waited too long, or gives way to another.
    pub(super) async fn overdue(&self) {
        let mut doing = self.0.doing.subscribe();
        loop {
            let until = match *doing.borrow_and_update() {
                Doing::Waits(since) => Some(since + IDLE),
                Doing::ReadsHead(since) => Some(since + HEAD_WITHIN),
                Doing::Answers => None,
            };
            let over = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                () = self.0.gives_way.cancelled() => return,
                changed = doing.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Cuts a connection; an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct HangUp(CancellationToken);

impl HangUp {
    /// Whatever waits to be sent is lost.
    pub fn now(&self) {
        self.0.cancel();
    }
}

/// A request is under way.
#[derive(Debug)]
pub struct Busy(Connection);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.headless.store(true, Ordering::Relaxed);
        self.0.0.doing.send_replace(Doing::Waits(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1000;

    #[test]
    fn a_stranger_has_a_share_and_its_own_idle_ones_give_way() {
        let all = Connections::new(OWN);
        let strangers: Vec<Connection> = (0..SHARE).map(|_| all.admit(Some(7)).unwrap()).collect();
        let one_more = all.admit(Some(7)).unwrap();
        assert!(strangers[0].0.gives_way.is_cancelled(), "the longest waiting gave way");
        assert!(!strangers[1].0.gives_way.is_cancelled());
        assert_eq!(all.count(), SHARE);
        drop(one_more);
        assert_eq!(all.count(), SHARE - 1);
    }

    #[test]
    fn requests_under_way_are_not_cut_off_for_a_newcomer_and_others_still_get_in() {
        let all = Connections::new(OWN);
        let strangers: Vec<Connection> = (0..SHARE).map(|_| all.admit(Some(7)).unwrap()).collect();
        let busy: Vec<Busy> = strangers.iter().map(Connection::busy).collect();
        assert!(all.admit(Some(7)).is_none());
        assert!(all.admit(Some(OWN)).is_some() && all.admit(Some(0)).is_some());
        drop(busy);
        assert!(all.admit(Some(7)).is_some());
    }

    #[test]
    fn the_whole_is_bounded_and_the_longest_waiting_of_all_gives_way() {
        let all = Connections::new(OWN);
        let own: Vec<Connection> = (0..MOST).map(|_| all.admit(Some(OWN)).unwrap()).collect();
        let stranger = all.admit(None).unwrap();
        assert!(own[0].0.gives_way.is_cancelled() && !stranger.0.gives_way.is_cancelled());
        assert_eq!(all.count(), MOST);
    }
}
