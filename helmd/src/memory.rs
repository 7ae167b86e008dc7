//! What the next helmd is left: `instance/run/memory.jsonl`, one line for each change, the last line of a service
//! counts.
//!
//! It has to survive helmd and not the host: lines are appended without fsync, and a file of another boot is void, as
//! the run directories beside it are. Written by the journal's thread, after the events of the same step.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use helm_core::memory::Memory;
use helm_core::name::ServiceName;
use helm_shim::rundir::Epoch;
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// After so many bytes the file is written anew, with what counts.
const ROOM: u64 = 1 << 20;

/// What is remembered, by service.
pub type Memories = BTreeMap<ServiceName, Memory>;

/// The file, and what stands in it.
#[derive(Debug)]
pub struct MemoryFile {
    path: PathBuf,
    known: Memories,
    /// Open, and how many bytes may still be appended; opened by writing it anew.
    file: Option<(File, u64)>,
}

#[derive(Serialize)]
struct Line<'a> {
    service: &'a ServiceName,
    memory: &'a Memory,
}

#[derive(Deserialize)]
struct OwnedLine {
    service: ServiceName,
    memory: Memory,
}

impl MemoryFile {
    /// Reads what a former helmd of this boot left. Blocking.
    pub fn open(home: &Home) -> (Self, Memories) {
        let path = home.run().join("memory.jsonl");
        let known = read(&fs::read(&path).unwrap_or_default());
        (Self { path, known: known.clone(), file: None }, known)
    }

    /// Takes changes in. One that cannot be written is written with the next. Blocking.
    pub fn remember(&mut self, changes: Memories) -> io::Result<()> {
        let mut lines = Vec::new();
        for (service, memory) in &changes {
            line(&mut lines, &Line { service, memory })?;
        }
        self.known.extend(changes);
        let written = match &mut self.file {
            Some((file, room)) if *room >= lines.len() as u64 => {
                *room -= lines.len() as u64;
                file.write_all(&lines)
            }
            Some(_) | None => self.anew(),
        };
        if written.is_err() {
            self.file = None;
        }
        written
    }

    /// Beside the old file, so that a kill leaves the one or the other.
    fn anew(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        line(&mut lines, &Epoch::current())?;
        for (service, memory) in &self.known {
            line(&mut lines, &Line { service, memory })?;
        }
        let fresh = self.path.with_extension("jsonl.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&lines)?;
        fs::rename(&fresh, &self.path)?;
        self.file = Some((file, ROOM));
        Ok(())
    }
}

fn line(out: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.push(b'\n');
    Ok(())
}

/// A line that is torn, or of a version that is not understood, is as if it had not been written.
fn read(text: &[u8]) -> Memories {
    let mut lines = text.split(|byte| *byte == b'\n');
    let epoch = lines.next().and_then(|line| serde_json::from_slice::<Epoch>(line).ok());
    if epoch != Some(Epoch::current()) {
        return Memories::new();
    }
    let lines = lines.filter_map(|line| serde_json::from_slice::<OwnedLine>(line).ok());
    lines.map(|line| (line.service, line.memory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use helm_core::event::{Effect, Event};
    use helm_core::fleet::Fleet;
    use helm_core::spec::{self, Source, Sources};
    use helm_core::status::RunId;
    use helm_core::wish::Wishes;

    /// What a fleet of these services leaves.
    fn memories(names: &[&str]) -> Memories {
        let text = names.iter().map(|name| format!("{name:?}: {{\"command\": [\"x\"]}}"));
        let text = format!("{{{}}}", text.collect::<Vec<_>>().join(","));
        let services = Source { path: "services.json", text: &text };
        let sources = Sources { services, helm_services: None, master: None, registry: None, conf: None };
        let services = spec::read("/srv", &sources).config.unwrap().services;
        let now = crate::clock::now();
        let mut fleet = Fleet::new(services, Wishes::default(), Memories::new(), RunId(1), 1, now);
        let effects = fleet.step(now, Event::Adopted).into_iter();
        let remembered = effects.filter_map(|effect| {
            let Effect::Remember { service, memory } = effect else { return None };
            Some((service, *memory))
        });
        remembered.collect()
    }

    #[test]
    fn the_last_word_of_each_service_counts() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let (mut file, known) = MemoryFile::open(&home);
        assert_eq!(known, Memories::new());
        let first = memories(&["a", "b"]);
        assert_eq!(first.len(), 2);
        file.remember(first.clone()).unwrap();
        let later = memories(&["a"]);
        file.remember(later.clone()).unwrap();
        let expected: Memories = first.into_iter().chain(later).collect();
        // A killed helmd may leave a torn line.
        let path = home.run().join("memory.jsonl");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"{\"service\":\"a\",\"mem"].concat()).unwrap();
        let (mut file, known) = MemoryFile::open(&home);
        assert_eq!(known, expected);
        file.remember(Memories::new()).unwrap();
        assert_eq!(MemoryFile::open(&home).1, expected, "written anew after the torn line");
    }

    #[test]
    fn a_file_of_another_boot_is_void() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        MemoryFile::open(&home).0.remember(memories(&["a"])).unwrap();
        let path = home.run().join("memory.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&Epoch::current().boot_id, "another")).unwrap();
        assert_eq!(MemoryFile::open(&home).1, Memories::new());
    }

    #[test]
    fn the_file_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let (mut file, _) = MemoryFile::open(&home);
        let changes = memories(&["a", "b", "c", "d"]);
        for _ in 0..2_000 {
            file.remember(changes.clone()).unwrap();
        }
        let size = fs::metadata(home.run().join("memory.jsonl")).unwrap().len();
        assert!(size < ROOM + 4_096, "{size}");
        assert_eq!(MemoryFile::open(&home).1, changes);
    }
}
