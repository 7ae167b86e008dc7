//! Whether helmd still runs by the files of the configuration as they are: an edit is noticed when somebody asks, and
//! costs five `stat` calls until then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use helm_core::spec::Config;
use helm_core::time::Wall;
use helm_shim::cri;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::clock;
use crate::config::{self, FILES, RELOAD, Read, Texts};
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
pub struct Reading([Option<Stamp>; FILES.len()]);

impl Reading {
    /// Blocking.
    pub fn now(home: &Home) -> Self {
        Self(FILES.map(|name| Stamp::of(&home.path().join(name))))
    }
}

/// What helmd runs by.
#[derive(Debug)]
pub struct InForce {
    /// The files that it was read from.
    pub texts: Texts,
    /// Since when.
    pub since: Wall,
}

/// What helmd runs by, beside what is in the files.
#[derive(Debug)]
pub struct Drift {
    world: Arc<World>,
    in_force: InForce,
    /// Retention can be set while helmd runs.
    retention: Retention,
    /// The files when helmd began, and what was to be said of them.
    first: (Reading, Option<String>),
    /// The newest look, and what was to be said after it. Held while the next one is under way: one thread at most.
    last: Arc<Mutex<(Reading, Option<String>)>>,
}

impl Drift {
    /// `first`: the files as they were when helmd began, and what is to be said of them as long as they stay so.
    pub fn new(
        world: Arc<World>,
        retention: Retention,
        in_force: InForce,
        first: (Reading, Option<String>),
    ) -> Self {
        let last = Arc::new(Mutex::new(first.clone()));
        Self { world, in_force, retention, first, last }
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

    /// The files that are in force.
    pub fn texts(&self) -> &Texts {
        &self.in_force.texts
    }

    /// The configuration that is in force, with what was set while helmd ran.
    pub fn config(&self) -> Config {
        let mut config = self.world.config.clone();
        config.settings.retention = self.retention.rules().classes;
        config
    }

    fn look(&self, mut last: OwnedMutexGuard<(Reading, Option<String>)>) -> Option<String> {
        let now = Reading::now(&self.world.home);
        if now == self.first.0 {
            *last = self.first.clone();
        } else if now != last.0 {
            let files = config::read(&self.world.home);
            let alert = verdict(&self.config(), &self.in_force.texts, &files, self.in_force.since);
            *last = (now, alert);
        }
        last.1.clone()
    }
}

/// What is to be said of files that helmd does not run by. An edit that changes nothing in what the files say is none.
pub(crate) fn verdict(run_by: &Config, texts: &Texts, files: &Read, since: Wall) -> Option<String> {
    if files.sound().is_some_and(|there| there.means_the_same(run_by)) {
        return None;
    }
    let names = texts.differing(&files.texts);
    let (were, them) = if names.len() == 1 { ("was", "it") } else { ("were", "them") };
    let changed = format!(
        "{} {were} changed after helmd read {them} (at {})",
        names.join(", "),
        moment(since, clock::wall())
    );
    Some(if files.sound().is_none() {
        format!(
            "{changed} and HAS {} FAULT(S): helmctl config check. helmd goes on as before",
            files.errors()
        )
    } else {
        format!("{changed}; apply with: {RELOAD}")
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
    use super::*;

    fn read(services: &str) -> Read {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        fs::write(dir.path().join("services.json"), services).unwrap();
        let mut read = config::read(&home);
        // Each has a directory of its own.
        read.config.iter_mut().flat_map(|c| &mut c.services).for_each(|s| s.path = "/home".into());
        read
    }

    #[test]
    fn only_what_changes_the_meaning_is_told() {
        let first = read(r#"{"a": {"command": ["true"]}}"#);
        let say = |now: &Read| verdict(first.config.as_ref().unwrap(), &first.texts, now, Wall(0));
        assert_eq!(say(&read("{\n  \"a\": {\"command\": [\"true\"]}\n}\n")), None);
        let said = say(&read(r#"{"a": {"command": ["false"]}}"#)).unwrap();
        assert!(said.starts_with(
            "services.json was changed after helmd read it (at 1970-01-01 00:00 UTC); apply with: helmctl reload"
        ));
        let said = say(&read("{")).unwrap();
        assert!(said.contains(" and HAS 1 FAULT(S): helmctl config check"), "{said}");
    }

    #[test]
    fn today_is_not_named() {
        const DAY: i64 = 86_400_000_000_000;
        assert_eq!(moment(Wall(DAY), Wall(DAY + 60_000_000_000)), "00:00 UTC");
        assert_eq!(moment(Wall(DAY), Wall(3 * DAY)), "1970-01-02 00:00 UTC");
    }
}
