//! Where incidents lie: `instance/incidents/NUMBER-SERVICE.json`, a bounded number of them. Blocking.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use helm_core::incident::Incident;

use crate::home::{Home, private_dir, replace_durably};

/// Incidents of one service, and of all; older ones go. The store may have them longer.
const OF_ONE: usize = 50;
const OF_ALL: usize = 1_000;

/// The incidents of a home. Nothing is held in memory.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
}

/// What its name says of one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    number: u64,
    service: String,
    path: PathBuf,
}

/// Which incidents.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names of services; empty: all.
    pub names: Vec<String>,
    /// Only with lower numbers.
    pub before: Option<u64>,
    /// From this time on, nanoseconds since 1970.
    pub since: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

impl Shelf {
    /// Those of this home.
    pub fn of(home: &Home) -> Self {
        Self { dir: home.instance().join("incidents") }
    }

    /// By number.
    fn labels(&self) -> Vec<Label> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let label = |path: PathBuf| {
            let (number, service) = path.file_name()?.to_str()?.strip_suffix(".json")?.split_once('-')?;
            Some(Label { number: number.parse().ok()?, service: service.to_owned(), path })
        };
        let mut all: Vec<Label> = entries.flatten().filter_map(|entry| label(entry.path())).collect();
        all.sort_by_key(|label| label.number);
        all
    }

    /// The number of the newest.
    pub fn newest(&self) -> Option<u64> {
        self.labels().last().map(|label| label.number)
    }

    /// One of them.
    pub fn get(&self, number: u64) -> Option<Incident> {
        self.labels().iter().find(|label| label.number == number).and_then(read)
    }

    /// The newest of a service.
    pub fn newest_of(&self, service: &str) -> Option<Incident> {
        self.labels().iter().rev().filter(|label| label.service == service).find_map(read)
    }

    /// The newest of those that are wanted, newest first.
    pub fn list(&self, wanted: &Wanted) -> Vec<Incident> {
        let labels = self.labels();
        let labels = labels.iter().rev().filter(|label| wanted.lets_through(label.number, &label.service));
        let recent = |incident: &Incident| wanted.since.is_none_or(|since| since <= incident.mishap.at.0);
        labels.filter_map(read).take_while(recent).take(wanted.limit).collect()
    }

    /// Older ones than these were taken away, or the directory was.
    pub fn may_lack(&self, names: &[String]) -> bool {
        let labels = self.labels();
        let of = |name: &String| labels.iter().filter(|label| label.service == *name).count();
        labels.is_empty()
            || labels.len() >= OF_ALL
            || names.iter().any(|name| of(name) >= OF_ONE)
            || (names.is_empty() && counts(&labels).into_values().any(|count| count >= OF_ONE))
    }

    /// Keeps one more; those that are too many go.
    pub fn keep(&self, incident: &Incident) -> io::Result<()> {
        private_dir(&self.dir)?;
        let name = format!("{:08}-{}.json", incident.number, incident.mishap.service);
        replace_durably(&self.dir.join(name), &serde_json::to_vec(incident)?, 0o600)?;
        for label in too_many(self.labels()) {
            fs::remove_file(label.path)?;
        }
        Ok(())
    }
}

impl Wanted {
    fn lets_through(&self, number: u64, service: &str) -> bool {
        self.before.is_none_or(|before| number < before)
            && (self.names.is_empty() || self.names.iter().any(|name| name == service))
    }
}

fn read(label: &Label) -> Option<Incident> {
    serde_json::from_slice(&fs::read(&label.path).ok()?).ok()
}

fn counts(labels: &[Label]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(label.service.as_str()).or_default() += 1);
    counts
}

/// Of `labels`, oldest first, those that go.
fn too_many(labels: Vec<Label>) -> Vec<Label> {
    let mut left = labels.len();
    let mut of_one: BTreeMap<String, usize> =
        counts(&labels).into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    let goes = |label: &Label| {
        let own = of_one.entry(label.service.clone()).or_default();
        let goes = *own > OF_ONE || left > OF_ALL;
        if goes {
            *own -= 1;
            left -= 1;
        }
        goes
    };
    labels.into_iter().filter(goes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use helm_core::exit::Exit;
    use helm_core::incident::{Evidence, Follows, Mishap, What};
    use helm_core::name::ServiceName;
    use helm_core::status::RunId;
    use helm_core::time::Wall;

    fn incident(number: u64, service: &str) -> Incident {
        let what = What::Ended { exit: Exit::Code(7), ran: std::time::Duration::from_secs(3) };
        let service = ServiceName::new(service).unwrap();
        let at = Wall(i64::try_from(number).unwrap());
        let mishap = Mishap { service, run: RunId(number), at, what, follows: Follows::Again };
        Incident::new(number, mishap, Evidence::default())
    }

    fn numbers(found: &[Incident]) -> Vec<u64> {
        found.iter().map(|incident| incident.number).collect()
    }

    #[test]
    fn they_are_bounded_by_service_and_found_by_number_name_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let shelf = Shelf::of(&home);
        assert!(shelf.newest().is_none() && shelf.may_lack(&[]), "the directory may have been taken away");
        shelf.keep(&incident(1, "web-2")).unwrap();
        assert!(!shelf.may_lack(&[]));
        for number in 2..=61 {
            shelf.keep(&incident(number, "core")).unwrap();
        }
        assert_eq!(shelf.newest(), Some(61));
        assert_eq!(shelf.get(1), Some(incident(1, "web-2")), "another service's are not pushed out");
        assert_eq!((shelf.get(11), shelf.get(12)), (None, Some(incident(12, "core"))));
        let of = |names: &[&str], before, since, limit| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            numbers(&shelf.list(&Wanted { names, before, since, limit }))
        };
        assert_eq!(of(&[], None, None, 3), [61, 60, 59]);
        assert_eq!(of(&["core"], Some(14), None, 9), [13, 12]);
        assert_eq!(of(&["web-2"], None, None, 9), [1]);
        assert_eq!(of(&[], None, Some(60), 9), [61, 60]);
        assert_eq!(shelf.newest_of("core").unwrap().number, 61);
        assert!(
            shelf.may_lack(&["core".into()]) && !shelf.may_lack(&["web-2".into()]) && shelf.may_lack(&[])
        );
    }

    #[test]
    fn one_that_cannot_be_read_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let shelf = Shelf::of(&home);
        shelf.keep(&incident(1, "core")).unwrap();
        fs::write(home.instance().join("incidents/00000002-core.json"), "{\"number\":").unwrap();
        fs::write(home.instance().join("incidents/notes.txt"), "of somebody").unwrap();
        assert_eq!(shelf.newest_of("core"), Some(incident(1, "core")));
        assert_eq!(shelf.newest(), Some(2), "its number is not given again");
    }
}
