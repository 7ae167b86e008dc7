//! Senders, services, questions and clocks that mean harm, or are broken: each is bounded, is told what is wrong, and is nobody else's trouble.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use harness::home::{Home, Running, Said, fixture};
use harness::procs::Process;
use harness::wait::until;
use harness::watch::block_on;
use helm_core::time::Wall;
use helm_proto::v1::{AppendRequest, NewLogEntry};
use helm_shim::cri;
use serde_json::{Value, json};

use crate::logs::{append, batch, idle, logged, rows};

/// The most memory that a process ever had, in KiB.
fn peak(process: Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn named(names: impl Iterator<Item = String>) -> AppendRequest {
    let entry = |service| NewLogEntry { service, message: "m".into(), ..Default::default() };
    AppendRequest { entries: names.map(entry).collect(), ..Default::default() }
}

#[test]
fn a_hundred_thousand_names_of_a_sender_cost_neither_memory_nor_rows() {
    let home = idle();
    let helmd = home.helmd().unwrap();
    // What a batch of this size costs in any case.
    block_on(append(&home, named((0..10_000).map(|_| "name-0".to_owned())))).unwrap();
    let before = peak(helmd);
    let mut kept = 0;
    for thousands in (0..100_000).step_by(10_000) {
        let names = (thousands..thousands + 10_000).map(|n| format!("name-{n}"));
        let answer = block_on(append(&home, named(names))).unwrap();
        kept += answer.kept;
        assert_eq!(answer.kept as usize + answer.rejected.len(), 10_000);
        for refused in &answer.rejected {
            assert!(refused.reason.contains("a new one begins within a day"), "{}", refused.reason);
        }
    }
    assert!((1_900..=2_000).contains(&kept), "{kept} names");
    let grown = peak(helmd).saturating_sub(before);
    assert!(grown < 48 << 10, "{grown} KiB for names that were refused");
    let stats = home.ctl(&["logs", "stats", "--json"]).code(0).json();
    let services = stats["services"].as_array().unwrap().len();
    assert!(services <= 2_000, "{services} services");
    assert_eq!(helmd.pid, home.helmd().unwrap().pid, "helmd lives");
    // Whoever was known is heard, and so is what helmd has to say itself.
    assert_eq!(block_on(append(&home, batch("name-0", &["still here"]))).unwrap().kept, 1);
    logged(&home, &["helm"], 1);
    home.ctl(&["logs", "verify"]).code(0);
}

/// Lines that mean harm, and one behind each that does not.
const LINES: &str = r#"
import sys, time
out = sys.stdout.buffer
def say(line):
    out.write(line + b"\n")
    out.flush()
deep = 10000
say(b'{"level":"error","message":"deep","a":' + b"[" * deep + b"]" * deep + b"}")
say(b"after deep")
say(b'{"level":"error","message":' + b'{"a":' * deep + b"1" + b"}" * deep + b"}")
say(b"after deep message")
say(b"[" * 100000)
say(b"after open brackets")
say(b"x" * 10000000)
say(b"after ten megabytes")
say(b'{"level":"error","message":"' + b"y" * 10000000 + b'"}')
say(b"after ten megabytes of JSON")
say(b"\xff\xfe\x00 not text \xc3")
say(b"after no text")
time.sleep(600)
"#;

#[test]
fn lines_that_are_too_deep_too_long_or_no_text_are_kept_cut_and_marked() {
    let home = Home::new(&json!({"odd": {"command": ["python3", "odd.py"], "path": "dir"}}));
    home.write("dir/odd.py", LINES);
    home.ctl(&["up"]).code(0);
    let helmd = home.helmd().unwrap();
    logged(&home, &["odd", "--grep", "after no text"], 1);
    let all = rows(&home.ctl(&["logs", "odd", "--json", "-n", "1000"]).code(0));
    let message = |entry: &Value| entry["message"].as_str().unwrap().to_owned();
    for after in
        ["deep", "deep message", "open brackets", "ten megabytes", "ten megabytes of JSON", "no text"]
    {
        let words = format!("after {after}");
        assert_eq!(all.iter().filter(|e| message(e) == words).count(), 1, "{words}");
    }
    let one =
        |words: &str| all.iter().find(|e| message(e).starts_with(words)).unwrap_or_else(|| panic!("{words}"));
    let deep = one("deep");
    assert_eq!(deep["level"], "ERROR");
    let text = deep["context"]["a"].as_str().expect("a field that is too deep is kept as its text");
    assert!(text.starts_with("[[[["), "{}", &text[..8]);
    for (words, bytes) in [("xxxx", "10000000"), ("{\"level\":\"error\",\"message\":\"yyyy", "10000030")] {
        let long = one(words);
        assert!(message(long).len() <= 64 << 10, "{} bytes", message(long).len());
        assert_eq!(long["context"]["helm.message_bytes"], bytes);
        assert!(long["flags"].to_string().contains("truncated"), "{}", long["flags"]);
    }
    let odd = one("\u{fffd}");
    assert!(message(odd).contains("not text") && odd["flags"].to_string().contains("invalid-utf8"), "{odd}");
    assert_eq!(helmd.pid, home.helmd().unwrap().pid, "helmd lives");
    home.ctl(&["logs", "verify"]).code(0);
}

#[test]
fn what_is_sent_too_deep_or_too_large_is_repaired_or_refused_with_a_reason() {
    let home = idle();
    let deep = 10_000;
    let mut request = batch("deep", &["arrays", "objects", "never closed"]);
    request.entries[0].context = format!("{{\"a\":{}{}}}", "[".repeat(deep), "]".repeat(deep));
    request.entries[1].context = format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep));
    request.entries[2].context = "[".repeat(deep);
    let answer = block_on(append(&home, request)).unwrap();
    assert_eq!((answer.kept, answer.rejected.len()), (3, 0), "{answer:?}");
    let found = logged(&home, &["deep"], 3);
    assert!(found.iter().all(|entry| entry["flags"].to_string().contains("repaired")), "{found:#?}");
    // Ten megabytes in one message are cut, and marked.
    let ten = "x".repeat(10_000_000);
    assert_eq!(block_on(append(&home, batch("long", &[&ten]))).unwrap().kept, 1);
    let long = &logged(&home, &["long"], 1)[0];
    assert!(long["message"].as_str().unwrap().len() <= 64 << 10);
    assert_eq!(long["context"]["helm.message_bytes"], "10000000");
    assert!(long["flags"].to_string().contains("truncated"), "{}", long["flags"]);
    // One message beyond what gRPC takes here: the sender is told the bound, and the next one is heard.
    let error = block_on(append(&home, batch("large", &[&"x".repeat(20_000_000)]))).unwrap_err();
    assert!(error.to_string().contains("the limit is: 17825792 bytes"), "{error}");
    assert_eq!(block_on(append(&home, batch("large", &["small"]))).unwrap().kept, 1);
}

#[test]
fn an_expression_that_would_run_for_ever_elsewhere_ends_and_a_search_ends_with_its_time() {
    let home = idle();
    let text = "x".repeat(60_000);
    block_on(append(&home, batch("long", &[text.as_str(); 100]))).unwrap();
    // Elsewhere it takes 2^60000 steps to find out that there is no y.
    let said = home.ctl(&["logs", "long", "--json", "--grep", "^(x+x+)+y$"]).code(0);
    assert_eq!(said.out, "");
    // An expression that would be a large program is none here.
    home.ctl(&["logs", "--grep", "((x{1000}){1000}){1000}"]).code(2).says("size limit");
    // Eleven hours of entries are looked through in no millisecond: how far it came is said, and what to do.
    for hour in 0..4 {
        let of = |second: i64| NewLogEntry {
            at: Some((1_700_000_000_i64 + hour * 10_000 + second) * 1_000_000_000),
            message: "xxyx".into(),
            ..Default::default()
        };
        let request = AppendRequest {
            service: "many".into(),
            entries: (0..10_000).map(of).collect(),
            ..Default::default()
        };
        assert_eq!(block_on(append(&home, request)).unwrap().kept, 10_000);
    }
    let words =
        ["logs", "many", "--json", "--within", "1ms", "--since", "2023-11-01", "--grep", "(x|y){200}z"];
    home.ctl(&words).code(5).says("the time").says(" with --");
}

/// Instead of libc's: CLOCK_REALTIME, and as many seconds more as the file says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *ahead;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("HELM_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *seen = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (seen != MAP_FAILED) ahead = seen;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *ahead;
    return done;
}
"#;

/// A clock for helmd and helmctl that the test sets.
struct Clock(File);

impl Clock {
    fn of(home: Home) -> (Home, Self) {
        home.write("clock.c", CLOCK);
        let (source, library, file) = (home.path("clock.c"), home.path("clock.so"), home.path("clock"));
        let made =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).output();
        Said::of(&made.expect("cc")).code(0);
        let clock = Self(OpenOptions::new().create_new(true).write(true).open(&file).unwrap());
        clock.ahead(0);
        let home = home
            .with_env("HELM_TEST_CLOCK", &file.display().to_string())
            .with_env("LD_PRELOAD", &library.display().to_string());
        (home, clock)
    }

    fn ahead(&self, seconds: i64) {
        self.0.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

fn number(entry: &Value) -> u64 {
    entry["message"].as_str().unwrap().split(' ').nth(2).unwrap().parse().unwrap()
}

/// Hours of the clock by which a service's entries stand in the log.
fn hours(home: &Home, service: &str) -> BTreeSet<String> {
    let entries = rows(&home.ctl(&["logs", "export", service]).code(0));
    entries.iter().map(|e| e["at"].as_str().unwrap()[..13].to_owned()).collect()
}

#[test]
fn a_clock_that_jumps_back_an_hour_loses_doubles_and_stops_nothing() {
    let services = json!({"chatty": {"command": fixture("chatty", "streams=stdout rate=100")}});
    let (home, clock) = Clock::of(Home::new(&services));
    home.ctl(&["up"]).code(0);
    let mut follow = home.helmctl(&["logs", "chatty", "--json", "-f", "-n", "10000"]);
    follow.stdout(File::create(home.path("followed")).unwrap());
    let _follower = Running::of(follow);
    let stored = || rows(&home.ctl(&["logs", "export", "chatty"]).code(0));
    let goes_on = |words: &str| {
        assert_eq!(block_on(append(&home, batch("sender", &[words]))).unwrap().kept, 1);
        let before = stored().len();
        until("lines are stored", || stored().len() > before + 50);
    };
    goes_on("as it was");
    clock.ahead(-3600);
    goes_on("an hour back");
    // A helmd that begins while the clock is behind goes on, too.
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    goes_on("begun behind");
    clock.ahead(0);
    goes_on("and forth again");
    assert!(hours(&home, "sender").len() >= 2, "each entry has the time that the clock showed");
    home.ctl(&["status", "chatty"]).code(0).says("running");
    home.ctl(&["stop", "chatty"]).code(0);
    let printed = home.lines("chatty").iter().filter(|line| line.text.starts_with(b"stdout")).count();
    until("all of it is stored", || stored().len() == printed);
    let followed = || {
        let text = home.read("followed");
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .map(|e| number(&e))
            .collect::<Vec<_>>()
    };
    until("who follows has got each", || followed().len() >= printed);
    // The keeper is one static program: no library gets under its clock. What it would write is written for it.
    let an_hour_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() - 3600 * 1_000_000_000;
    let stamp = cri::stamp(Wall(i64::try_from(an_hour_ago).unwrap()));
    let mut file = OpenOptions::new().append(true).open(home.path("logs/chatty/current.log")).unwrap();
    for more in 1..=20 {
        let line = format!("{} stdout F stdout 1 {} back\n", str::from_utf8(&stamp).unwrap(), printed + more);
        file.write_all(line.as_bytes()).unwrap();
    }
    let all: Vec<u64> = (1..=printed as u64 + 20).collect();
    until("what was captured behind is stored", || stored().len() == all.len());
    let mut entries = stored();
    entries.sort_by_key(|entry| entry["id"].as_i64());
    assert_eq!(entries.iter().map(number).collect::<Vec<_>>(), all, "each once, in the order of coming");
    assert!(hours(&home, "chatty").len() >= 2, "each with the time that its clock showed");
    until("who follows has got these, too", || followed().len() >= all.len());
    assert_eq!(followed(), all, "and each once");
    home.ctl(&["logs", "verify"]).code(0);
    let status = home.ctl(&["--json", "db", "status"]).code(0).json();
    let mut closed = status["partitions"].as_array().unwrap().iter().filter(|p| !p["closed"].is_null());
    assert!(closed.next().is_none(), "no partition is closed early: {status:#}");
}
