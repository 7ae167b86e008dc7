//! A long outage of PostgreSQL under load: supervision, probes and `helmctl status` go on as if nothing were, what comes waits, and comes
//! to its place in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::home::Home;
use harness::procs::Process;
use harness::wait::{eventually, pause};
use serde_json::Value;

use crate::attack::Attack;
use crate::{TELLS, say};

/// The service that is killed in the middle: it writes nothing, so that nothing can be missing.
pub(crate) const VICTIM: &str = "victim";
/// Between two looks at the status.
const EVERY: Duration = Duration::from_secs(1);
/// Senders are at work before the database goes.
const AT_WORK: u64 = 50;

/// What was seen while it lasted.
#[derive(Default)]
struct Seen {
    looks: u32,
    slowest: Duration,
    queued: u64,
    bytes: u64,
    restarted_in: Duration,
}

/// Stops PostgreSQL for `time`, looks at the services all the while, kills one of them in the middle, and starts PostgreSQL again.
pub(crate) fn endure(
    home: &Home,
    names: &[String],
    attack: &mut Attack<'_>,
    time: Duration,
    acknowledged: &AtomicU64,
) {
    attack.soon(|_| acknowledged.load(Ordering::Relaxed) > AT_WORK);
    let before = acknowledged.load(Ordering::Relaxed);
    attack.order("kill");
    say(&format!("PostgreSQL is stopped after {before} acknowledged appends"));
    let (begin, mut told, mut seen) = (Instant::now(), Instant::now(), Seen::default());
    let mut lives = true;
    while begin.elapsed() < time {
        look(home, names, &mut seen, &mut attack.faults);
        if lives && begin.elapsed() > time / 2 {
            seen.restarted_in = restarted(home, VICTIM);
            lives = false;
        }
        if told.elapsed() > TELLS {
            told = Instant::now();
            say(&format!("{:3} s: {}", begin.elapsed().as_secs(), seen.words(acknowledged, before)));
        }
        pause(EVERY);
    }
    let events = home.ctl(&["events", "-n", "400", "--json"]).out;
    if !events.contains(r#""kind":"store""#) {
        attack.faults.push("no event tells that the store was away".to_owned());
    }
    say(&format!("while it was away: {}", seen.words(acknowledged, before)));
    attack.order("start");
}

impl Seen {
    fn words(&self, acknowledged: &AtomicU64, before: u64) -> String {
        format!(
            "{} looks at the status, the slowest {} ms with the start of helmctl; {} appends acknowledged since; in the queue {} appends, {} KiB; a killed service ran again after {} ms",
            self.looks,
            self.slowest.as_millis(),
            acknowledged.load(Ordering::Relaxed) - before,
            self.queued,
            self.bytes >> 10,
            self.restarted_in.as_millis()
        )
    }
}

fn look(home: &Home, names: &[String], seen: &mut Seen, faults: &mut Vec<String>) {
    let begin = Instant::now();
    let said = home.ctl(&["status", "--json"]);
    seen.slowest = seen.slowest.max(begin.elapsed());
    seen.looks += 1;
    let status: Value = serde_json::from_str(&said.out).unwrap_or_default();
    let services = status["services"].as_array().cloned().unwrap_or_default();
    for name in names {
        let word = |field: &str| services.iter().find(|s| s["name"] == **name).map(|s| s[field].clone());
        if word("state") != Some("running".into()) || word("health") != Some("healthy".into()) {
            faults.push(format!(
                "{name} is {:?}, {:?} while PostgreSQL is away: {}",
                word("state"),
                word("health"),
                said.err
            ));
        }
    }
    let store: Value = serde_json::from_str(&home.ctl(&["db", "status", "--json"]).out).unwrap_or_default();
    let number = |field: &str| store[field].as_u64().unwrap_or(0);
    seen.queued = seen.queued.max(number("queued_appends"));
    seen.bytes = seen.bytes.max(number("queued_bytes"));
}

/// Kills the main process of a service; how long until another one is healthy.
fn restarted(home: &Home, name: &str) -> Duration {
    let main = || {
        let status = home.ctl(&["status", name, "--json"]).json();
        let service = &status["services"][0];
        (service["pid"].as_u64(), service["health"] == "healthy")
    };
    let (pid, _) = main();
    let old = pid.and_then(|pid| Process::of(u32::try_from(pid).ok()?));
    let begin = Instant::now();
    old.unwrap_or_else(|| panic!("{name} has no process")).kill();
    eventually("another run while PostgreSQL is away", || match main() {
        (new, true) if new.is_some() && new != pid => Ok(()),
        other => Err(format!("{name}: {other:?}")),
    });
    begin.elapsed()
}
