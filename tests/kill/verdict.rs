//! Holds the services' own words (journals) against what Helm recorded (events, log files).

use std::collections::{BTreeMap, BTreeSet};

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
            for life in journal.lives.iter().filter(|_| member.main) {
                self.judge_exit(&member.name, life, attack);
            }
            if member.numbered {
                self.judge_lines(&member.name, &journal, attack);
            }
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

    fn judge_exit(&mut self, name: &str, life: &Life, attack: &Attack<'_>) {
        let Some(end) = life.end else { return };
        let code = format!("code {}", end.code);
        match self.exits.get(&life.run) {
            Some(exit) if *exit == code => self.known += 1,
            Some(exit) if exit == "unknown" && attack.unknowable(name, life.at, end.at) => self.unknown += 1,
            other => {
                self.faults.insert(format!(
                    "{name}: run {} ended with {code} at {}, Helm says {other:?}",
                    life.run, end.at
                ));
            }
        }
    }

    fn judge_lines(&mut self, name: &str, journal: &Journal, attack: &Attack<'_>) {
        let lines = self.home.lines(name);
        let announced = lines.iter().any(|line| line.text.starts_with(b"[helm]"));
        let heard = journal::heard(&lines);
        for life in &journal.lives {
            let Heard { out, err } = heard.get(&life.nonce).cloned().unwrap_or_default();
            self.lines += (out.len() + err.len()) as u64;
            for (stream, numbers, last) in
                [("stdout", out, life.end.map(|e| e.out)), ("stderr", err, life.end.map(|e| e.err))]
            {
                for fault in journal::faults(&numbers, last) {
                    let excused = matches!(fault, Fault::Missing(_, to) if Some(to) == last)
                        && announced
                        && life.end.is_some_and(|end| attack.unseen(name, end.at));
                    match fault {
                        Fault::Missing(from, to) if excused => self.lost += to - from + 1,
                        Fault::Missing(..) | Fault::Again(_) => {
                            self.faults.insert(format!("{name}: {stream} of {}: {fault:?}", life.nonce));
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
