//! Kills helmd, keepers and PostgreSQL at random under chatty services and concurrent appenders, and disturbs the connection between them.
//!
//! `store-kill --engine sqlite|postgres --kills N [--seed S] [--keep]`, or `store-kill --outage SECONDS [--seed S] [--keep]`: PostgreSQL is
//! stopped for so long, and nobody is killed but a service. At the end every captured line and every acknowledged entry is in the store once,
//! in order per stream and per sender, nothing that was not written is there, and `logs verify` is content.

mod attack;
mod database;
mod outage;
mod senders;
mod verdict;

use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::fixture::{Dice, monotonic};
use harness::home::{Home, fixture};
use harness::wait::pause;
use serde_json::{Map, Value, json};

use crate::attack::{Attack, Database};
use crate::database::{Cluster, Proxy};
use crate::senders::{Shared, Way, Word};
use crate::verdict::Verdict;

/// After the attack everything comes to its place within this time.
const SETTLES: Duration = Duration::from_secs(120);
/// Between two words while it goes on.
const TELLS: Duration = Duration::from_secs(10);
const SERVICES: u64 = 4;

struct Options {
    postgres: bool,
    kills: u32,
    /// How long PostgreSQL is away, in place of kills.
    outage: Option<Duration>,
    seed: u64,
    keep: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { postgres: false, kills: 50, outage: None, seed: monotonic(), keep: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--engine" => {
                options.postgres = match value()?.as_str() {
                    "sqlite" => false,
                    "postgres" => true,
                    other => return Err(format!("{other}: sqlite or postgres")),
                };
            }
            "--kills" => options.kills = value()?.parse().map_err(|e| format!("--kills: {e}"))?,
            "--outage" => {
                let seconds = value()?.parse().map_err(|e| format!("--outage: {e}"))?;
                options.outage = Some(Duration::from_secs(seconds));
                options.postgres = true;
            }
            "--seed" => options.seed = value()?.parse().map_err(|e| format!("--seed: {e}"))?,
            "--keep" => options.keep = true,
            _ => {
                return Err(format!(
                    "{word}: unknown; --engine sqlite|postgres --kills N | --outage SECONDS [--seed S] [--keep]"
                ));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            say(&format!("store-kill: {message}"));
            return 2.into();
        }
    };
    let engine = if options.postgres { "postgres" } else { "sqlite" };
    let what = options.outage.map_or(format!("{} kills", options.kills), |time| format!("away for {time:?}"));
    say(&format!("seed {} ({what}, {engine})", options.seed));
    let names: Vec<String> = (0..SERVICES).map(|n| format!("chatty-{n}")).collect();
    let services = (1..).zip(&names).map(|(n, name)| {
        let mut service = json!({"command": fixture("chatty", &format!("rate={}", 20 * n))});
        service["probes"] = json!({"readiness": {"exec": ["true"], "interval": "1s"}});
        service["log"] = json!({"segment_size": "1M", "total_size": "64G"});
        (name.clone(), service)
    });
    let mut services = Map::from_iter(services);
    if options.outage.is_some() {
        let probes = json!({"readiness": {"exec": ["true"], "interval": "1s"}});
        services.insert(
            outage::VICTIM.to_owned(),
            json!({"command": ["sleep", "infinity"], "restart": "always", "probes": probes}),
        );
    }
    let home = Home::new(&Value::Object(services));
    // What the harness waits for in vain is a panic: a fault like others, and the home is kept.
    let run = std::panic::catch_unwind(AssertUnwindSafe(|| run(&home, &names, &options)));
    let verdict = run.unwrap_or_else(|_| {
        let mut verdict = Verdict::default();
        verdict.fault("the run broke off".to_owned());
        verdict
    });
    say(&format!("verdict: {}", verdict.summary()));
    verdict.told().iter().for_each(|fault| say(&format!("FAULT {fault}")));
    let passed = verdict.faults() == 0;
    if options.keep || !passed {
        say(&format!("kept: {}", home.keep().display()));
    }
    let word = if passed { "ok" } else { "FAILED" };
    say(&format!(
        "test result: {word}. {} passed; {} failed; seed {}",
        u8::from(passed),
        u8::from(!passed),
        options.seed
    ));
    u8::from(!passed).into()
}

fn run(home: &Home, names: &[String], options: &Options) -> Verdict {
    let database = options.postgres.then(|| {
        let cluster = Cluster::start("trust");
        let proxy = Proxy::before(cluster.port);
        let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", proxy.port);
        home.write("instance/helm.conf", &format!("[database]\nconnection_string = {url}\n"));
        Database { cluster, proxy }
    });
    let mut attack = Attack::begin(home, options.seed, database);
    home.ctl(&["up", "--timeout", "30"]).code(0);

    let shared = Arc::new(Shared::default());
    let ways = [Way::Sequence, Way::Sequence, Way::Key, Way::Bare];
    let start = |(n, way)| {
        let dice = Dice::new(options.seed.wrapping_add(n));
        senders::start(home.dir(), &format!("sender-{n}"), way, dice, &shared)
    };
    let senders: Vec<_> = (1..).zip(ways).map(start).collect();
    match options.outage {
        Some(time) => outage::endure(home, names, &mut attack, time, &shared.acknowledged),
        None => kill(&mut attack, options.kills, &shared.acknowledged),
    }
    shared.stop.store(true, Ordering::Relaxed);
    let words: Vec<Word> = senders
        .into_iter()
        .map(|sender| sender.join().unwrap_or_else(|_| panic!("a sender broke off")))
        .collect();
    for Word { name, way, acknowledged, queued, unanswered, repeated, .. } in &words {
        let acknowledged = acknowledged.len();
        say(&format!(
            "{name} ({way:?}): {acknowledged} appends acknowledged, {queued} of them queued; {unanswered} sends without an answer, {repeated} repeated"
        ));
    }
    home.ctl(&["down", "--timeout", "60"]).code(0);
    let late = drained(home, names);
    let mut verdict = Verdict::of(home, names, &words);
    late.into_iter().chain(attack.faults.drain(..)).for_each(|fault| verdict.fault(fault));
    say(&format!("kills by kind: {}", attack.summary()));
    attack.end();
    verdict
}

fn kill(attack: &mut Attack<'_>, kills: u32, acknowledged: &AtomicU64) {
    let mut told = Instant::now();
    for kill in 1..=kills {
        attack.strike(acknowledged);
        if told.elapsed() > TELLS || kill == kills {
            told = Instant::now();
            let acknowledged = acknowledged.load(Ordering::Relaxed);
            say(&format!("{kill} kills: {}; {acknowledged} appends acknowledged", attack.summary()));
        }
    }
}

/// Waits until the local queue is empty and the store is level with the log files. The words are those of a wait in vain.
fn drained(home: &Home, names: &[String]) -> Option<String> {
    let begin = Instant::now();
    let mut told = begin;
    loop {
        let said = home.ctl(&["db", "status", "--json"]);
        let status: Value = serde_json::from_str(&said.out).unwrap_or_default();
        let behind = |name: &String| {
            let of = |lag: &&Value| lag["service"] == **name;
            status["capture"].as_array()?.iter().find(of)?["bytes"].as_u64()
        };
        let level = names.iter().all(|name| behind(name) == Some(0));
        if level && status["queued_appends"] == 0 {
            say(&format!("drained in {:.1} s", begin.elapsed().as_secs_f64()));
            return None;
        }
        let waits = || {
            let behind: Vec<String> = names.iter().map(|name| format!("{name} {:?}", behind(name))).collect();
            format!(
                "{} appends in the queue, bytes behind: {}; {}{}",
                status["queued_appends"],
                behind.join(", "),
                status["state"],
                said.err
            )
        };
        if begin.elapsed() > SETTLES {
            return Some(format!("not level within {SETTLES:?}: {}", waits()));
        }
        if told.elapsed() > TELLS {
            told = Instant::now();
            say(&format!("waits: {}", waits()));
        }
        pause(Duration::from_millis(200));
    }
}

/// One line on stdout; a reader that has gone is no reason to end the test.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
