//! Blocking work on the runtime's pool, each use with a bound of its own, so that what hangs (a dead file system below one
//! service, a disk that answers no reader) never takes the threads of something else. What must not wait at all, the
//! wishes and the journal, has threads of its own that are there from the start.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Threads for everything with a fixed bound. Each service may have one more: its keeper's task waits for one piece of
/// work at a time.
pub const THREADS: usize = 64;

/// Work that takes longer than this hangs: it lets the next one pass.
const HANGS: Duration = Duration::from_secs(2);

/// Readers of captured output, for clients.
pub static OUTPUT: Lane = Lane::new(8);
/// Readers of captured output, for log probes.
pub static PROBES: Lane = Lane::new(4);
/// Readers of captured output, for the store.
pub static CAPTURE: Lane = Lane::new(4);
/// What the store's tasks look up: room on the disk, sizes of log files, the configuration that is rewritten.
pub static STORE: Lane = Lane::new(4);
/// The files of the configuration, read again because somebody asks.
pub static CHECKS: Lane = Lane::new(2);
/// What services name, in their own directories.
pub static PROGRAMS: Lane = Lane::new(4);
/// Look-ups of names, for probes.
pub static NAMES: Lane = Lane::new(8);
/// Tokens and sessions as they are written down.
pub static ACCESS: Lane = Lane::new(1);
/// Socket tables.
pub static PORTS: Lane = Lane::new(4);
/// What keeps the limits of services, as the kernel tells it.
pub static LIMITS: Lane = Lane::new(2);
/// What a keeper's task looks up or starts: directories of services, records, keepers.
pub static KEEPERS: Lane = Lane::new(16);

/// Incidents: what is gathered, and what is read because somebody asks.
pub static INCIDENTS: Lane = Lane::new(4);

/// One use of the pool.
#[derive(Debug)]
pub struct Lane(Semaphore);

impl Lane {
    const fn new(threads: usize) -> Self {
        Self(Semaphore::const_new(threads))
    }

    /// Does the work on a thread of this use, and waits for a turn before. A turn lasts until the work is done, also
    /// where nobody waits for it any more.
    pub async fn run<T, W>(&'static self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> io::Result<T> + Send + 'static,
    {
        let turn = self.0.acquire().await.map_err(io::Error::other)?;
        let job = spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        job.await.unwrap_or_else(|e| Err(io::Error::other(e)))
    }

    /// The same for work of which each caller has one piece at a time: what hangs gives its turn to others.
    pub async fn run_aside<T, W>(&'static self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let turn = self.0.acquire().await.map_err(io::Error::other)?;
        let mut job = spawn_blocking(work);
        let done = unless_it_hangs(&mut job).await;
        drop(turn);
        match done {
            Some(done) => done,
            None => job.await,
        }
        .map_err(io::Error::other)
    }
}

async fn unless_it_hangs<F: Future + Unpin>(work: &mut F) -> Option<F::Output> {
    timeout(HANGS, work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    static STRICT: Lane = Lane::new(1);
    static ASIDE: Lane = Lane::new(1);

    #[test]
    fn what_hangs_keeps_its_own_lane_only() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (go, wait) = sync_channel::<()>(0);
        runtime.block_on(async {
            let hangs = tokio::spawn(STRICT.run(move || wait.recv().map_err(io::Error::other)));
            while STRICT.0.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            let waits = tokio::spawn(STRICT.run(|| Ok(1)));
            assert_eq!(ASIDE.run_aside(|| 2).await.unwrap(), 2, "another lane");
            assert!(!waits.is_finished(), "two at once in a lane of one");
            go.send(()).unwrap();
            hangs.await.unwrap().unwrap();
            assert_eq!(waits.await.unwrap().unwrap(), 1);
        });
    }

    #[test]
    fn what_hangs_lets_the_next_one_pass() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (go, wait) = sync_channel::<()>(0);
        runtime.block_on(async {
            let hangs = tokio::spawn(ASIDE.run_aside(move || wait.recv()));
            while ASIDE.0.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(ASIDE.run_aside(|| 3).await.unwrap(), 3);
            assert!(!hangs.is_finished());
            go.send(()).unwrap();
            hangs.await.unwrap().unwrap().unwrap();
        });
    }
}
