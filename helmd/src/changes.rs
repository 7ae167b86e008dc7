//! Tells when something was written into a directory of segments: one inotify instance for all of helmd (a user has 128
//! of them), read by one task.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::readable::Readable;

/// After each reading: a fleet that talks without end must not wake us with each line. The kernel keeps what happens
/// meanwhile, equal events as one.
const REST: Duration = Duration::from_millis(10);

/// Handle; clones share the instance.
#[derive(Debug, Clone)]
pub struct Changes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    watched: Mutex<Watched>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Watched {
    /// Made for the first subscriber, and again where that failed.
    queue: Option<Arc<Readable>>,
    /// Who wants to know, by the number of the watch. A directory has one number, however often it is watched.
    dirs: BTreeMap<i32, Dir>,
}

#[derive(Debug, Default)]
struct Dir {
    changed: watch::Sender<()>,
    /// Subscriptions that there are. Counted here, under the lock: two that end at the same time must not take each other
    /// for the last but one.
    followers: usize,
}

/// One subscriber. The watch of a directory ends with its last one.
#[derive(Debug)]
pub struct Subscription {
    told: watch::Receiver<()>,
    number: i32,
    changes: Changes,
}

impl Changes {
    /// Nothing is watched yet; the task that reads will belong to `tasks`.
    pub fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self(Arc::new(Shared { watched: Mutex::default(), tasks, stop }))
    }

    /// Watches `dir`; subscribe before reading, so that nothing written in between is missed. Blocking, on a thread of
    /// the runtime.
    pub fn of(&self, dir: &Path) -> io::Result<Subscription> {
        let mut watched = self.lock();
        let queue = match &watched.queue {
            Some(queue) => queue.clone(),
            None => {
                let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
                let queue = Arc::new(Readable::new(fd)?);
                let (changes, read) = (self.clone(), queue.clone());
                self.0.tasks.spawn(async move { changes.tell(&read).await });
                watched.queue.insert(queue).clone()
            }
        };
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(queue.get(), dir, flags)?;
        let dir = watched.dirs.entry(number).or_default();
        dir.followers += 1;
        let told = dir.changed.subscribe();
        Ok(Subscription { told, number, changes: self.clone() })
    }

    /// Passes on what the kernel says, until helmd leaves.
    async fn tell(&self, queue: &Readable) {
        let read = async {
            while queue.until(|fd| self.drain(fd)).await.is_ok() {
                sleep_until(Instant::now() + REST).await;
            }
        };
        self.0.stop.run_until_cancelled(read).await;
    }

    fn drain(&self, queue: impl std::os::fd::AsFd) -> Option<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(queue, &mut buffer);
        let mut any = None;
        while let Ok(event) = events.next() {
            any = Some(());
            let mut watched = self.lock();
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                for dir in watched.dirs.values() {
                    let _ = dir.changed.send(());
                }
            } else if event.events().contains(ReadFlags::IGNORED) {
                // The directory is gone: its subscribers learn it by the end of the channel.
                watched.dirs.remove(&event.wd());
            } else if let Some(dir) = watched.dirs.get(&event.wd()) {
                let _ = dir.changed.send(());
            }
        }
        any
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // A panic while it was held leaves it usable: changes are single steps.
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Waits for the next change; several are told as one.
    pub async fn next(&mut self) -> io::Result<()> {
        self.told.changed().await.map_err(|_| io::Error::other("the directory was removed"))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watched = self.changes.lock();
        // None where the directory was removed before.
        let Some(dir) = watched.dirs.get_mut(&self.number) else { return };
        dir.followers -= 1;
        if dir.followers == 0 {
            watched.dirs.remove(&self.number);
            if let Some(queue) = &watched.queue {
                let _ = inotify::remove_watch(queue.get(), self.number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_followers_of_many_directories_share_one_instance() {
        let changes = Changes::new(TaskTracker::new(), CancellationToken::new());
        let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut followers: Vec<_> = (0..300).map(|n| changes.of(dirs[n % 3].path()).unwrap()).collect();
        assert_eq!(changes.lock().dirs.len(), 3);
        std::fs::write(dirs[0].path().join("new"), "x").unwrap();
        std::fs::write(dirs[2].path().join("new"), "x").unwrap();
        for (n, follower) in followers.iter_mut().enumerate() {
            if n % 3 != 1 {
                follower.next().await.unwrap();
            }
        }
        assert!(!followers[1].told.has_changed().unwrap(), "told of another directory");

        followers.truncate(1);
        assert_eq!(changes.lock().dirs.len(), 1, "watches that nobody needs are ended");
        std::fs::remove_dir_all(dirs[0].path()).unwrap();
        while followers[0].next().await.is_ok() {}
        assert_eq!(changes.lock().dirs.len(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_two_followers_may_end_at_the_same_time() {
        let changes = Changes::new(TaskTracker::new(), CancellationToken::new());
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..500 {
            let followers = [0, 1].map(|_| changes.of(dir.path()).unwrap());
            let together = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for follower in followers {
                    let together = &together;
                    scope.spawn(move || {
                        together.wait();
                        drop(follower);
                    });
                }
            });
            assert!(changes.lock().dirs.is_empty(), "a watch that nobody needs is left");
        }
    }
}
