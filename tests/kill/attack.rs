//! The attack: `kill -9` to helmd, to keepers, to both at once, and helmd started again by the test.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use harness::fixture::{Dice, monotonic};
use harness::home::{Helmd, Home, gone};
use harness::procs::Process;
use harness::wait::eventually;

use crate::diary::Diary;
use crate::fleet::{Fleet, Kind};

/// The attacker.
pub(crate) struct Attack<'a> {
    home: &'a Home,
    fleet: &'a Fleet,
    dice: Dice,
    helmd: Option<Helmd>,
    kills: BTreeMap<&'static str, u32>,
    /// Who was dead when.
    pub(crate) diary: Diary<'a>,
    /// helmds that ended by themselves.
    pub(crate) deserters: u32,
}

impl<'a> Attack<'a> {
    /// Starts helmd and the fleet, and brings it into the state that is asked for.
    pub(crate) fn begin(home: &'a Home, fleet: &'a Fleet, seed: u64) -> Self {
        let mut attack = Self {
            home,
            fleet,
            dice: Dice::new(seed),
            helmd: None,
            kills: BTreeMap::new(),
            diary: Diary::begin(home),
            deserters: 0,
        };
        attack.start_helmd();
        attack.answers();
        // Exiters come and go: `up` may see one of them fail.
        home.ctl(&["up", "--timeout", "30"]);
        for name in fleet.names(Kind::Stopped) {
            home.ctl(&["stop", name]).code(0);
        }
        attack
    }

    /// One kill, or several at once, and what is needed to go on.
    pub(crate) fn strike(&mut self) {
        let rest = Duration::from_millis(self.dice.between(0, 300));
        self.diary.pass(rest);
        let kind = match self.dice.between(0, 9) {
            0..=3 => "helmd",
            4..=6 => "a keeper",
            7 => "some keepers",
            _ => "helmd and keepers",
        };
        *self.kills.entry(kind).or_default() += 1;
        let targets = match kind {
            "helmd" => 0,
            "a keeper" => 1,
            _ => usize::try_from(self.dice.between(1, 5)).unwrap_or(1),
        };
        let keepers = self.some_keepers(targets);
        let helmd = kind.starts_with("helmd");
        let names: Vec<&str> = keepers.iter().map(|(name, _)| name.as_str()).collect();
        self.note(&format!("kill {kind} {names:?}"));
        // At once: nobody waits for anybody between the signals.
        if helmd && self.dice.between(0, 1) == 0 {
            self.kill_helmd();
            self.kill_keepers(&keepers);
        } else {
            self.kill_keepers(&keepers);
            if helmd {
                self.kill_helmd();
            }
        }
        if self.helmd.is_none() {
            let rest = Duration::from_millis(self.dice.between(0, 400));
            self.diary.pass(rest);
            self.start_helmd();
            // Half of the time it is left alone until it answers; else the next kill may meet it at its start.
            if self.dice.between(0, 1) == 0 {
                self.answers();
            }
        }
        self.diary.look();
    }

    /// helmd gives way to the program on disk, which is the same: nobody may notice, but for requests that are asked again.
    pub(crate) fn replace(&mut self) {
        let rest = Duration::from_millis(self.dice.between(0, 300));
        self.diary.pass(rest);
        *self.kills.entry("replaced").or_default() += 1;
        self.note("reexec");
        let before = self.home.helmd();
        let said = self.home.ctl(&["daemon", "reexec"]);
        assert_eq!((said.code, self.home.helmd()), (0, before), "{}{}", said.out, said.err);
        self.diary.look();
    }

    /// For the person who looks at a broken run.
    fn note(&self, text: &str) {
        let log = OpenOptions::new().append(true).create(true).open(self.home.path("attack.log"));
        // The test does not hang on its diary.
        let _ = log.and_then(|mut log| writeln!(log, "{} {text}", monotonic()));
    }

    fn some_keepers(&mut self, count: usize) -> Vec<(String, Process)> {
        let mut alive: Vec<(String, Process)> = self
            .fleet
            .members
            .iter()
            .filter_map(|m| Some((m.name.clone(), self.home.keeper(&m.name)?)))
            .collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !alive.is_empty() {
            let at = self.dice.draw() as usize % alive.len();
            chosen.push(alive.swap_remove(at));
        }
        chosen
    }

    fn kill_keepers(&mut self, keepers: &[(String, Process)]) {
        for (name, keeper) in keepers {
            self.diary.keeper_dies(name, *keeper);
            keeper.kill();
        }
    }

    fn kill_helmd(&mut self) {
        if let Some(mut helmd) = self.helmd.take() {
            if helmd.has_ended() {
                self.deserters += 1;
            }
            self.diary.helmd_dies();
            helmd.kill();
        }
    }

    fn start_helmd(&mut self) {
        self.note("start helmd");
        self.helmd = Some(self.home.spawn_helmd());
    }

    /// Waits until helmd answers.
    fn answers(&mut self) {
        eventually("helmd answers", || {
            self.diary.look();
            let said = self.home.ctl(&["daemon", "status"]);
            if said.code == 0 {
                Ok(())
            } else {
                Err(format!("{}{}\n{}", said.out, said.err, self.home.read("helmd.err")))
            }
        });
        self.diary.look();
        self.note("helmd answers");
    }

    /// No more kills: helmd answers, and every service is as it was asked for.
    pub(crate) fn settle(&mut self) {
        self.answers();
        let home = self.home;
        for member in &self.fleet.members {
            let name = &member.name;
            let wanted = |state: &str| match member.kind {
                Kind::Steady => state == "running",
                Kind::Exits => ["running", "backoff", "stopping", "starting", "blocked"].contains(&state),
                Kind::Once => state == "stopped" || (state == "failed" && self.unknown_once(name)),
                Kind::Stopped => state == "stopped",
            };
            eventually("the fleet is in the state that was asked for", || {
                let status = home.ctl(&["status", "--json", name]);
                let service = status.json()["services"][0].clone();
                if wanted(service["state"].as_str().unwrap_or_default()) {
                    Ok(())
                } else {
                    Err(service.to_string())
                }
            });
        }
        self.diary.look();
    }

    /// A one-shot whose exit nobody could know counts as failed.
    fn unknown_once(&self, name: &str) -> bool {
        let journal = self.home.journal(name);
        journal
            .lives
            .iter()
            .any(|life| life.end.is_some_and(|end| self.diary.unknowable(name, life.pid, life.at, end.at)))
    }

    /// Stops the fleet.
    pub(crate) fn stop(&mut self) {
        self.home.ctl(&["down", "--timeout", "60"]).code(0);
        eventually("no process of the services is left", || {
            let left: Vec<String> = self.home.processes().into_iter().map(Process::command).collect();
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        });
    }

    /// Stops helmd.
    pub(crate) fn end(&mut self) {
        self.home.ctl(&["daemon", "stop"]).code(0);
        if let Some(helmd) = self.helmd.take() {
            let process = Process::of(helmd.pid());
            helmd.ended();
            process.into_iter().for_each(gone);
        }
    }

    /// Kills by kind.
    pub(crate) fn summary(&self) -> String {
        let kinds: Vec<String> = self.kills.iter().map(|(kind, n)| format!("{kind}: {n}")).collect();
        let alone = self.diary.unwatched();
        format!("kills: {}; services that nobody watched for a moment: {alone}", kinds.join(", "))
    }
}
