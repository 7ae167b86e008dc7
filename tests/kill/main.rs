//! Kills helmd and keepers at random under a mixed fleet, and holds what Helm says against what the services say.
//!
//! `kill-test --kills N [--seed S] [--keep] [--reexec]`. The services note their own lives (harness/fixture.rs); after the attack
//! there must be: no clash of locks, no life that was ended or begun by a kill, every exit code known, every line in the
//! log files once and in order, and the fleet in the state that was asked for. `unknown` exits and missing lines are
//! allowed only where helmd, keeper and service were all dead; they are counted, and lines must be announced at their place.

mod attack;
mod diary;
mod fleet;
mod verdict;

use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use harness::home::Home;
use serde_json::Value;

use crate::attack::Attack;
use crate::fleet::{Fleet, Kind};
use crate::verdict::Verdict;

/// What was asked on the command line.
struct Options {
    kills: u32,
    seed: u64,
    keep: bool,
    /// In place of each kill: helmd gives way to the program on disk.
    reexec: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { kills: 200, seed: harness::fixture::monotonic(), keep: false, reexec: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|n| n.parse::<u64>().ok()).ok_or(format!("{word} needs a number"));
        match word.as_str() {
            "--kills" => options.kills = u32::try_from(number()?).map_err(|e| e.to_string())?,
            "--seed" => options.seed = number()?,
            "--keep" => options.keep = true,
            "--reexec" => options.reexec = true,
            _ => {
                return Err(format!(
                    "{word}: unknown; usage: kill-test --kills N [--seed S] [--keep] [--reexec]"
                ));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let (options, gunicorn) = match options().and_then(|o| Ok((o, fleet::gunicorn()?))) {
        Ok(both) => both,
        Err(message) => {
            say(&format!("kill-test: {message}"));
            return 2.into();
        }
    };
    say(&format!("seed {} ({} kills)", options.seed, options.kills));
    let home = Home::new(&Value::Object(serde_json::Map::new()));
    let fleet = fleet::mixed(home.dir(), &gunicorn);
    home.write_services(&Value::Object(fleet.services.clone()));

    let mut verdict = Verdict::new(&home, &fleet);
    // What the harness waits for in vain is a panic: a fault like others, and the home is kept.
    let run = std::panic::catch_unwind(AssertUnwindSafe(|| attack(&home, &fleet, &options, &mut verdict)));
    let (passed, faults) =
        (run.is_ok() && !verdict.broken(), verdict.faults().len().max(usize::from(run.is_err())));
    say(&verdict.summary());
    for fault in verdict.faults() {
        say(&format!("FAULT {fault}"));
    }
    if options.keep || !passed {
        say(&format!("kept: {}", home.keep().display()));
    }
    let word = if passed { "ok" } else { "FAILED" };
    say(&format!("test result: {word}. {} passed; {faults} failed; seed {}", u8::from(passed), options.seed));
    u8::from(!passed).into()
}

fn attack(home: &Home, fleet: &Fleet, options: &Options, verdict: &mut Verdict<'_>) {
    let mut attack = Attack::begin(home, fleet, options.seed);
    for kill in 1..=options.kills {
        if options.reexec {
            attack.replace();
        } else {
            attack.strike();
        }
        if kill % 20 == 0 {
            verdict.look(&attack);
            say(&format!("{kill} kills: {}", verdict.summary()));
        }
        if verdict.broken() {
            break;
        }
    }
    attack.settle();
    verdict.settled(&attack);
    attack.stop();
    verdict.ended(&attack);
    attack.end();
    say(&attack.summary());
}

/// One line on stdout; a reader that has gone is no reason to end the test.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

impl Fleet {
    /// Names of the services of this kind.
    fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.members.iter().filter(move |m| m.kind == kind).map(|m| m.name.as_str())
    }
}
