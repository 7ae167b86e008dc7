//! Which configuration a helmd begins with: as a rule the files as they are, which are kept as a version by that.

use helm_core::spec::{Config, Fault};
use helm_core::time::Wall;

use super::{Author, Refused, Standing, Version, Versions};
use crate::clock;
use crate::config::{self, RELOAD, Read, Texts};
use crate::drift::{self, Reading};
use crate::home::Home;

/// How it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// By the files as they are: an operator, the boot, or a crash.
    Files,
    /// By what is in force, whatever the files say by now: a reload, or a helmd that was replaced by another program.
    InForce,
}

/// A configuration to run with.
#[derive(Debug)]
pub struct Begun {
    /// The configuration.
    pub config: Config,
    /// The files that it was read from.
    pub texts: Texts,
    /// Since when it is in force.
    pub since: Wall,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// What is to be said as long as the files are as they are now: helmd does not run by them.
    pub alert: Option<String>,
    /// The files as they are now.
    pub reading: Reading,
}

/// There is none.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The files are faulty and none is kept that was good.
    #[error("the configuration has {} fault(s) and there is no last good copy:\n{}", .faults.len(), list(.faults))]
    Faulty {
        /// All of them.
        faults: Vec<Fault>,
    },
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n")
}

/// See the module. Blocking.
pub fn begin(home: &Home, versions: &Versions, how: Begin) -> Result<Begun, BeginError> {
    // First: whoever writes while the files are read, has changed them afterwards.
    let reading = Reading::now(home);
    let files = config::read(home);
    let standing = versions.standing();
    let current = standing.current.and_then(|number| Some((number, versions.read(number)?)));
    let current = current.filter(|(_, read)| read.sound().is_some());
    let refused = standing
        .refused
        .as_ref()
        .filter(|refused| versions.read(refused.number).is_some_and(|read| read.texts == files.texts));
    let goes_on = how == Begin::InForce || standing.under_way().is_some();
    match current {
        Some((number, read)) if goes_on || refused.is_some() || files.sound().is_none() => {
            let since = since(versions, number);
            let alert = match (refused, files.sound()) {
                (Some(refused), _) => Some(taken_back(refused, number)),
                (None, None) if !goes_on => Some(broken(&files)),
                (None, _) => {
                    read.sound().and_then(|config| drift::verdict(config, &read.texts, &files, since))
                }
            };
            let warnings = files.faults.iter().map(ToString::to_string).collect();
            in_force(read, since, warnings, alert, reading).ok_or(BeginError::Faulty { faults: files.faults })
        }
        current => {
            let mut warnings: Vec<String> = files.faults.iter().map(ToString::to_string).collect();
            if files.sound().is_none() {
                return Err(BeginError::Faulty { faults: files.faults });
            }
            let same = current.filter(|(_, read)| {
                files.sound().zip(read.sound()).is_some_and(|(files, read)| files.means_the_same(read))
            });
            let since = match same {
                Some((number, _)) => since(versions, number),
                None => kept(versions, &files.texts, standing, &mut warnings),
            };
            in_force(files, since, warnings, None, reading)
                .ok_or_else(|| BeginError::Faulty { faults: Vec::new() })
        }
    }
}

fn in_force(
    read: Read,
    since: Wall,
    warnings: Vec<String>,
    alert: Option<String>,
    reading: Reading,
) -> Option<Begun> {
    let Read { texts, config, .. } = read;
    Some(Begun { config: config?, texts, since, warnings, alert, reading })
}

fn since(versions: &Versions, number: u64) -> Wall {
    let version = versions.list().into_iter().find(|version| version.number == number);
    version.map_or_else(clock::wall, |version| Wall(version.at))
}

/// The files as they are become a version, and the one in force.
fn kept(versions: &Versions, texts: &Texts, standing: Standing, warnings: &mut Vec<String>) -> Wall {
    let author = Author { by: "helmd".into(), why: "start of helmd".into() };
    let keep = || {
        let Version { number, at, .. } =
            versions.keep(texts, author, standing.current, &standing.needed())?;
        versions.stand(&Standing { current: Some(number), refused: None, ..standing })?;
        std::io::Result::Ok(Wall(at))
    };
    keep().unwrap_or_else(|e| {
        warnings.push(format!(
            "the configuration could not be kept in instance/config-history ({e}): there is no way back to it"
        ));
        clock::wall()
    })
}

fn broken(files: &Read) -> String {
    format!(
        "THE CONFIGURATION IS BROKEN ({} fault(s): helmctl config check); helmd runs with the last good copy. Mend it, then: {RELOAD}",
        files.errors()
    )
}

/// Names of those to blame that are said.
const BLAMED: usize = 3;

/// What is said of files that did not prove themselves: everywhere, so it is short. The history has the rest.
fn taken_back(refused: &Refused, current: u64) -> String {
    let Refused { number, who, why: _ } = refused;
    let named: Vec<&str> = who.iter().take(BLAMED).map(AsRef::as_ref).collect();
    let more = who.len().saturating_sub(BLAMED);
    let blame = match (named.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(": {} did not become healthy", named.join(", ")),
        (false, more) => format!(": {} and {more} more did not become healthy", named.join(", ")),
    };
    format!(
        "configuration {number} was taken back{blame}; helmd runs by configuration {current}. Why, and what to do: helmctl config history"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use helm_core::name::ServiceName;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        home: Home,
        versions: Versions,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let versions = Versions::of(&home);
        Place { dir, home, versions }
    }

    impl Place {
        fn write(&self, program: &str) {
            let text = format!("{{\"a\": {{\"command\": [\"{program}\"]}}}}");
            fs::write(self.dir.path().join("services.json"), text).unwrap();
        }

        fn begin(&self, how: Begin) -> (String, Option<String>) {
            let begun = begin(&self.home, &self.versions, how).unwrap();
            (helm_core::spec::argv(&begun.config.services[0]).unwrap().join(" "), begun.alert)
        }
    }

    #[test]
    fn the_files_are_kept_once_by_what_they_mean() {
        let place = place();
        place.write("x");
        assert_eq!(place.begin(Begin::Files), ("x".into(), None));
        let text = fs::read_to_string(place.dir.path().join("services.json")).unwrap();
        fs::write(place.dir.path().join("services.json"), format!("\n {text}")).unwrap();
        assert_eq!(place.begin(Begin::Files), ("x".into(), None));
        assert_eq!(place.versions.list().len(), 1);
        place.write("y");
        let (argv, alert) = place.begin(Begin::InForce);
        assert_eq!(argv, "x", "an edit is not applied by the way");
        assert!(alert.unwrap().contains("services.json was changed after helmd read it"));
        assert_eq!(place.begin(Begin::Files), ("y".into(), None));
        assert_eq!(place.versions.standing().current, Some(2));
    }

    #[test]
    fn faulty_files_leave_the_last_good_ones_in_force() {
        let place = place();
        place.write("x");
        place.begin(Begin::Files);
        fs::write(place.dir.path().join("services.json"), "{").unwrap();
        let (argv, alert) = place.begin(Begin::Files);
        assert_eq!(argv, "x");
        assert!(alert.unwrap().starts_with("THE CONFIGURATION IS BROKEN (1 fault(s)"));
        fs::remove_dir_all(place.versions.dir()).unwrap();
        assert!(matches!(
            begin(&place.home, &place.versions, Begin::Files),
            Err(BeginError::Faulty { faults }) if faults.len() == 1
        ));
    }

    #[test]
    fn what_was_taken_back_is_not_applied_until_it_is_mended() {
        let place = place();
        place.write("good");
        place.begin(Begin::Files);
        place.write("bad");
        let texts = config::read(&place.home).texts;
        let author = Author { by: "me".into(), why: "reload".into() };
        let bad = place.versions.keep(&texts, author, Some(1), &[]).unwrap();
        let names = ["a", "b", "c", "d", "e"].map(|name| ServiceName::new(name).unwrap());
        let refused =
            Some(Refused { number: bad.number, who: names.to_vec(), why: "a: exited with code 1".into() });
        let standing = Standing { refused, ..place.versions.standing() };
        place.versions.stand(&standing).unwrap();
        for how in [Begin::Files, Begin::InForce] {
            let (argv, alert) = place.begin(how);
            assert_eq!(argv, "good");
            assert_eq!(
                alert.unwrap(),
                "configuration 2 was taken back: a, b, c and 2 more did not become healthy; helmd runs by configuration 1. Why, and what to do: helmctl config history"
            );
        }
        place.write("mended");
        assert_eq!(place.begin(Begin::Files), ("mended".into(), None));
        assert_eq!(place.versions.standing().refused, None);
    }
}
