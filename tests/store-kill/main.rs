//! Kills helmd, keepers and PostgreSQL at random under chatty services and concurrent appenders, and disturbs the connection between them.
//!
//! `store-kill --engine sqlite|postgres --kills N [--seed S] [--keep]`. At the end every captured line and every acknowledged entry is in the store once,
//! in order per stream and per sender, nothing that was not acknowledged is there twice, and `logs verify` is content.

mod database;
mod senders;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::fixture::{Dice, monotonic};
use harness::home::{Helmd, Home, fixture};
use harness::journal::faults;
use harness::wait::{eventually, pause};
use serde_json::{Map, Value, json};

use crate::database::{Cluster, Mood, Proxy};
use crate::senders::{Way, Word};

/// The queue comes to its end after the attack within this time.
const SETTLES: Duration = Duration::from_secs(120);

struct Options {
    postgres: bool,
    kills: u32,
    seed: u64,
    keep: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { postgres: false, kills: 50, seed: monotonic(), keep: false };
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
            "--seed" => options.seed = value()?.parse().map_err(|e| format!("--seed: {e}"))?,
            "--keep" => options.keep = true,
            _ => {
                return Err(format!(
                    "{word}: unknown; --engine sqlite|postgres --kills N [--seed S] [--keep]"
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
    say(&format!("seed {} ({} kills, {engine})", options.seed, options.kills));
    let mut services = Map::new();
    for n in 0..4 {
        let mut service = json!({"command": fixture("chatty", &format!("rate={}", 20 * (n + 1)))});
        service["log"] = json!({"segment_size": "1M", "total_size": "64G"});
        services.insert(format!("chatty-{n}"), service);
    }
    let home = Arc::new(Home::new(&Value::Object(services)));
    // What the harness waits for in vain is a panic: a fault like others, and the home is kept.
    let run = std::panic::catch_unwind(AssertUnwindSafe(|| run(&home, &options)));
    let found = run.unwrap_or_else(|_| vec!["the run broke off".to_owned()]);
    found.iter().for_each(|fault| say(&format!("FAULT {fault}")));
    if (options.keep || !found.is_empty())
        && let Some(home) = Arc::into_inner(home)
    {
        say(&format!("kept: {}", home.keep().display()));
    }
    let word = if found.is_empty() { "ok" } else { "FAILED" };
    let passed = u8::from(found.is_empty());
    say(&format!("test result: {word}. {passed} passed; {} failed; seed {}", found.len(), options.seed));
    (1 - passed).into()
}

fn run(home: &Arc<Home>, options: &Options) -> Vec<String> {
    let mut database = options.postgres.then(|| Cluster::start("trust"));
    let proxy = database.as_ref().map(|cluster| Proxy::before(cluster.port));
    if let Some(proxy) = &proxy {
        let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", proxy.port);
        home.write("instance/helm.conf", &format!("[database]\nconnection_string = {url}\n"));
    }
    let mut helmd = home.spawn_helmd();
    answers(home);
    home.ctl(&["up", "--timeout", "30"]).code(0);

    let stop = Arc::new(AtomicBool::new(false));
    let ways = [Way::Sequence, Way::Sequence, Way::Key, Way::Bare];
    let senders: Vec<_> =
        (0..).zip(ways).map(|(n, way)| senders::start(home, &format!("sender-{n}"), way, &stop)).collect();
    let mut dice = Dice::new(options.seed);
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..options.kills {
        pause(Duration::from_millis(dice.between(50, 700)));
        let kind = dice.between(0, if proxy.is_some() { 8 } else { 3 });
        let kind = match (kind, &mut database, &proxy) {
            (4 | 5, Some(cluster), _) => {
                cluster.order("kill");
                pause(Duration::from_millis(dice.between(0, 1500)));
                cluster.order("start");
                "PostgreSQL"
            }
            (6, _, Some(proxy)) => {
                proxy.cut();
                "connections cut"
            }
            (7 | 8, _, Some(proxy)) => {
                let mood = if kind == 7 { Mood::Stalls } else { Mood::Delays };
                proxy.be(mood);
                pause(Duration::from_millis(dice.between(0, 2500)));
                proxy.be(Mood::Fair);
                if kind == 7 { "connections stalled" } else { "connections delayed" }
            }
            (0, ..) => {
                keeper(home, &mut dice);
                "a keeper"
            }
            _ => {
                helmd = again(home, helmd, &mut dice);
                "helmd"
            }
        };
        *kills.entry(kind).or_default() += 1;
    }
    answers(home);
    stop.store(true, Ordering::Relaxed);
    let words: Vec<Word> = senders
        .into_iter()
        .map(|sender| sender.join().unwrap_or_else(|_| panic!("a sender broke off")))
        .collect();
    home.ctl(&["down", "--timeout", "60"]).code(0);
    say(&format!("kills: {kills:?}"));
    for Word { name, acknowledged, queued, way } in &words {
        say(&format!(
            "{name} ({way:?}): {} acknowledged, {queued} of them from the queue",
            acknowledged.len()
        ));
    }
    let end = Instant::now() + SETTLES;
    loop {
        let found = judge(home, &words);
        if found.is_empty() || Instant::now() > end {
            home.ctl(&["daemon", "stop"]).code(0);
            helmd.ended();
            return found;
        }
        pause(Duration::from_millis(500));
    }
}

fn answers(home: &Home) {
    eventually("helmd answers", || {
        let said = home.ctl(&["daemon", "status"]);
        if said.code == 0 { Ok(()) } else { Err(format!("{}\n{}", said.err, home.read("helmd.err"))) }
    });
}

fn again(home: &Home, helmd: Helmd, dice: &mut Dice) -> Helmd {
    helmd.kill();
    pause(Duration::from_millis(dice.between(0, 300)));
    let helmd = home.spawn_helmd();
    answers(home);
    helmd
}

/// helmd is there and takes over what the keeper has: output is lost only where both are dead, which `kill-test` has as its subject.
fn keeper(home: &Home, dice: &mut Dice) {
    let name = format!("chatty-{}", dice.between(0, 3));
    let Some(old) = home.keeper(&name) else { return };
    old.kill();
    eventually("another keeper", || {
        home.keeper(&name).filter(|new| *new != old).map(drop).ok_or_else(|| home.story(&name))
    });
}

/// Holds the store against what services and senders say.
fn judge(home: &Home, words: &[Word]) -> Vec<String> {
    let said = home.ctl(&["logs", "export", "--json"]);
    if said.code != 0 {
        return vec![format!("export: {}", said.err)];
    }
    let mut entries: Vec<Value> =
        said.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    entries.sort_by_key(|entry| entry["id"].as_i64());
    let mut captured: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    let mut sent: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for entry in &entries {
        let mut parts = entry["message"].as_str().unwrap_or_default().split(' ');
        match (parts.next(), parts.next(), parts.next().and_then(|n| n.parse().ok())) {
            (Some("sent"), Some(number), Some(half)) => {
                let number: u64 = number.parse().unwrap_or(0);
                sent.entry(entry["service"].as_str().unwrap_or_default())
                    .or_default()
                    .push(2 * number + half - 2);
            }
            (Some(stream), Some(life), Some(number)) => {
                captured.entry((life.to_owned(), stream.to_owned())).or_default().push(number);
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    let none = Vec::new();
    for name in (0..4).map(|n| format!("chatty-{n}")) {
        for life in home.journal(&name).lives {
            let Some(end) = life.end else {
                found.push(format!("{name}: a life without an end"));
                continue;
            };
            for (stream, count) in [("stdout", end.out), ("stderr", end.err)] {
                let numbers = captured.get(&(life.nonce.clone(), stream.to_owned())).unwrap_or(&none);
                for fault in faults(numbers, Some(count)).into_iter().take(3) {
                    found.push(format!("{name}: {stream}: {fault:?}"));
                }
            }
        }
    }
    for Word { name, way, acknowledged, .. } in words {
        let numbers = sent.get(name.as_str()).unwrap_or(&none);
        if *way == Way::Bare {
            let missing = acknowledged.iter().flat_map(|n| [2 * n - 1, 2 * n]).find(|n| !numbers.contains(n));
            found.extend(missing.map(|n| format!("{name}: {n} was acknowledged and is missing")));
            let disorder = numbers.windows(2).find(|pair| pair[1] <= pair[0]);
            found.extend(disorder.map(|pair| format!("{name}: {} after {}", pair[1], pair[0])));
        } else {
            let last = acknowledged.last().copied().unwrap_or(0);
            found.extend(faults(numbers, Some(2 * last)).iter().take(3).map(|f| format!("{name}: {f:?}")));
        }
    }
    if found.is_empty() {
        let said = home.ctl(&["logs", "verify"]);
        if said.code != 0 {
            found.push(format!("verify: {}{}", said.out, said.err));
        }
        say(&format!("{} entries in the store", entries.len()));
    }
    found
}

/// One line on stdout; a reader that has gone is no reason to end the test.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
