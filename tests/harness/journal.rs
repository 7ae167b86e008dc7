//! Reads what the fixtures say of their own lives, and holds captured lines against it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::capture::Line;

/// One life of a fixture, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its name in lines and journal.
    pub nonce: String,
    /// When it began (CLOCK_MONOTONIC, nanoseconds).
    pub at: u64,
    /// Main process.
    pub pid: u32,
    /// The run id that Helm gave it.
    pub run: String,
    /// How it ended, if it did so by itself.
    pub end: Option<End>,
}

/// The last word of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When (CLOCK_MONOTONIC, nanoseconds).
    pub at: u64,
    /// Its exit code.
    pub code: i32,
    /// Lines written on stdout.
    pub out: u64,
    /// Lines written on stderr.
    pub err: u64,
}

/// The journal of a service.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Lives in the order of their starts.
    pub lives: Vec<Life>,
    /// Nonces of instances that found the lock held by another one.
    pub clashes: Vec<String>,
    /// SIGTERMs that were ignored.
    pub deaf: usize,
}

/// Reads a journal; one that is not there yet is empty.
pub fn read(path: &Path) -> io::Result<Journal> {
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let mut journal = Journal::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (word, nonce) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let fields: BTreeMap<&str, &str> = words.filter_map(|w| w.split_once('=')).collect();
        let number = |key: &str| fields.get(key).and_then(|v| v.parse::<u64>().ok()).unwrap_or_default();
        match word {
            "start" => journal.lives.push(Life {
                nonce: nonce.to_owned(),
                at: number("at"),
                pid: number("pid") as u32,
                run: fields.get("run").copied().unwrap_or_default().to_owned(),
                end: None,
            }),
            "end" => {
                let life = journal.lives.iter_mut().rfind(|life| life.nonce == nonce);
                let end = End {
                    at: number("at"),
                    code: number("code") as i32,
                    out: number("out"),
                    err: number("err"),
                };
                life.ok_or_else(|| io::Error::other(format!("end without start: {line}")))?.end = Some(end);
            }
            "clash" => journal.clashes.push(nonce.to_owned()),
            "deaf" => journal.deaf += 1,
            _ => return Err(io::Error::other(format!("{}: {line:?} is not understood", path.display()))),
        }
    }
    Ok(journal)
}

/// The numbers that a life's lines have in the log, per stream, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// stdout
    pub out: Vec<u64>,
    /// stderr
    pub err: Vec<u64>,
}

/// Sorts numbered lines (`<stream> <nonce> <n> …`) by life. Other lines are left out.
pub fn heard(lines: &[Line]) -> BTreeMap<String, Heard> {
    let mut lives: BTreeMap<String, Heard> = BTreeMap::new();
    for line in lines {
        let text = line.lossy();
        let mut words = text.split(' ');
        let (Some(stream), Some(nonce), Some(n)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(n) = n.parse() else { continue };
        if stream != line.stream {
            continue;
        }
        let life = lives.entry(nonce.to_owned()).or_default();
        if stream == "stdout" { life.out.push(n) } else { life.err.push(n) }
    }
    lives
}

/// What is wrong with the numbers of one stream: each from 1 to `last` once and in order. `last` is `None` for a life
/// that has not said how many it wrote.
pub fn faults(numbers: &[u64], last: Option<u64>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut expected = 1;
    for n in numbers {
        if *n > expected {
            faults.push(Fault::Missing(expected, n - 1));
        }
        if *n < expected {
            faults.push(Fault::Again(*n));
        }
        expected = expected.max(n + 1);
    }
    if let Some(last) = last.filter(|last| *last >= expected) {
        faults.push(Fault::Missing(expected, last));
    }
    faults
}

/// A fault in a sequence of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// From, to: not in the log.
    Missing(u64, u64),
    /// In the log twice, or too late.
    Again(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_judged() {
        assert_eq!(faults(&[1, 2, 3], Some(3)), []);
        assert_eq!(faults(&[1, 2, 4], None), [Fault::Missing(3, 3)]);
        assert_eq!(faults(&[1, 2, 2, 3], Some(3)), [Fault::Again(2)]);
        assert_eq!(faults(&[1, 3, 2], Some(3)), [Fault::Missing(2, 2), Fault::Again(2)]);
        assert_eq!(faults(&[1], Some(3)), [Fault::Missing(2, 3)]);
        assert_eq!(faults(&[], Some(0)), []);
    }
}
