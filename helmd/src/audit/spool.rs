//! Where entries of the audit trail wait while the store does not take them: `instance/audit-waiting.jsonl`, one a line, each with a key by
//! which the store knows a repetition.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use helm_store::entry::NewEntry;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};

use crate::home::Home;
use crate::work;

/// Bytes that may wait: some ten thousand entries.
const MOST: u64 = 16 << 20;

/// An entry with its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) key: String,
    pub(super) entry: NewEntry,
}

/// The file. One works with it at a time.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    turn: Mutex<()>,
    /// Something waits.
    more: Notify,
}

impl Spool {
    pub(super) fn of(home: &Home) -> Self {
        let spool = Self {
            path: home.instance().join("audit-waiting.jsonl"),
            turn: Mutex::default(),
            more: Notify::new(),
        };
        // What a former life left.
        spool.more.notify_one();
        spool
    }

    /// Something may wait.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// On the disk, or an error.
    pub(super) async fn put(&self, waiting: &Waiting) -> io::Result<()> {
        let mut line = serde_json::to_vec(waiting)?;
        line.push(b'\n');
        let _turn = self.turn.lock().await;
        let path = self.path.clone();
        work::ACCESS.run(move || append(&path, &line)).await?;
        self.more.notify_one();
        Ok(())
    }

    /// Gives what waits to `keep`, the oldest first, until it takes one no more; what it took all of is gone.
    pub(super) async fn drain<W>(&self, mut keep: impl FnMut(Waiting) -> W) -> io::Result<()>
    where
        W: Future<Output = bool>,
    {
        let _turn = self.turn.lock().await;
        let path = self.path.clone();
        let text = work::ACCESS.run(move || read(&path)).await?;
        for line in text.lines().filter(|line| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(waiting) => {
                    if !keep(waiting).await {
                        return Err(io::Error::other("the store does not take it yet"));
                    }
                }
                // The last line of a helmd that was killed while it wrote: it was not acknowledged.
                Err(e) => tracing::warn!("a line of {} cannot be read: {e}", self.path.display()),
            }
        }
        let path = self.path.clone();
        work::ACCESS.run(move || remove(&path)).await
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.len() > MOST {
        return Err(io::Error::other(format!("{} is full", path.display())));
    }
    file.write_all(line)?;
    file.sync_data()
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => Ok(String::from_utf8_lossy(&read?).into_owned()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use super::*;
    use crate::audit::deed::{By, Deed, Outcome};

    fn waiting(key: &str) -> Waiting {
        let deed = Deed { by: By::default(), what: "stop", targets: Vec::new() };
        Waiting { key: key.to_owned(), entry: deed.entry(Outcome::Intent, "", 7) }
    }

    #[tokio::test]
    async fn what_waits_is_given_in_order_and_stays_until_all_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let spool = Spool::of(&home);
        for key in ["a", "b", "c"] {
            spool.put(&waiting(key)).await.unwrap();
        }
        let taken = StdMutex::new(Vec::new());
        let keep = |most: usize| {
            let taken = &taken;
            move |waiting: Waiting| {
                let mut taken = taken.lock().unwrap();
                taken.push(waiting.key);
                std::future::ready(taken.len() < most)
            }
        };
        assert!(spool.drain(keep(2)).await.is_err());
        assert!(Spool::of(&home).bytes() > 0, "it waits on");
        taken.lock().unwrap().clear();
        // A line that was torn by a kill keeps nobody.
        fs::write(&spool.path, [fs::read(&spool.path).unwrap(), b"{\"key\":\"d\",".to_vec()].concat())
            .unwrap();
        spool.drain(keep(9)).await.unwrap();
        assert_eq!(*taken.lock().unwrap(), ["a", "b", "c"]);
        assert_eq!(spool.bytes(), 0);
    }
}
