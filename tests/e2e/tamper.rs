//! Tampering by hand, on both engines: each is found by `logs verify`, and named.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use harness::home::{Home, Said, fixture};
use harness::postgres::Cluster;
use harness::wait::eventually;
use harness::watch::block_on;
use serde_json::{Value, json};

use crate::logs::{append, batch};

/// Partitions of a thousand entries.
const SMALL: &str = "[helm]\npartition_rows = 1000\n";

fn home() -> Home {
    let chatty = |count: u32| fixture("chatty", &format!("streams=stdout rate=0 count={count}"));
    let home = Home::new(&json!({
        "early": {"command": chatty(300)}, "more": {"command": chatty(12_000)},
        "last": {"command": chatty(70)}
    }));
    home.write("instance/helm.conf", SMALL);
    home
}

/// Starts a service and waits until all its lines are stored.
fn stored(home: &Home, service: &str, lines: usize) {
    home.ctl(&["start", service]).code(0);
    let max = (lines + 1).to_string();
    eventually("all lines are stored", || {
        let found = home.ctl(&["logs", service, "--json", "-n", &max]).out.lines().count();
        if found == lines { Ok(()) } else { Err(format!("{found} of {lines}")) }
    });
}

/// Sends fifty entries.
fn sent(home: &Home, service: &str) {
    let messages: Vec<String> = (0..50).map(|n| format!("{service} {n}")).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    assert_eq!(block_on(append(home, batch(service, &messages))).unwrap().kept, 50);
}

/// The partitions of class `default`: the audit trail has its own.
fn of_default(home: &Home) -> Vec<Value> {
    let status = home.ctl(&["--json", "db", "status"]).code(0).json();
    let all = status["partitions"].as_array().unwrap().iter();
    all.filter(|p| p["class"] == "default").cloned().collect()
}

fn number(partition: &Value) -> i64 {
    partition["id"].as_str().unwrap().split_once('.').unwrap().1.parse().unwrap()
}

/// Until the open partition has room for what is sent next: a full one is closed before it takes more.
fn roomy(home: &Home) {
    let room = || {
        let open = of_default(home).into_iter().find(|p| p["closed"].is_null());
        open.expect("one is open")["entries"].as_u64() < Some(500)
    };
    while !room() {
        sent(home, "filler");
    }
}

/// The instance, its closed partitions of class `default` that hold a hundred entries at least, and the open one.
fn partitions(home: &Home) -> (i64, Vec<i64>, i64) {
    let status = home.ctl(&["--json", "db", "status"]).code(0).json();
    let all = of_default(home);
    let closed = all.iter().filter(|p| !p["closed"].is_null() && p["entries"].as_i64() >= Some(100));
    let open = all.iter().find(|p| p["closed"].is_null()).expect("one is open");
    (status["instance"].as_i64().unwrap(), closed.map(number).collect(), number(open))
}

fn id(instance: i64, partition: i64, row: i64) -> i64 {
    ((instance << 24 | partition) << 20) | row
}

/// What `logs verify` finds.
fn faults(home: &Home, code: i32) -> Vec<Value> {
    let said = home.ctl(&["--json", "logs", "verify"]).code(code).json();
    assert_eq!(
        said["anchors"].as_array().unwrap().is_empty(),
        code != 0,
        "what does not fit gives no anchors"
    );
    said["faults"].as_array().unwrap().clone()
}

fn is(fault: &Value, partition: String, kind: &str, entry: Option<i64>) {
    let found = (fault["partition"].as_str(), fault["kind"].as_str(), fault["entry"].as_i64());
    assert_eq!(found, (Some(partition.as_str()), Some(kind), entry), "{fault:#}");
}

/// The ends of the chains go into a file; what is cut off then shows against it, and only against it.
fn cut_off(home: &Home, cut: impl FnOnce(&dyn Fn())) {
    cut(&|| {
        // Sent, not printed: helmd would read again what a service printed.
        sent(home, "late");
        home.write("ends", &home.ctl(&["logs", "verify", "--anchor"]).code(0).out);
        home.ctl(&["daemon", "stop"]).code(0);
    });
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["logs", "verify"]).code(0);
    let ends = home.path("ends").display().to_string();
    let said = home.ctl(&["logs", "verify", "--against", &ends]).code(1);
    assert!(said.out.contains("the last entries are gone, from "), "{}{}", said.out, said.err);
    assert!(!said.out.contains("/default/") && !said.err.contains("--anchor"), "{}{}", said.out, said.err);
}

/// Five partitions, each tampered with in its own way: this is what must be found.
fn found(home: &Home, instance: i64, parts: &[i64], rows: i64, older: (&str, Option<i64>)) {
    let faults = faults(home, 1);
    let named = |at: usize| format!("{instance}.{}", parts[at]);
    assert_eq!(faults.len(), 5, "{faults:#?}");
    is(&faults[0], named(0), older.0, older.1);
    is(&faults[1], named(1), "altered", Some(id(instance, parts[1], 10)));
    is(&faults[2], named(2), "altered", Some(id(instance, parts[2], 20)));
    is(&faults[3], named(3), "removed", Some(id(instance, parts[3], 29)));
    is(&faults[4], named(4), "inserted", Some(id(instance, parts[4], rows)));
    assert!(faults.iter().all(|fault| fault["at"].as_str().is_some_and(|at| at.ends_with('Z'))));
    let said = home.ctl(&["logs", "verify"]).code(1);
    let entry = id(instance, parts[1], 10).to_string();
    assert!(said.out.contains(&entry) && said.out.contains("(its time: 20"), "{}", said.out);
}

/// A bit of a text, wherever it stands: pages hold left-overs as well.
fn flip(file: &PathBuf, text: &str) {
    let mut bytes = fs::read(file).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    assert!(!places.is_empty(), "the text is there");
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(file, bytes).unwrap();
}

#[test]
fn whatever_is_done_to_sqlites_files_is_named() {
    let home = home();
    home.ctl(&["daemon", "start"]).code(0);
    stored(&home, "early", 300);
    let first = number(&of_default(&home)[0]);
    home.ctl(&["daemon", "stop"]).code(0);
    let file = |number: i64| home.path(&format!("instance/store/log/{number:08}-default.db"));
    for entry in fs::read_dir(home.path("instance/store/log")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with("-wal"), "helmd has closed its files: {name}");
    }
    fs::copy(file(first), home.path("older")).unwrap();
    home.ctl(&["daemon", "start"]).code(0);
    sent(&home, "between");
    stored(&home, "more", 12_000);
    roomy(&home);
    let (instance, parts, newest) = partitions(&home);
    assert!(parts.len() >= 5 && parts[0] == first, "{parts:?}");
    assert_eq!(faults(&home, 0).len(), 0);

    // The end: all that the open file says of itself goes with it.
    let open = file(newest);
    home.ctl(&["daemon", "stop"]).code(0);
    fs::copy(&open, home.path("open")).unwrap();
    home.ctl(&["daemon", "start"]).code(0);
    cut_off(&home, |stored_and_stopped| {
        stored_and_stopped();
        fs::copy(home.path("open"), &open).unwrap();
    });

    home.ctl(&["daemon", "stop"]).code(0);
    let sql = |part: usize, sql: &str| {
        let path = file(parts[part]);
        let run = |sql: &str| {
            let done = Command::new("sqlite3").arg(&path).arg(sql).output().unwrap();
            Said::of(&done).code(0).out
        };
        let triggers =
            run("SELECT 'DROP TRIGGER \"' || name || '\";' FROM sqlite_master WHERE type = 'trigger'");
        run(&format!("{triggers}{sql}"))
    };
    fs::copy(home.path("older"), file(parts[0])).unwrap();
    let last = sql(0, "SELECT max(row) FROM entry").trim().parse::<i64>().unwrap();
    let text = sql(1, "SELECT message FROM entry WHERE row = 10");
    flip(&file(parts[1]), text.trim_end());
    sql(2, "UPDATE entry SET level = 9 + 4 WHERE row = 20");
    sql(3, "DELETE FROM entry WHERE row = 30");
    let copied = "row + 1, at, service, level, flags, source, stream, plain, message, context, trace, user, hostname, process, seen, digest";
    sql(4, &format!("INSERT INTO entry SELECT {copied} FROM entry ORDER BY row DESC LIMIT 1"));
    let rows = sql(4, "SELECT max(row) FROM entry").trim().parse().unwrap();
    home.ctl(&["daemon", "start"]).code(0);
    found(&home, instance, &parts, rows, ("replaced", Some(id(instance, first, last))));
    home.ctl(&["db", "status"]).code(0).says("older copy");

    // What was put in at the open end is named, and the log goes on behind it.
    home.ctl(&["daemon", "stop"]).code(0);
    let insert = format!(
        "INSERT INTO entry SELECT {copied} FROM entry ORDER BY row DESC LIMIT 1; SELECT max(row) FROM entry"
    );
    let row = Said::of(&Command::new("sqlite3").arg(&open).arg(insert).output().unwrap()).code(0).out;
    home.ctl(&["daemon", "start"]).code(0);
    stored(&home, "last", 70);
    home.ctl(&["db", "status"]).code(0).says("somebody put some in");
    let faults = faults(&home, 1);
    assert_eq!(faults.len(), 6, "{faults:#?}");
    let inserted = id(instance, newest, row.trim().parse().unwrap());
    is(&faults[5], format!("{instance}.{newest}"), "inserted", Some(inserted));
}

#[test]
fn whatever_a_superuser_does_to_postgresql_is_named() {
    let mut cluster = Cluster::start("trust");
    let home = home();
    home.write("admin", &format!("postgresql://postgres@127.0.0.1:{}/postgres\n", cluster.port));
    let (admin, port) = (home.path("admin").display().to_string(), cluster.port.to_string());
    home.ctl(&["db", "init", "--host", "127.0.0.1", "--port", &port, "--admin-url-file", &admin]).code(0);
    home.ctl(&["daemon", "start"]).code(0);
    stored(&home, "early", 300);
    fn sql(cluster: &Cluster, statement: &str) -> String {
        cluster.sql("postgres", "", "helm_db", statement).code(0).out.trim().to_owned()
    }
    let instance: i64 = sql(&cluster, "SELECT number FROM instance").parse().unwrap();
    let table = |number: i64| format!("entry_{instance}_{number}");
    let first = number(&of_default(&home)[0]);
    sql(&cluster, &format!("CREATE SCHEMA older; CREATE TABLE older.entry AS TABLE {}", table(first)));
    sent(&home, "between");
    stored(&home, "more", 12_000);
    roomy(&home);
    let (_, parts, newest) = partitions(&home);
    assert!(parts.len() >= 5 && parts[0] == first, "{parts:?}");
    assert_eq!(faults(&home, 0).len(), 0);

    // The end, with all that is on record of it.
    let open = table(newest);
    let unguarded = |table: &str, statement: &str| {
        format!(
            "ALTER TABLE {table} DISABLE TRIGGER ALL; {statement}; ALTER TABLE {table} ENABLE TRIGGER ALL"
        )
    };
    home.ctl(&["daemon", "stop"]).code(0);
    let all = ["class_state", "partition", "count_minute", "cursor"];
    all.iter().for_each(|name| drop(sql(&cluster, &format!("CREATE TABLE older.{name} AS TABLE {name}"))));
    let last = sql(&cluster, &format!("SELECT max(id) FROM {open}"));
    home.ctl(&["daemon", "start"]).code(0);
    cut_off(&home, |stored_and_stopped| {
        stored_and_stopped();
        sql(&cluster, &unguarded(&open, &format!("DELETE FROM {open} WHERE id > {last}")));
        for name in all {
            // The audit trail, which goes on meanwhile, is left as it is.
            let of_default = match name {
                "count_minute" => "partition IN (SELECT id FROM partition WHERE class = 'default')",
                _ => "class = 'default'",
            };
            let older = format!("INSERT INTO {name} SELECT * FROM older.{name} WHERE {of_default}");
            sql(&cluster, &unguarded(name, &format!("DELETE FROM {name} WHERE {of_default}; {older}")));
        }
    });

    home.ctl(&["daemon", "stop"]).code(0);
    let tables: Vec<String> = parts.iter().map(|number| table(*number)).collect();
    let at = |part: usize, row: i64| id(instance, parts[part], row);
    let oldest = &tables[0];
    sql(
        &cluster,
        &unguarded(oldest, &format!("DELETE FROM {oldest}; INSERT INTO {oldest} SELECT * FROM older.entry")),
    );
    let last = sql(&cluster, &format!("SELECT max(id) FROM {oldest}")).parse().unwrap();
    let (two, three, four) = (&tables[2], &tables[3], &tables[4]);
    sql(&cluster, &unguarded(two, &format!("UPDATE {two} SET level = 13 WHERE id = {}", at(2, 20))));
    sql(&cluster, &unguarded(three, &format!("DELETE FROM {three} WHERE id = {}", at(3, 30))));
    let copied = "id + 1, at, seen, digest, service, flags, process_id, level, source, stream, message, plain, context, trace_id, user_id, hostname";
    sql(
        &cluster,
        &unguarded(four, &format!("INSERT INTO {four} SELECT {copied} FROM {four} ORDER BY id DESC LIMIT 1")),
    );
    let rows = sql(&cluster, &format!("SELECT max(id) & 1048575 FROM {four}")).parse().unwrap();
    // A byte on the disk.
    let text = sql(&cluster, &format!("SELECT message FROM {} WHERE id = {}", tables[1], at(1, 10)));
    let place =
        format!("SELECT current_setting('data_directory') || '/' || pg_relation_filepath('{}')", tables[1]);
    let path = PathBuf::from(sql(&cluster, &place));
    sql(&cluster, "CHECKPOINT");
    cluster.order("kill");
    flip(&path, &text);
    cluster.order("start");
    home.ctl(&["daemon", "start"]).code(0);
    found(&home, instance, &parts, rows, ("cut-off", Some(last)));
}
