//! Whether helmd still runs by the files of the configuration as they are: an edit is noticed when somebody asks, and
//! costs five `stat` calls until then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use helm_core::spec::{Config, Severity};
use helm_core::time::Wall;
use helm_shim::cri;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::clock;
use crate::config::{self, FILES, RELOAD};
use crate::home::Home;
use crate::keeper::World;
use crate::store::keep::Retention;
use crate::work;

/// A home in a dead file system must not keep anybody from an answer.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self { modified: (meta.mtime(), meta.mtime_nsec()), size: meta.len(), inode: meta.ino() })
    }
}

/// The files as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    at: Wall,
    files: [Option<Stamp>; FILES.len()],
}

impl Reading {
    /// Blocking.
    pub fn now(home: &Home) -> Self {
        Self { at: clock::wall(), files: FILES.map(|name| Stamp::of(&home.path().join(name))) }
    }
}

/// What helmd runs by, beside what is in the files.
#[derive(Debug)]
pub struct Drift {
    world: Arc<World>,
    /// Retention can be set while helmd runs.
    retention: Retention,
    /// What helmd read, and what was to be said of it.
    first: Reading,
    broken: Option<String>,
    /// The newest look, and what was to be said after it. Held while the next one is under way: one thread at most.
    last: Arc<Mutex<(Reading, Option<String>)>>,
}

impl Drift {
    /// `broken`: what is to be said of the files as they were read.
    pub fn new(world: Arc<World>, retention: Retention, first: Reading, broken: Option<String>) -> Self {
        let last = Arc::new(Mutex::new((first.clone(), broken.clone())));
        Self { world, retention, first, broken, last }
    }

    /// What an operator must know: helmd does not run by the files as they are now.
    pub async fn alert(self: &Arc<Self>) -> Option<String> {
        let look = async {
            let last = self.last.clone().lock_owned().await;
            let this = self.clone();
            work::CHECKS.run(move || Ok(this.look(last))).await
        };
        match timeout(LOOK_WITHIN, look).await {
            Ok(Ok(alert)) => alert,
            Ok(Err(_)) | Err(_) => {
                Some(format!("the configuration in {} cannot be looked at", self.world.home.path().display()))
            }
        }
    }

    fn look(&self, mut last: OwnedMutexGuard<(Reading, Option<String>)>) -> Option<String> {
        let now = Reading::now(&self.world.home);
        if now.files == self.first.files {
            *last = (now, self.broken.clone());
        } else if now.files != last.0.files {
            let (config, faults) = config::read(&self.world.home);
            let errors = faults.iter().filter(|f| f.severity == Severity::Error).count();
            let mut run_by = self.world.config.clone();
            run_by.settings.retention = self.retention.rules().classes;
            let there = config.as_ref().filter(|_| errors == 0);
            let alert = verdict(&run_by, there, errors, &self.first, &now);
            *last = (now, alert);
        }
        last.1.clone()
    }
}

/// An edit that changes nothing in what the files say is none.
fn verdict(
    run_by: &Config,
    there: Option<&Config>,
    errors: usize,
    first: &Reading,
    now: &Reading,
) -> Option<String> {
    if there.is_some_and(|there| there.means_the_same(run_by)) {
        return None;
    }
    let edited = FILES.iter().zip(first.files.iter().zip(&now.files)).filter(|(_, (was, is))| was != is);
    let names: Vec<&str> = edited.map(|(name, _)| *name).collect();
    let (were, them) = if names.len() == 1 { ("was", "it") } else { ("were", "them") };
    let changed = format!(
        "{} {were} changed after helmd read {them} (at {})",
        names.join(", "),
        moment(first.at, now.at)
    );
    Some(if there.is_none() {
        format!("{changed} and HAS {errors} FAULT(S): helmctl config check. helmd goes on as before")
    } else {
        format!("{changed}; apply with: {RELOAD}, then helmctl restart NAME of what you changed")
    })
}

/// `12:03 UTC`, with the date where it is not today's.
fn moment(at: Wall, now: Wall) -> String {
    let (then, today) = (cri::stamp(at), cri::stamp(now));
    let text = String::from_utf8_lossy(&then);
    let time = text.get(11..16).unwrap_or_default();
    if then[..10] == today[..10] {
        format!("{time} UTC")
    } else {
        format!("{} {time} UTC", text.get(..10).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use helm_core::spec::{Source, Sources, read};

    use super::*;

    const DAY: i64 = 86_400_000_000_000;

    fn config(services: &str) -> Config {
        let services = Source { path: "services.json", text: services };
        let sources = Sources { services, helm_services: None, master: None, registry: None, conf: None };
        read("/home", &sources).config.unwrap()
    }

    fn reading(at: i64, size: u64) -> Reading {
        let stamp = Stamp { modified: (0, 0), size, inode: 1 };
        Reading { at: Wall(at), files: [Some(stamp), None, None, None, None] }
    }

    #[test]
    fn only_what_changes_the_meaning_is_told() {
        let (first, now) = (reading(DAY, 10), reading(DAY + 60_000_000_000, 12));
        let run_by = config(r#"{"a": {"command": ["true"]}}"#);
        let spaced = config("{\n  \"a\": {\"command\": [\"true\"]}\n}\n");
        assert_eq!(verdict(&run_by, Some(&spaced), 0, &first, &now), None);
        let other = config(r#"{"a": {"command": ["false"]}}"#);
        let said = verdict(&run_by, Some(&other), 0, &first, &now).unwrap();
        assert!(said.starts_with(
            "services.json was changed after helmd read it (at 00:00 UTC); apply with: helmctl"
        ));
        let said = verdict(&run_by, None, 2, &first, &reading(3 * DAY, 12)).unwrap();
        assert!(
            said.contains("(at 1970-01-02 00:00 UTC) and HAS 2 FAULT(S): helmctl config check"),
            "{said}"
        );
    }
}
