//! Holds the services' own words (journals) against what Helm recorded (events, log files).

use std::collections::{BTreeMap, BTreeSet};

use harness::capture::Line;
use harness::home::Home;
use harness::journal::{self, Fault, Heard, Journal, Life};
use serde_json::Value;

use crate::attack::Attack;
use crate::fleet::{Fleet, Kind, Member};

/// What was found.
pub(crate) struct Verdict<'a> {
    home: &'a Home,
    fleet: &'a Fleet,
    /// How each run ended, by its id, as Helm's events say.
    exits: BTreeMap<String, String>,
    faults: BTreeSet<String>,
    lives: usize,
    known: usize,
    unknown: usize,
    lines: u64,
    lost: u64,
}

impl<'a> Verdict<'a> {
    /// Nothing found yet.
    pub(crate) fn new(home: &'a Home, fleet: &'a Fleet) -> Self {
        let (exits, faults) = (BTreeMap::new(), BTreeSet::new());
        Self { home, fleet, exits, faults, lives: 0, known: 0, unknown: 0, lines: 0, lost: 0 }
    }

    /// During the attack: reads the events before they are forgotten, and what must never be wrong.
    pub(crate) fn look(&mut self, attack: &Attack<'_>) {
        self.read_events();
        for member in &self.fleet.members {
            let journal = self.home.journal(&member.name);
            self.judge_lives(member, &journal);
        }
        if attack.deserters > 0 {
            self.faults.insert(format!("{} times helmd ended by itself: see helmd.err", attack.deserters));
        }
    }

    /// After the attack, while the fleet still runs.
    pub(crate) fn settled(&mut self, attack: &Attack<'_>) {
        self.look(attack);
        for name in self.fleet.names(Kind::Steady) {
            let journal = self.home.journal(name);
            if journal.lives.last().is_none_or(|life| life.end.is_some()) {
                self.faults.insert(format!("{name}: does not run any more: {:?}", journal.lives.last()));
            }
        }
    }

    /// After the end of the fleet, while helmd still answers: everything.
    pub(crate) fn ended(&mut self, attack: &Attack<'_>) {
        self.read_events();
        for member in &self.fleet.members {
            let journal = self.home.journal(&member.name);
            self.judge_lives(member, &journal);
            self.lives += journal.lives.len();
            for life in &journal.lives {
                self.judge_exit(member, life, attack);
            }
            if member.numbered {
                self.judge_lines(&member.name, &journal, attack);
            }
        }
        if self.lives != self.known + self.unknown {
            let missing = self.lives - self.known - self.unknown;
            self.faults.insert(format!("the exits of {missing} of {} lives do not match", self.lives));
        }
    }

    fn read_events(&mut self) {
        let said = self.home.ctl(&["events", "--json", "-n", "4096"]);
        for line in said.out.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            let (Some(run), Some(exit)) = (event["run"].as_str(), event["exit"].as_str()) else { continue };
            if event["kind"] != "exit" {
                continue;
            }
            match self.exits.insert(run.to_owned(), exit.to_owned()) {
                Some(former) if former != exit => {
                    self.faults.insert(format!("run {run} ended twice: {former}, then {exit}"));
                }
                Some(_) | None => {}
            }
        }
    }

    fn judge_lives(&mut self, member: &Member, journal: &Journal) {
        let name = &member.name;
        for nonce in &journal.clashes {
            self.faults.insert(format!("{name}: ran twice at once: {nonce}"));
        }
        if let Some((_, before)) = journal.lives.split_last() {
            // A life that did not end by its own will was ended by ours.
            for life in before.iter().filter(|life| life.end.is_none()) {
                self.faults.insert(format!("{name}: a kill ended it: {life:?}"));
            }
        }
        let most = match member.kind {
            Kind::Steady | Kind::Once | Kind::Stopped => 1,
            Kind::Exits => usize::MAX,
        };
        if journal.lives.len() > most || journal.lives.is_empty() {
            self.faults.insert(format!("{name}: {} lives", journal.lives.len()));
        }
    }

    fn judge_exit(&mut self, member: &Member, life: &Life, attack: &Attack<'_>) {
        let name = &member.name;
        let own = life.end.map(|end| format!("code {}", end.code));
        let Some(expected) = member.exit.map(str::to_owned).or(own) else {
            self.faults.insert(format!("{name}: did not note its end: {life:?}"));
            return;
        };
        let unknowable =
            || life.end.is_some_and(|end| attack.diary.unknowable(name, life.pid, life.at, end.at));
        match self.exits.get(&life.run) {
            Some(exit) if *exit == expected => self.known += 1,
            Some(exit) if exit == "unknown" && unknowable() => self.unknown += 1,
            other => {
                self.faults.insert(format!("{name}: {life:?} ended with {expected}, Helm says {other:?}"));
            }
        }
    }

    fn judge_lines(&mut self, name: &str, journal: &Journal, attack: &Attack<'_>) {
        let lines = self.home.lines(name);
        let heard = journal::heard(&lines);
        for life in &journal.lives {
            let Heard { out, err } = heard.get(&life.nonce).cloned().unwrap_or_default();
            self.lines += (out.len() + err.len()) as u64;
            for (stream, numbers, last) in
                [("stdout", out, life.end.map(|e| e.out)), ("stderr", err, life.end.map(|e| e.err))]
            {
                for fault in journal::faults(&numbers, last) {
                    match fault {
                        Fault::Missing(from, to)
                            if Some(to) == last
                                && announced(&lines, journal, life, stream, to - from + 1)
                                && life.end.is_some_and(|end| attack.diary.unheard(name, end.at)) =>
                        {
                            self.lost += to - from + 1;
                        }
                        Fault::Missing(..) | Fault::Again(_) => {
                            self.faults.insert(format!("{name}: {stream} of {life:?}: {fault:?}"));
                        }
                    }
                }
            }
        }
        let known: BTreeSet<&str> = journal.lives.iter().map(|life| life.nonce.as_str()).collect();
        for stranger in heard.keys().filter(|nonce| !known.contains(nonce.as_str())) {
            self.faults.insert(format!("{name}: lines of {stranger}, who never lived"));
        }
    }

    /// Is anything wrong?
    pub(crate) fn broken(&self) -> bool {
        !self.faults.is_empty()
    }

    /// What is wrong.
    pub(crate) fn faults(&self) -> &BTreeSet<String> {
        &self.faults
    }

    /// The figures.
    pub(crate) fn summary(&self) -> String {
        format!(
            "lives {}, exit codes known {} (seen as events {}), unknown where nobody could know {}, lines {}, lost and announced {}, faults {}",
            self.lives,
            self.known,
            self.exits.len(),
            self.unknown,
            self.lines,
            self.lost,
            self.faults.len()
        )
    }
}

/// Do the log files say, behind the last line of this life and before the first one of the next, that `missing` lines of the
/// stream are missing there: that many, or an unknown number?
fn announced(lines: &[Line], journal: &Journal, life: &Life, stream: &str, missing: u64) -> bool {
    let is_of = |line: &Line, lives: &[Life]| {
        let text = line.lossy();
        lives.iter().any(|life| text.split(' ').nth(1) == Some(life.nonce.as_str()))
    };
    let at = journal.lives.iter().position(|other| other.nonce == life.nonce).unwrap_or(0);
    let (until_now, later) = journal.lives.split_at(at + 1);
    let from = lines.iter().rposition(|line| is_of(line, until_now)).map_or(0, |last| last + 1);
    let to = lines.iter().position(|line| is_of(line, later)).unwrap_or(lines.len());
    lines.get(from..to.max(from)).unwrap_or_default().iter().any(|line| {
        let text = line.lossy();
        let dropped = || -> Option<u64> {
            let (count, _) = text.strip_prefix("[helm] ")?.split_once(" lines (")?;
            count.parse().ok().filter(|_| line.stream == stream)
        };
        text.starts_with("[helm] output may have been lost here") || dropped().is_some_and(|n| n >= missing)
    })
}
