//! Every configuration that was applied, in `instance/config-history/`: the files, and when, by whom and why. And which of
//! them is in force, in `state.json` there.
//!
//! ```text
//! instance/config-history/000007/services.json, instance/helm.conf ...   as they were read
//!                               /version.json                            number, time, who, why
//!                        /state.json                                     what is in force, what is being done about it
//! ```

mod begin;
mod standing;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use begin::{Begin, BeginError, Begun, begin};
pub use standing::{Ended, Operation, Phase, Refused, Standing};

use crate::clock;
use crate::config::{self, Read, Texts};
use crate::home::{Home, private_dir, replace_durably};

/// Configurations that are kept; older ones go.
const KEPT: usize = 50;

/// Who applied a configuration, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// `uid 1000 pid 4711 (helmctl)`, `SIGHUP`, `helmd`
    pub by: String,
    /// `reload`, `rollback to 3`
    pub why: String,
}

/// A configuration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number; they rise by one.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub at: i64,
    /// Who.
    #[serde(flatten)]
    pub author: Author,
    /// The files that are in it.
    pub files: Vec<String>,
    /// What was in force until it was applied; `None`: nothing, or it was never applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<u64>,
    /// It did not prove itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<TakenBack>,
}

/// That a configuration was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// Nanoseconds since 1970.
    pub at: i64,
    /// Why, in words.
    pub why: String,
}

/// Held by whoever reads what is in force, or the files of the home, to change it.
static WRITING: Mutex<()> = Mutex::new(());

/// All that are kept. Blocking; nothing is held in memory.
#[derive(Debug, Clone)]
pub struct Versions {
    home: Home,
}

impl Versions {
    /// Those of this home.
    pub fn of(home: &Home) -> Self {
        Self { home: home.clone() }
    }

    /// The turn to change what is in force, and files of the home: from reading to writing.
    pub fn writing() -> MutexGuard<'static, ()> {
        // Nothing is in it that could be half done.
        WRITING.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self) -> PathBuf {
        self.home.instance().join("config-history")
    }

    fn place(&self, number: u64) -> PathBuf {
        self.dir().join(format!("{number:06}"))
    }

    /// All of them, oldest first. What is not whole is none.
    pub fn list(&self) -> Vec<Version> {
        let Ok(entries) = fs::read_dir(self.dir()) else { return Vec::new() };
        let about = |path: PathBuf| serde_json::from_slice(&fs::read(path.join("version.json")).ok()?).ok();
        let mut all: Vec<Version> = entries.flatten().filter_map(|entry| about(entry.path())).collect();
        all.sort_by_key(|version| version.number);
        all
    }

    /// One of them, as this version of helmd understands it; `None`: it is not kept.
    pub fn read(&self, number: u64) -> Option<Read> {
        let place = self.place(number);
        place.join("version.json").exists().then(|| config::read_from(&self.home, &place))
    }

    /// Keeps one more, which takes the place of `replaced`. Those that are too many go, never one of `needed`.
    pub fn keep(
        &self,
        texts: &Texts,
        author: Author,
        replaced: Option<u64>,
        needed: &[u64],
    ) -> io::Result<Version> {
        let former = self.list();
        let version = Version {
            number: former.last().map_or(1, |last| last.number + 1),
            at: clock::wall().0,
            author,
            files: texts.names().into_iter().map(str::to_owned).collect(),
            replaced,
            taken_back: None,
        };
        let dir = self.dir();
        private_dir(&dir)?;
        let fresh = dir.join("new");
        remove_dir(&fresh)?;
        private_dir(&fresh)?;
        texts.write(&fresh)?;
        describe(&fresh, &version)?;
        fs::rename(&fresh, self.place(version.number))?;
        File::open(&dir)?.sync_all()?;
        let spare = (former.len() + 1).saturating_sub(KEPT);
        for old in former.iter().take(spare).filter(|old| !needed.contains(&old.number)) {
            remove_dir(&self.place(old.number))?;
        }
        Ok(version)
    }

    /// Notes that one was taken back: that stays in the history.
    pub fn mark(&self, number: u64, why: String) -> io::Result<()> {
        let Some(version) = self.list().into_iter().find(|version| version.number == number) else {
            return Ok(());
        };
        let taken_back = Some(TakenBack { at: clock::wall().0, why });
        describe(&self.place(number), &Version { taken_back, ..version })
    }

    /// What is in force, with `instance/helm.conf` as `edit` makes it: what was set while helmd ran is in force from then on.
    /// `_turn`: that of whoever has changed the file as well.
    pub fn amend(
        &self,
        _turn: &MutexGuard<'static, ()>,
        author: Author,
        edit: impl FnOnce(&str) -> String,
    ) -> io::Result<()> {
        let standing = self.standing();
        let Some(read) = standing.current.and_then(|number| self.read(number)) else { return Ok(()) };
        let mut texts = read.texts;
        let conf = texts.conf_mut();
        *conf = Some(edit(conf.as_deref().unwrap_or_default()));
        let version = self.keep(&texts, author, standing.current, &standing.needed())?;
        self.stand(&Standing { current: Some(version.number), ..standing })
    }

    /// What is in force. A file that is not there or cannot be read says nothing.
    pub fn standing(&self) -> Standing {
        let text = fs::read(self.state()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes that down, durably.
    pub fn stand(&self, standing: &Standing) -> io::Result<()> {
        private_dir(&self.dir())?;
        replace_durably(&self.state(), &serde_json::to_vec_pretty(standing)?, 0o600)
    }

    fn state(&self) -> PathBuf {
        self.dir().join("state.json")
    }
}

fn describe(place: &Path, version: &Version) -> io::Result<()> {
    replace_durably(&place.join("version.json"), &serde_json::to_vec_pretty(version)?, 0o600)
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(why: &str) -> Author {
        Author { by: "test".into(), why: why.into() }
    }

    #[test]
    fn they_are_numbered_whole_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let versions = Versions::of(&home);
        assert_eq!((versions.list(), versions.standing()), (Vec::new(), Standing::default()));
        for n in 1..=KEPT + 3 {
            let text = format!("{{\"s{n}\": {{\"command\": [\"x\"]}}}}");
            fs::write(dir.path().join("services.json"), text).unwrap();
            let read = config::read(&home);
            versions.keep(&read.texts, author(&format!("no. {n}")), None, &[2]).unwrap();
        }
        let all = versions.list();
        let numbers: Vec<u64> = all.iter().map(|version| version.number).collect();
        let kept = u64::try_from(KEPT).unwrap();
        assert_eq!(
            (numbers[0], numbers[1], numbers.last()),
            (2, 4, Some(&(kept + 3))),
            "what is needed stays"
        );
        assert_eq!(all[0].author.why, "no. 2");
        let second = versions.read(2).unwrap();
        assert_eq!(second.sound().unwrap().services[0].name.as_str(), "s2");
        assert!(versions.read(1).is_none());
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(versions.place(2).join("services.json")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
}
