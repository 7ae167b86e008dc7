//! Holds the store against what services and senders say of themselves.
//!
//! Every line and every entry has a number of its own in its track: a stream of a life of a service, or a sender. Read in the order of ids, a track
//! must have each number that is owed, none twice, none out of order, and none that was never written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use harness::home::{Home, Said};
use serde::Deserialize;
use serde_json::Value;

use crate::senders::Word;

/// Faults of one track that are told in full.
const TOLD: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    captured: usize,
    acknowledged: usize,
    missing: u64,
    twice: u64,
    disorder: u64,
    foreign: u64,
    others: u64,
    verify: &'static str,
    told: Vec<String>,
}

/// An entry as it is exported.
#[derive(Deserialize)]
struct Entry {
    id: i64,
    service: String,
    source: String,
    stream: Option<String>,
    message: String,
}

/// Name of the service, and which of its sequences.
type Track = (String, String);

/// Numbers of each track with the entries' ids.
#[derive(Default)]
struct Store {
    tracks: BTreeMap<Track, Vec<(i64, u64)>>,
    /// Entries by service.
    services: BTreeMap<String, u64>,
    /// Entries that are none of ours to judge, or look like none that was written.
    strange: Vec<String>,
}

/// Reads the whole store. The words are those of an export that failed.
fn read(home: &Home) -> Result<Store, String> {
    let mut command = home.helmctl(&["logs", "export", "--json"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| format!("helmctl: {e}"))?;
    let mut store = Store::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|e| format!("export: {e}"))?;
            let entry: Entry = serde_json::from_str(&line).map_err(|e| format!("export: {e}: {line}"))?;
            store.add(entry);
        }
    }
    let mut words = String::new();
    if let Some(mut err) = child.stderr.take() {
        err.read_to_string(&mut words).map_err(|e| format!("export: {e}"))?;
    }
    let status = child.wait().map_err(|e| format!("export: {e}"))?;
    store.tracks.values_mut().for_each(|track| track.sort_unstable());
    if status.success() { Ok(store) } else { Err(format!("export: {words}")) }
}

impl Store {
    fn add(&mut self, entry: Entry) {
        // helmd's own words: how many there are, nobody knows.
        if entry.service == "helm" {
            return;
        }
        *self.services.entry(entry.service.clone()).or_default() += 1;
        match number(&entry) {
            Some((track, number)) => {
                self.tracks.entry((entry.service, track)).or_default().push((entry.id, number));
            }
            None => self.strange.push(format!(
                "{}: entry {} was never written so: {} {:?} {:?}",
                entry.service, entry.id, entry.source, entry.stream, entry.message
            )),
        }
    }
}

/// Of which sequence it is which. `None`: neither a service nor a sender writes such a thing.
fn number(entry: &Entry) -> Option<(String, u64)> {
    let words: Vec<&str> = entry.message.split(' ').collect();
    let number = |word: &str| word.parse::<u64>().ok().filter(|n| n.to_string() == *word);
    match (entry.source.as_str(), entry.stream.as_deref(), words.as_slice()) {
        ("captured", Some(stream), [first, life, n, padding])
            if *first == stream && padding.bytes().all(|b| b == b'.') && entry.message.len() == 63 =>
        {
            Some((format!("{stream} of {life}"), number(n)?))
        }
        ("sent", None, ["sent", append, half @ ("1" | "2")]) => {
            Some(("sent".to_owned(), 2 * number(append)?.checked_sub(1)? + number(half)?))
        }
        _ => None,
    }
}

impl Verdict {
    /// A fault that has no number.
    pub(crate) fn fault(&mut self, words: String) {
        self.others += 1;
        self.told.push(words);
    }

    pub(crate) fn faults(&self) -> u64 {
        self.missing + self.twice + self.disorder + self.foreign + self.others
    }

    /// Where they are, as far as they are told.
    pub(crate) fn told(&self) -> &[String] {
        &self.told
    }

    pub(crate) fn summary(&self) -> String {
        let Self { captured, acknowledged, missing, twice, disorder, foreign, verify, .. } = self;
        format!(
            "captured {captured}, acknowledged {acknowledged}, missing {missing}, twice {twice}, out of order {disorder}, \
             never written {foreign}, verify {verify}, faults {}",
            self.faults()
        )
    }

    /// Reads and judges everything. Services and senders have ended.
    pub(crate) fn of(home: &Home, services: &[String], words: &[Word]) -> Self {
        let mut verdict = Self { verify: "not asked", ..Self::default() };
        let mut store = match read(home) {
            Ok(store) => store,
            Err(words) => {
                verdict.fault(words);
                return verdict;
            }
        };
        for name in services {
            for life in home.journal(name).lives {
                let Some(end) = life.end else {
                    verdict.fault(format!("{name}: a life without an end: {life:?}"));
                    continue;
                };
                for (stream, count) in [("stdout", end.out), ("stderr", end.err)] {
                    let track = (name.clone(), format!("{stream} of {}", life.nonce));
                    let found = store.tracks.remove(&track).unwrap_or_default();
                    verdict.captured += found.len();
                    verdict.judge(&format!("{name}: {} line", track.1), &found, count, |_| true);
                }
            }
        }
        for word in words {
            verdict.sender(word, &mut store);
        }
        // What is left are lives that never were, and senders that there are not.
        for ((service, track), found) in &store.tracks {
            verdict.foreign += found.len() as u64;
            verdict.told.push(format!("{service}: {track}: {} entries, first {:?}", found.len(), found[0]));
        }
        verdict.foreign += store.strange.len() as u64;
        verdict.told.extend(store.strange.iter().take(TOLD).cloned());
        verdict.counts(home, &store);
        let said = home.ctl(&["logs", "verify"]);
        verdict.verify = if said.code == 0 { "ok" } else { "FAILED" };
        if said.code != 0 {
            verdict.fault(format!("verify: {}{}", said.out, said.err));
        }
        verdict
    }

    fn sender(&mut self, word: &Word, store: &mut Store) {
        let Word { name, way, acknowledged, last, .. } = word;
        let found = store.tracks.remove(&(name.clone(), "sent".to_owned())).unwrap_or_default();
        self.acknowledged += 2 * acknowledged.len();
        let promised: BTreeSet<u64> = acknowledged.iter().copied().collect();
        let what = format!("{name} ({way:?}): entry");
        self.judge(&what, &found, 2 * last, |n| promised.contains(&n.div_ceil(2)));
        let there: BTreeSet<u64> = found.iter().map(|(_, n)| *n).collect();
        for (id, n) in &found {
            let other = if n % 2 == 0 { n - 1 } else { n + 1 };
            if !there.contains(&other) {
                self.fault(format!("{name}: append {} was split: entry {id} is there alone", n.div_ceil(2)));
            }
        }
        if let Some(fault) = &word.fault {
            self.fault(format!("{name}: {fault}"));
        }
    }

    /// `found` is in the order of ids; numbers go from 1 to `last`.
    fn judge(&mut self, what: &str, found: &[(i64, u64)], last: u64, owed: impl Fn(u64) -> bool) {
        let mut told = Vec::new();
        let mut seen: BTreeMap<u64, i64> = BTreeMap::new();
        let mut highest: Option<(i64, u64)> = None;
        for (id, n) in found {
            if *n == 0 || *n > last {
                self.foreign += 1;
                told.push(format!("{what} {n} is entry {id}, and {last} is the last that was written"));
            } else if let Some(first) = seen.get(n) {
                self.twice += 1;
                told.push(format!("{what} {n} is there twice: entries {first} and {id}"));
            } else {
                // What had no answer was still under way when the next was sent: either may come first.
                if let Some((before, high)) = highest.filter(|(_, high)| *n < *high && owed(*n)) {
                    self.disorder += 1;
                    told.push(format!("{what} {n} is entry {id}, behind {high}, which is entry {before}"));
                }
                seen.insert(*n, *id);
                if highest.is_none_or(|(_, high)| *n > high) {
                    highest = Some((*id, *n));
                }
            }
        }
        let mut gap: Option<(u64, u64)> = None;
        for n in (1..=last).filter(|n| !seen.contains_key(n) && owed(*n)) {
            self.missing += 1;
            gap = match gap {
                Some((from, to)) if to + 1 == n => Some((from, n)),
                other => {
                    told.extend(other.map(|gap| missing(what, gap, &seen)));
                    Some((n, n))
                }
            };
        }
        told.extend(gap.map(|gap| missing(what, gap, &seen)));
        let more = told.len().saturating_sub(TOLD);
        self.told.extend(told.into_iter().take(TOLD));
        if more > 0 {
            self.told.push(format!("{what}: {more} more"));
        }
    }

    /// The counts by service, which are kept beside the entries, say the same.
    fn counts(&mut self, home: &Home, store: &Store) {
        let said: Said = home.ctl(&["logs", "stats", "--json"]);
        let Ok(stats) = serde_json::from_str::<Value>(&said.out) else {
            return self.fault(format!("stats: {}{}", said.out, said.err));
        };
        let sum = |row: &Value| -> u64 {
            ["debug", "info", "warning", "error", "critical"].iter().filter_map(|l| row[l].as_u64()).sum()
        };
        for (service, rows) in &store.services {
            let counted = stats["services"].as_array().into_iter().flatten();
            let counted: u64 = counted.filter(|row| row["service"] == **service).map(sum).sum();
            if counted != *rows {
                self.fault(format!("{service}: the store counts {counted} entries and holds {rows}"));
            }
        }
    }
}

fn missing(what: &str, (from, to): (u64, u64), seen: &BTreeMap<u64, i64>) -> String {
    let before = seen.range(..from).next_back().map(|(n, id)| format!("{n} is entry {id}"));
    let behind = seen.range(to + 1..).next().map(|(n, id)| format!("{n} is entry {id}"));
    let numbers = if from == to { format!("{from} is") } else { format!("{from} to {to} are") };
    let word = |side: Option<String>| side.unwrap_or_else(|| "nothing".to_owned());
    format!("{what} {numbers} missing; before it: {}; behind it: {}", word(before), word(behind))
}
