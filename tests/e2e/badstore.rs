//! What can be wrong with the database, and what it gets: a sentence that says what to do, and services that go on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use harness::home::{Home, Running, Said, fixture};
use harness::postgres::Cluster;
use harness::procs::Process;
use harness::small::Small;
use harness::wait::{eventually, until};
use harness::watch::block_on;
use helm_proto::v1::AppendRequest;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::logs::{append, batch};

fn chatty(options: &str) -> Value {
    json!({"chatty": {"command": fixture("chatty", options)}})
}

fn status(home: &Home) -> Value {
    home.ctl(&["--json", "db", "status"]).code(0).json()
}

/// Waits until `db status` says so.
#[track_caller]
fn state(home: &Home, words: &str) -> Value {
    eventually(words, || {
        let status = status(home);
        let said = status["state"].as_str().unwrap_or_default();
        if said.contains(words) { Ok(status) } else { Err(format!("{status:#}")) }
    })
}

/// Lines of the service that are stored, as they are shown: oldest first. They are numbered from 1.
#[track_caller]
fn stored(home: &Home) -> Vec<u64> {
    numbers(&home.ctl(&["logs", "chatty", "--json", "-n", "10000"]).out)
}

fn numbers(lines: &str) -> Vec<u64> {
    let number = |line: &str| {
        let entry: Value = serde_json::from_str(line).ok()?;
        entry["message"].as_str()?.split(' ').nth(2)?.parse().ok()
    };
    lines.lines().filter_map(number).collect()
}

/// `logs -f`, ended with the test.
struct Follower<'h> {
    home: &'h Home,
    child: Child,
}

impl<'h> Follower<'h> {
    fn new(home: &'h Home) -> Self {
        let out = fs::File::create(home.path("followed")).unwrap();
        let words = ["logs", "chatty", "--json", "-f", "-n", "10000"];
        let child = home.helmctl(&words).stdout(out).stderr(Stdio::null()).spawn().unwrap();
        Self { home, child }
    }

    fn told(&self) -> BTreeSet<u64> {
        numbers(&self.home.read("followed")).into_iter().collect()
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of them, once what is captured is stored.
#[track_caller]
fn whole(home: &Home, count: u64) {
    let all: Vec<u64> = (1..=count).collect();
    eventually("each line once", || {
        let stored = stored(home);
        if stored == all { Ok(()) } else { Err(format!("{} of {count}; {}", stored.len(), status(home))) }
    });
}

fn log_files(home: &Home) -> Vec<PathBuf> {
    let files = fs::read_dir(home.path("instance/store/log")).unwrap().map(|e| e.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "db")).collect()
}

fn spoil(path: &Path) {
    for suffix in ["", "-wal"] {
        let file = format!("{}{suffix}", path.display());
        if let Ok(there) = fs::metadata(&file) {
            fs::write(&file, vec![b'x'; usize::try_from(there.len()).unwrap()]).unwrap();
        }
    }
}

#[track_caller]
fn event(home: &Home, words: &[&str]) {
    eventually(&format!("an event: {words:?}"), || {
        let said = home.ctl(&["events", "helm", "--json", "-n", "100"]);
        let found = said.out.lines().any(|line| words.iter().all(|word| line.contains(word)));
        if found { Ok(()) } else { Err(said.out + &said.err) }
    });
}

#[test]
fn a_file_that_turns_bad_while_helmd_runs_is_moved_aside_and_nothing_is_missing() {
    let home = Home::new(&chatty("streams=stdout rate=100 count=400"));
    home.ctl(&["up"]).code(0);
    let follower = Follower::new(&home);
    until("lines are stored, and followed", || stored(&home).len() > 50 && follower.told().len() > 50);
    spoil(&log_files(&home)[0]);
    // The lines are in the service's own files still: they are read again.
    eventually("the file is moved aside", || {
        let said = home.ctl(&["logs", "chatty", "-n", "1"]);
        let status = status(&home);
        if status["advice"].to_string().contains(".damaged-") {
            Ok(())
        } else {
            Err(format!("{status} {said:?}"))
        }
    });
    whole(&home, 400);
    until("who follows has got each line", || follower.told().len() == 400);
    home.ctl(&["status"]).says(".damaged-");
    assert!(home.read("logs/helmd.log").contains(".damaged-"));
    event(&home, &["store", "damaged", "nothing of it deleted"]);
    home.ctl(&["logs", "verify"]).code(0);
}

#[test]
fn a_full_disk_is_told_and_waited_for() {
    let home = Home::new(&chatty("streams=stdout rate=2000 count=8000 width=200"));
    let small = Small::at(home.path("instance/store"));
    home.ctl(&["up"]).code(0);
    let full = state(&home, "full since");
    let words = full["state"].as_str().unwrap();
    assert!(words.contains("the disk of the database is full") && words.contains("make room"), "{full}");
    home.ctl(&["status"]).says("the log is not stored since").says("full");
    event(&home, &["store", "full", "the disk of the database is full"]);
    small.grow();
    whole(&home, 8000);
    home.ctl(&["logs", "verify"]).code(0);
}

#[test]
fn a_directory_that_turns_read_only_is_told_and_waited_for() {
    let home = Home::new(&chatty("streams=stdout rate=100 count=400"));
    let small = Small::at(home.path("instance/store"));
    small.grow();
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 20);
    home.ctl(&["daemon", "stop"]).code(0);
    small.write(false);
    home.ctl(&["daemon", "start"]).code(0);
    let words = state(&home, "read-only")["state"].to_string();
    assert!(words.contains("make it writable"), "{words}");
    home.ctl(&["status"]).says("read-only");
    small.write(true);
    whole(&home, 400);
}

#[test]
fn files_that_are_deleted_under_helmd_are_missed_and_lines_are_read_again() {
    let home = Home::new(&chatty("streams=stdout rate=100 count=500"));
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 50);
    for file in log_files(&home) {
        for suffix in ["", "-wal", "-shm"] {
            // It need not be there.
            let _ = fs::remove_file(format!("{}{suffix}", file.display()));
        }
    }
    event(&home, &["store", "damaged", "was moved or deleted"]);
    whole(&home, 500);
}

/// A PostgreSQL of its own whose role `helm_user` owns its database, and a home that uses it.
fn on_postgres(services: &Value) -> (Cluster, Home) {
    let cluster = Cluster::start("scram-sha-256");
    let admin = |database: &str, statement: &str| {
        cluster.sql("postgres", "postgres", database, statement).code(0);
    };
    admin("postgres", "CREATE USER helm_user WITH PASSWORD 'secret'");
    admin("postgres", "CREATE DATABASE helm_db OWNER helm_user");
    let home = Home::new(services);
    connect(&home, &cluster, "helm_user:secret", "helm_db");
    (cluster, home)
}

fn connect(home: &Home, cluster: &Cluster, who: &str, database: &str) {
    let url = format!("postgresql://{who}@127.0.0.1:{}/{database}", cluster.port);
    home.write("instance/helm.conf", &format!("[database]\nconnection_string = {url}\n"));
}

/// As the superuser.
#[track_caller]
fn admin(cluster: &Cluster, statement: &str) -> Said {
    cluster.sql("postgres", "postgres", "helm_db", statement).code(0)
}

/// The open partition's table.
fn table(cluster: &Cluster) -> String {
    let sql = "SELECT helm_partition_table(open) FROM class_state WHERE class = 'default'";
    admin(cluster, sql).out.trim().to_owned()
}

#[test]
fn rights_that_are_taken_away_hold_up_nothing_for_ever() {
    let (cluster, home) = on_postgres(&chatty("streams=stdout rate=100 count=500"));
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 50);
    admin(
        &cluster,
        "ALTER TABLE entry OWNER TO postgres; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM helm_user",
    );
    admin(&cluster, &format!("ALTER TABLE {} OWNER TO postgres", table(&cluster)));
    admin(&cluster, "ALTER TABLE class_state OWNER TO postgres");
    let refused = state(&home, "refused since");
    let words = refused["state"].as_str().unwrap();
    assert!(words.contains("permission denied") && words.contains("helmctl db init"), "{words}");
    home.ctl(&["status"]).says("the log is not stored since").says("permission denied");
    event(&home, &["store", "refused", "permission denied"]);
    admin(&cluster, "GRANT ALL ON ALL TABLES IN SCHEMA public TO helm_user");
    state(&home, "ok");
    whole(&home, 500);
    event(&home, &["store", "refused", "ok", "the log is stored again"]);
    assert!(!home.ctl(&["status"]).err.contains("is not stored"));
}

#[test]
fn a_database_that_turns_read_only_is_waited_for() {
    let (cluster, home) = on_postgres(&chatty("streams=stdout rate=100 count=400"));
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 50);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'helm_user'";
    admin(&cluster, &format!("ALTER ROLE helm_user SET default_transaction_read_only = on; {end}"));
    let refused = state(&home, "refused since");
    assert!(refused["state"].as_str().unwrap().contains("must lead to the primary"), "{refused}");
    admin(&cluster, &format!("ALTER ROLE helm_user RESET default_transaction_read_only; {end}"));
    whole(&home, 400);
}

#[test]
fn an_entry_that_is_refused_for_ever_is_put_on_record_and_the_rest_goes_on() {
    let (cluster, home) = on_postgres(&chatty("streams=stdout rate=100 count=300"));
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 20);
    // What an operator adds by hand, and one line in ten offends it.
    admin(
        &cluster,
        &format!("ALTER TABLE {} ADD CHECK (message !~ '^stdout [^ ]+ [0-9]*7 ') NOT VALID", table(&cluster)),
    );
    let last = eventually("the last line is stored", || {
        let stored = stored(&home);
        if stored.last() == Some(&300) { Ok(stored) } else { Err(format!("{stored:?}")) }
    });
    let missing: Vec<u64> = (1..=300).filter(|n| !last.contains(n)).collect();
    assert!(!missing.is_empty() && missing.iter().all(|n| n % 10 == 7), "{missing:?}");
    let records = home.ctl(&["logs", "helm", "--json", "-n", "1000", "--grep", "does not take an entry"]);
    for n in &missing {
        let word = format!(" {n} .");
        assert_eq!(
            records.out.lines().filter(|line| line.contains(&word)).count(),
            1,
            "{n}: {}",
            records.out
        );
    }
    assert_eq!(status(&home)["state"], "ok");
    home.ctl(&["logs", "verify"]).code(0);
}

#[test]
fn a_wrong_password_a_missing_database_and_a_missing_right_say_what_to_do_and_are_tried_again() {
    let (cluster, home) = on_postgres(&chatty("streams=stdout rate=0 count=20"));
    connect(&home, &cluster, "helm_user:wrong", "helm_db");
    home.ctl(&["up"]).code(0);
    let words = state(&home, "does not let helm_user in").to_string();
    assert!(words.contains("helmctl db init") && !words.contains("wrong"), "{words}");
    connect(&home, &cluster, "helm_user:secret", "nowhere");
    let words = state(&home, "there is no database nowhere").to_string();
    assert!(words.contains("create it with `helmctl db init`"), "{words}");
    home.ctl(&["status"]).says("the log is not stored since");
    admin(&cluster, "CREATE ROLE other LOGIN PASSWORD 'secret'");
    admin(&cluster, "REVOKE ALL ON SCHEMA public FROM public");
    connect(&home, &cluster, "other:secret", "helm_db");
    let words = state(&home, "lacks the right").to_string();
    assert!(words.contains("`helmctl db init` grants it") || words.contains("GRANT ALL"), "{words}");
    connect(&home, &cluster, "helm_user:secret", "helm_db");
    whole(&home, 20);
}

#[test]
fn a_database_that_is_newer_is_refused_with_a_sentence() {
    let (cluster, home) = on_postgres(&chatty("streams=stdout rate=0 count=20"));
    home.ctl(&["up"]).code(0);
    whole(&home, 20);
    home.ctl(&["daemon", "stop"]).code(0);
    admin(&cluster, "INSERT INTO helm_version (version, name) VALUES (999, 'of tomorrow')");
    home.ctl(&["daemon", "start"]).code(0);
    state(&home, "install the newer helmd");
}

#[test]
fn a_second_helmd_on_one_sqlite_is_told_who_has_it() {
    let first = Home::new(&chatty("streams=stdout rate=0 count=20"));
    first.ctl(&["up"]).code(0);
    whole(&first, 20);
    let second = Home::new(&chatty("streams=stdout rate=0 count=20"));
    fs::create_dir(second.path("instance")).unwrap();
    std::os::unix::fs::symlink(first.path("instance/store"), second.path("instance/store")).unwrap();
    second.ctl(&["up"]).code(0);
    let words = state(&second, "two helmds cannot share one SQLite store")["state"].to_string();
    assert!(words.contains(&format!("process {}", first.helmd().unwrap().pid)), "{words}");
    first.ctl(&["daemon", "stop"]).code(0);
    state(&second, "ok");
}

#[test]
fn a_directory_that_cannot_be_made_is_named_and_services_go_on() {
    let home = Home::new(&chatty("streams=stdout rate=0 count=20"));
    home.write("instance/store", "a file where the directory should be");
    home.ctl(&["up"]).code(0);
    home.wait_for("chatty", "it runs", |s| s.state == "running" || s.state == "stopped");
    state(&home, "instance/store");
    fs::remove_file(home.path("instance/store")).unwrap();
    whole(&home, 20);
}

/// Until the database is away, and something waits in the local queue for it.
fn queued(home: &Home, request: &AppendRequest) {
    until("what is sent is queued", || block_on(append(home, request.clone())).is_ok_and(|kept| kept.queued));
}

/// `logs -f`: what it prints goes to `followed`, what it says to `told`.
fn reads_on(home: &Home) -> Running {
    let mut follower = home.helmctl(&["logs", "-f", "-n", "5"]);
    let file = |name| fs::File::create(home.path(name)).unwrap();
    follower.stdout(file("followed")).stderr(file("told"));
    Running::of(follower)
}

fn waits(text: &str) -> bool {
    text.contains("appends wait in the local queue") && text.contains("output waits in logs/")
}

fn again(text: &str) -> bool {
    text.contains("the log is stored again")
}

/// Whether who follows has been told so.
fn told(home: &Home, so: fn(&str) -> bool) -> Result<(), String> {
    let told = home.read("told");
    if so(&told) { Ok(()) } else { Err(format!("{told}\n{}", status(home))) }
}

#[test]
fn who_begins_to_follow_while_postgresql_is_away_is_told_once_and_gets_the_past_when_it_is_back() {
    let (mut cluster, home) = on_postgres(&chatty("streams=stdout rate=50"));
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 20);
    cluster.order("kill");
    queued(&home, &batch("sender", &["it waited"]));
    let _follower = reads_on(&home);
    eventually("who follows is told", || told(&home, waits));
    cluster.order("start");
    eventually("who follows is told of the end", || told(&home, again));
    until("it follows", || home.read("followed").lines().count() > 5);
    let told = home.read("told");
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn who_reads_while_postgresql_is_away_is_told_what_waits_and_where() {
    let (mut cluster, home) = on_postgres(&chatty("streams=stdout rate=50"));
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 20);
    let _follower = reads_on(&home);
    // The past is read from the database: one that begins while it is away is the next test's.
    until("it follows", || !home.read("followed").is_empty());
    cluster.order("kill");
    queued(&home, &batch("sender", &["it waited"]));
    eventually("who follows is told", || told(&home, waits));
    let said = home.ctl(&["logs", "sender"]);
    assert!(said.code != 0 && waits(&said.err), "{said:?}");
    cluster.order("start");
    eventually("who follows is told of the end", || told(&home, again));
    until("what waited is there", || home.ctl(&["logs", "sender"]).out.contains("it waited"));
    until("and nothing waits any more", || home.ctl(&["logs", "sender"]).err.is_empty());
}

#[test]
fn a_local_queue_that_turns_bad_is_moved_aside_and_nothing_else_is_lost() {
    let (mut cluster, home) = on_postgres(&chatty("streams=stdout rate=50 count=200"));
    home.ctl(&["up"]).code(0);
    until("lines are stored", || stored(&home).len() > 20);
    cluster.order("kill");
    // More than SQLite keeps in memory.
    let text = "x".repeat(60_000);
    queued(&home, &batch("lost", &[text.as_str(); 50]));
    spoil(&home.path("instance/store/queue.db"));
    cluster.order("start");
    event(&home, &["store", "damaged", "the local queue cannot be read", "nothing was deleted", ".recover"]);
    home.ctl(&["status"]).says("queue.db.damaged-");
    let advice = status(&home)["advice"].to_string();
    assert!(advice.contains("queue.db.damaged-"), "{advice}");
    whole(&home, 200);
    // The fresh one works.
    cluster.order("kill");
    queued(&home, &batch("sender", &["it waited"]));
    cluster.order("start");
    until("what waited is there", || home.ctl(&["logs", "sender"]).out.contains("it waited"));
    home.ctl(&["logs", "verify"]).code(0);
}

/// Every process of the server, stopped until this is dropped.
struct Frozen(Vec<Process>);

impl Frozen {
    fn of(cluster: &Cluster) -> Self {
        let pids = admin(cluster, "SELECT pid FROM pg_stat_activity").out;
        let mut all: Vec<Process> =
            pids.lines().filter_map(|pid| Process::of(pid.trim().parse().ok()?)).collect();
        let postmaster = all.iter().find_map(|process| process.parent()).unwrap();
        all.extend(Process::of(postmaster));
        all.iter().for_each(|process| process.signal(Signal::STOP));
        Self(all)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|process| process.signal(Signal::CONT));
    }
}

#[test]
fn who_asks_for_the_status_is_answered_whatever_hangs() {
    let (cluster, home) = on_postgres(&chatty("rate=5"));
    home.ctl(&["daemon", "start"]).code(0);
    state(&home, "ok");
    // helmd holds it for well, until something of its own goes there.
    let frozen = Frozen::of(&cluster);
    let said = status(&home);
    assert!(said["protection"].as_str().unwrap().starts_with("not known"), "{said:#}");
    drop(frozen);
    state(&home, "ok");
    // What is configured cannot be read any more.
    home.ctl(&["daemon", "stop"]).code(0);
    connect(&home, &cluster, "helm_user:secret", "nowhere");
    home.ctl(&["daemon", "start"]).code(0);
    state(&home, "not open since");
    let conf = home.path("instance/helm.conf");
    fs::remove_file(&conf).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &conf, kind, mode, 0).unwrap();
    state(&home, "not open since");
}
