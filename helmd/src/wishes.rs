//! The file of the operator's wishes: `instance/wishes.json`.

use std::fs;
use std::io;
use std::path::PathBuf;

use helm_core::wish::Wishes;
use tokio::sync::{mpsc, oneshot};

use crate::home::{Home, replace_durably};

/// Reads and writes the wishes of a home. Blocking.
#[derive(Debug, Clone)]
pub struct WishFile {
    path: PathBuf,
}

/// What was found at the start.
#[derive(Debug)]
pub struct Loaded {
    /// The wishes; none if there was no file.
    pub wishes: Wishes,
    /// What an operator should know.
    pub warning: Option<String>,
    /// False where there was no file, or it could not be read: adoption then takes what runs for what is wanted.
    pub known: bool,
}

impl WishFile {
    /// The file of this home.
    pub fn of(home: &Home) -> Self {
        Self { path: home.instance().join("wishes.json") }
    }

    /// Reads the file. An unreadable one is moved aside, never deleted: services that run are adopted all the same.
    pub fn load(&self) -> Loaded {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Loaded { wishes: Wishes::default(), warning: None, known: false };
            }
            Err(e) => return self.unreadable(&e.to_string(), "left as it is"),
        };
        match serde_json::from_slice(&text) {
            Ok(wishes) => Loaded { wishes, warning: None, known: true },
            Err(e) => self.aside(&e.to_string()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Writes the file durably.
    pub fn save(&self, wishes: &Wishes) -> io::Result<()> {
        replace_durably(&self.path, &serde_json::to_vec_pretty(wishes)?, 0o600)
    }

    /// A thread of its own for writing, there from the start: a wish waits for no other work, and for no new thread where
    /// there are no processes left. It ends with its handle.
    pub fn writer(self) -> io::Result<WishWriter> {
        let (jobs, mut queue) = mpsc::channel::<Job>(1);
        let write = move || {
            while let Some((wishes, done)) = queue.blocking_recv() {
                // Whoever asked may have gone.
                let _ = done.send(self.save(&wishes));
            }
        };
        std::thread::Builder::new().name("wishes".into()).spawn(write)?;
        Ok(WishWriter(jobs))
    }

    fn aside(&self, why: &str) -> Loaded {
        let bad = self.path.with_extension("json.unreadable");
        let moved = fs::rename(&self.path, &bad).map_or_else(
            |e| format!("could not be moved aside: {e}"),
            |()| format!("kept as {}", bad.display()),
        );
        self.unreadable(why, &moved)
    }

    fn unreadable(&self, why: &str, now: &str) -> Loaded {
        let warning = format!(
            "{} cannot be read ({why}); {now}. What runs goes on; say again what is to run: helmctl up",
            self.path.display()
        );
        Loaded { wishes: Wishes::default(), warning: Some(warning), known: false }
    }
}

type Job = (Wishes, oneshot::Sender<io::Result<()>>);

/// Handle to the thread that writes the wishes, one at a time.
#[derive(Debug)]
pub struct WishWriter(mpsc::Sender<Job>);

impl WishWriter {
    /// Begins to write; the answer comes when the file is durable.
    pub fn save(&self, wishes: Wishes) -> oneshot::Receiver<io::Result<()>> {
        let (done, written) = oneshot::channel();
        // A queue that is full or closed drops `done`, which is an answer as well.
        let _ = self.0.try_send((wishes, done));
        written
    }
}
