//! The store from the outside: its status, what it keeps, PostgreSQL made ready, and bad input.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};

use harness::home::{Home, Said, fixture};
use harness::postgres::Cluster;
use harness::wait::{eventually, until};
use harness::watch::block_on;
use helm_proto::v1::AppendRequest;
use serde_json::{Value, json};

use crate::logs::{append, batch};

const SMALL: &str = "; by hand\n[helm]\npartition_rows = 1000\n\n[metrics]\nraw=2d\n";

fn chatty(options: &str) -> Value {
    json!({"chatty": {"command": fixture("chatty", options)}})
}

fn status(home: &Home) -> Value {
    home.ctl(&["--json", "db", "status"]).code(0).json()
}

/// `db status` once everything that is captured is stored, and this many entries at least.
fn stored(home: &Home, entries: u64) -> Value {
    eventually("what is captured is stored", || {
        let status = status(home);
        let behind: u64 =
            status["capture"].as_array().unwrap().iter().map(|lag| lag["bytes"].as_u64().unwrap()).sum();
        let done = status["available"] == true
            && behind == 0
            && status["capture"].as_array().is_some_and(|all| !all.is_empty())
            && status["entries"].as_u64().unwrap() >= entries;
        if done { Ok(status) } else { Err(format!("{status:#}")) }
    })
}

fn closed(status: &Value) -> usize {
    status["partitions"].as_array().unwrap().iter().filter(|p| !p["closed"].is_null()).count()
}

#[test]
fn db_status_tells_of_sqlite_and_helmds_own_log_is_there() {
    let home = Home::new(&chatty("streams=stdout rate=0 count=50"));
    home.ctl(&["up"]).code(0);
    let status = stored(&home, 50);
    assert_eq!(
        (status["engine"].as_str(), status["protection"].as_str()),
        (Some("sqlite"), Some("triggers"))
    );
    assert!(status["version"].as_str().unwrap().starts_with("SQLite 3."), "{status:#}");
    assert!(status["instance"].as_u64().unwrap() >= 1);
    home.ctl(&["db", "status"]).code(0).says("instance/store").says("PARTITION");
    home.ctl(&["db", "check"]).code(0).says("SQLite");
    eventually("helmd's own log is in the store", || {
        let said = home.ctl(&["logs", "helm", "--json"]);
        if said.out.contains("is up") { Ok(()) } else { Err(said.out + &said.err) }
    });
}

#[test]
fn retention_is_tried_set_and_carried_out_and_what_went_is_on_record() {
    let home = Home::new(&chatty("streams=stdout rate=0 count=5500"));
    home.write("instance/helm.conf", SMALL);
    home.ctl(&["up"]).code(0);
    let before = stored(&home, 5500);
    assert!(closed(&before) >= 2, "{before:#}");
    home.ctl(&["retention", "show"]).code(0).says("default").says("90d");
    let tried = home.ctl(&["--json", "retention", "dry-run", "default=1K"]).code(0).json();
    assert!(tried["removals"].as_array().unwrap().len() >= 2, "{tried:#}");
    assert_eq!(tried["removals"][0]["reason"], "bytes");
    assert_eq!(closed(&status(&home)), closed(&before), "a dry run removes nothing");
    for bad in [&["retention", "set", "default", "soon"][..], &["retention", "dry-run", "Bad Class=1d"][..]] {
        assert_ne!(home.ctl(bad).code, 0);
    }
    let spoken = home.ctl(&["--json", "retention", "dry-run", "default", "1K"]).code(0).json();
    assert_eq!(spoken["removals"], tried["removals"], "the words of set are taken, too");
    for (rule, why) in [("90", "90d for days, or 90G"), ("forever 5G", "contradict"), ("0G", "out of range")]
    {
        home.ctl(&["retention", "set", "default", rule]).code(2).says(why);
        home.ctl(&["retention", "dry-run", &format!("default={rule}")]).code(2).says(why);
    }
    assert_eq!(home.read("instance/helm.conf"), SMALL, "nothing was written");
    home.ctl(&["retention", "dry-run", "old=forever"]).code(0).says("no service belongs to class old");
    home.ctl(&["retention", "show"]).code(0).says("too young to tell");
    // No sender can say that a removal is on record already.
    let taken = AppendRequest { idempotency_key: "\u{1}removed-1.0".into(), ..batch("chatty", &["x"]) };
    let refused = block_on(append(&home, taken)).unwrap_err().to_string();
    assert!(refused.contains("control characters"), "{refused}");

    home.ctl(&["retention", "set", "default", "90d", "1K"]).code(0).says("90d");
    assert_eq!(home.read("instance/helm.conf"), format!("{SMALL}\n[retention]\ndefault = 90d 1K\n"));
    let mode = fs::metadata(home.path("instance/helm.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    until("partitions go by bytes", || closed(&status(&home)) == 0);
    let daemon = home.ctl(&["--json", "daemon", "status"]).code(0).json();
    assert_eq!(daemon["warnings"], json!([]), "what is set is in force");
    eventually("what went is on record", || {
        let said = home.ctl(&["logs", "helm", "--json", "-n", "1000"]);
        let records = said.out.lines().filter(|line| line.contains("\"removed\"")).count();
        if records >= closed(&before) { Ok(()) } else { Err(said.out) }
    });
    home.ctl(&["logs", "verify"]).code(0);

    // By age: the open partition is closed first, so that it can go.
    until("the lines are gone", || {
        // helmd looks at once when a rule is set; what came in the last second stays until the next look.
        home.ctl(&["retention", "set", "default", "1s"]).code(0);
        home.ctl(&["logs", "chatty", "--json"]).out.is_empty()
    });
    home.ctl(&["logs", "verify"]).code(0);
}

/// `helmctl db init` with a password on its standard input.
fn init(home: &Home, cluster: &Cluster, words: &[&str], password: &str) -> Said {
    let port = cluster.port.to_string();
    let mut all = vec!["db", "init", "--host", "127.0.0.1", "--port", &port];
    all.extend(words);
    let file = home.path("secret");
    fs::write(&file, format!("{password}\n")).unwrap();
    let input = fs::File::open(&file).unwrap();
    Said::of(&home.helmctl(&all).stdin(Stdio::from(input)).output().unwrap())
}

#[test]
fn db_init_makes_a_hardened_postgresql_and_lines_arrive_there() {
    let cluster = Cluster::start("scram-sha-256");
    let home = Home::new(&chatty("streams=stdout rate=0 count=200"));
    home.write("instance/helm.conf", SMALL);
    home.write("admin", &format!("postgresql://postgres:postgres@127.0.0.1:{}/postgres\n", cluster.port));
    let admin = home.path("admin").display().to_string();
    let password = "p@ss/w%rd:1";
    let words = ["--admin-url-file", &admin, "--password-file", "-"];
    init(&home, &cluster, &words, password).code(0).says("protected by: roles");
    let conf = home.read("instance/helm.conf");
    let want = format!(
        "{SMALL}\n[database]\nconnection_string = postgresql://helm_user:p%40ss%2Fw%25rd%3A1@127.0.0.1:{port}/helm_db\n\n[database_credentials]\ndb_host = 127.0.0.1\ndb_port = {port}\ndb_user = helm_user\ndb_dbname = helm_db\n",
        port = cluster.port
    );
    assert_eq!(conf, want);
    let mode = fs::metadata(home.path("instance/helm.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    home.ctl(&["db", "check"]).code(0).says("PostgreSQL").says("protected by: roles");

    home.ctl(&["up"]).code(0);
    let status = stored(&home, 200);
    assert_eq!(
        (status["engine"].as_str(), status["protection"].as_str()),
        (Some("postgresql"), Some("roles"))
    );
    let sql = |statement: &str| cluster.sql("helm_user", password, "helm_db", statement);
    let count = sql("SELECT count(*) FROM log_entries WHERE service_name = 'chatty'").code(0);
    assert_eq!(count.out.trim(), "200");
    for refused in
        ["UPDATE entry SET message = 'x'", "DELETE FROM entry", "TRUNCATE entry", "DROP TABLE entry"]
    {
        let said = sql(refused);
        assert!(said.code != 0 && said.err.contains("ERROR"), "{refused}: {}{}", said.out, said.err);
    }
    home.ctl(&["logs", "verify"]).code(0);

    // A role that may alter nothing may take away what is closed and on record.
    until("retention works with split roles", || {
        home.ctl(&["retention", "set", "default", "1s"]).code(0);
        sql("SELECT count(*) FROM log_entries WHERE service_name = 'chatty'").out.trim() == "0"
    });
    home.ctl(&["logs", "verify"]).code(0);

    // Again, with what is configured: nothing changes.
    let conf = home.read("instance/helm.conf");
    init(&home, &cluster, &["--admin-url-file", &admin], "").code(0).says("says so already");
    assert_eq!(home.read("instance/helm.conf"), conf);
    // The password changed: refused, named, and mended by running it again.
    let alter = "ALTER ROLE helm_user PASSWORD 'other'";
    cluster.sql("postgres", "postgres", "postgres", alter).code(0);
    home.ctl(&["db", "check"]).code(1).says("does not let helm_user in");
    init(&home, &cluster, &["--password-file", "-"], "other").code(0).says("written");
    home.ctl(&["db", "check"]).code(0);
    // A role that is there keeps its password, unless one is given.
    let stranger = Home::new(&chatty("count=1"));
    let words = ["--admin-url-file", &admin];
    init(&stranger, &cluster, &words, "").code(1).says("--password-file");
    assert_eq!(stranger.read("instance/helm.conf"), "", "nothing was written");
}

#[test]
fn db_init_works_on_what_the_seeds_sql_made_and_says_what_is_wrong() {
    let cluster = Cluster::start("scram-sha-256");
    let home = Home::new(&chatty("streams=stdout rate=0 count=20"));
    // The home of somebody else; the tests run as root.
    let somebody = 65_534;
    let root = rustix::process::geteuid().is_root();
    if root {
        chown(home.dir(), Some(somebody), Some(somebody)).unwrap();
    }
    let words = ["--password-file", "-"];
    let nobody_answers = ["db", "init", "--port", &harness::home::free_port().to_string()];
    Said::of(&home.helmctl(&nobody_answers).stdin(Stdio::null()).output().unwrap())
        .code(1)
        .says("cannot be reached");
    init(&home, &cluster, &words, "secret")
        .code(1)
        .says("does not let helm_user in")
        .says("--admin-url-file");
    let admin = |database: &str, statement: &str| {
        cluster.sql("postgres", "postgres", database, statement).code(0);
    };
    admin("postgres", "CREATE USER helm_user WITH PASSWORD 'secret'");
    init(&home, &cluster, &words, "secret").code(1).says("CREATE DATABASE helm_db OWNER helm_user");
    admin("postgres", "CREATE DATABASE helm_db");
    init(&home, &cluster, &words, "secret").code(1).says("GRANT ALL ON SCHEMA public TO helm_user");
    for (url, why) in
        [("postgres:wrong", "administrator's connection string"), ("helm_user:secret", "superuser")]
    {
        home.write("admin", &format!("postgresql://{url}@127.0.0.1:{}/postgres\n", cluster.port));
        let admin = home.path("admin").display().to_string();
        let words = ["--user", "another", "--admin-url-file", &admin];
        init(&home, &cluster, &words, "").code(1).says(why);
    }
    assert_eq!(home.read("instance/helm.conf"), "", "nothing is written before it works");
    admin("postgres", "GRANT ALL PRIVILEGES ON DATABASE helm_db TO helm_user");
    admin("helm_db", "GRANT ALL ON SCHEMA public TO helm_user");
    init(&home, &cluster, &words, "secret").code(0).says("protected by: triggers").says("db init");
    for made in ["instance", "instance/helm.conf", "instance/helmd.lock", "instance/run", "logs"] {
        let owner = fs::metadata(home.path(made)).unwrap();
        let expected = if root { (somebody, somebody) } else { (owner.uid(), owner.gid()) };
        assert_eq!((owner.uid(), owner.gid()), expected, "{made}: their own helmd is not locked out");
    }
    home.ctl(&["up"]).code(0);
    stored(&home, 20);
    let said = cluster.sql("helm_user", "secret", "helm_db", "DELETE FROM entry");
    assert!(said.code != 0, "{}", said.out);
}

#[test]
fn an_unreachable_database_is_named_and_services_start_all_the_same() {
    let home = Home::new(&chatty("streams=stdout rate=0 count=20"));
    let port = harness::home::free_port();
    let conf = format!("[database]\nconnection_string = postgresql://u:secret@127.0.0.1:{port}/helm_db\n");
    home.write("instance/helm.conf", &conf);
    home.ctl(&["up"]).code(0);
    let status = eventually("it is told", || {
        let status = status(&home);
        if status["state"].as_str().unwrap().contains("cannot be reached") {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    });
    assert_eq!((status["engine"].as_str(), status["available"].as_bool()), (Some("postgresql"), Some(false)));
    assert!(!status.to_string().contains("secret"), "{status:#}");
    let said = home.ctl(&["db", "check"]).code(1).says("cannot be reached").says("is PostgreSQL running");
    assert!(!said.err.contains("secret"));
}

#[test]
fn a_damaged_file_is_moved_aside_and_told() {
    let home = Home::new(&chatty("streams=stdout rate=0 count=100"));
    home.ctl(&["up"]).code(0);
    stored(&home, 100);
    home.ctl(&["daemon", "stop"]).code(0);
    let log = home.path("instance/store/log");
    let files = || -> Vec<String> {
        let names = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    };
    let segment = files().into_iter().find(|name| name.ends_with(".db")).unwrap();
    fs::write(log.join(&segment), vec![b'x'; 100_000]).unwrap();
    home.ctl(&["daemon", "start"]).code(0);
    // The service's own files have the lines still: they are read again.
    let status = stored(&home, 100);
    assert!(status["advice"].to_string().contains("damaged"), "{status:#}");
    assert!(files().iter().any(|name| name.contains(".damaged-")), "{:?}", files());
    let said = home.ctl(&["logs", "chatty", "--json", "-n", "1000"]);
    assert_eq!(said.out.lines().count(), 100);
}

#[test]
fn sqlites_own_shell_is_refused() {
    let home = Home::new(&chatty("streams=stdout rate=0 count=10"));
    home.ctl(&["up"]).code(0);
    stored(&home, 10);
    home.ctl(&["daemon", "stop"]).code(0);
    let log = home.path("instance/store/log");
    let file = fs::read_dir(log)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "db"));
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\ntry:\n    c.execute(\"UPDATE entry SET message = 'x'\")\nexcept sqlite3.Error as e:\n    print('refused', e)\n";
    let output = Command::new("python3").args(["-c", program]).arg(file.unwrap()).output().unwrap();
    Said::of(&output).code(0).says("refused");
}

#[test]
fn db_move_brings_the_log_to_postgresql_with_its_ids_and_chain() {
    let cluster = Cluster::start("scram-sha-256");
    let home = Home::new(&chatty("streams=stdout rate=0 count=5500"));
    home.write("instance/helm.conf", SMALL);
    home.ctl(&["up"]).code(0);
    stored(&home, 5500);
    home.ctl(&["daemon", "stop"]).code(0);
    home.ctl(&["daemon", "start"]).code(0);
    let lines = |home: &Home| home.ctl(&["logs", "chatty", "--json", "-n", "6000"]).code(0).out;
    let before = eventually("all lines are there", || {
        let lines = lines(&home);
        if lines.lines().count() == 5500 { Ok(lines) } else { Err(lines.lines().count().to_string()) }
    });
    home.write("admin", &format!("postgresql://postgres:postgres@127.0.0.1:{}/postgres\n", cluster.port));
    let admin = home.path("admin").display().to_string();
    // What is missing is told before anything need be stopped.
    home.ctl(&["db", "move"]).code(1).says("first helmctl db init");
    init(&home, &cluster, &["--admin-url-file", &admin], "").code(0);
    let said =
        home.ctl(&["db", "move"]).code(1).says("log, numbers, states and events go from").says("daemon stop");
    assert!(!said.err.contains("proved") && !said.out.contains("proved"), "{}{}", said.out, said.err);
    let numbers = |home: &Home| {
        let said = home.ctl(&["--json", "metrics", "chatty", "--metric", "restarts", "--since", "1h"]);
        if said.code == 0 { said.json()[0]["points"].as_array().map_or(0, Vec::len) } else { 0 }
    };
    eventually("numbers are there", || match numbers(&home) {
        0 => Err(home.ctl(&["metrics", "chatty"]).out),
        _ => Ok(()),
    });
    home.ctl(&["daemon", "stop"]).code(0);
    let event = home.read("instance/events.jsonl").lines().next().unwrap().to_owned();
    // Killed on the way: the same command goes on with it.
    let mut killed =
        home.helmctl(&["db", "move"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let told = std::io::BufRead::lines(std::io::BufReader::new(killed.stderr.take().unwrap()));
    assert!(told.map_while(Result::ok).any(|line| line.contains("partitions, ")), "it says how far it is");
    harness::procs::children(killed.id()).into_iter().for_each(harness::procs::Process::kill);
    killed.wait().unwrap();
    let moved = home.ctl(&["db", "move"]).code(0).says("read back and proved").says("helmctl daemon start");
    assert!(moved.err.contains("series of numbers"), "{}", moved.err);
    let sql = |statement: &str| {
        cluster.sql("postgres", "postgres", "helm_db", statement).code(0).out.trim().to_owned()
    };
    assert_ne!(sql("SELECT count(*) FROM metric_block"), "0");
    let first: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(sql(&format!("SELECT count(*) FROM event WHERE id = {}", first["id"])), "1", "{event}");
    let aside: Vec<String> = fs::read_dir(home.path("instance/store"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("moved-"))
        .collect();
    assert_eq!(aside.len(), 1, "nothing is deleted");
    assert!(home.path(&format!("instance/store/{}/log", aside[0])).is_dir());
    home.ctl(&["db", "move"]).code(1).says("nothing to move");

    home.ctl(&["daemon", "start"]).code(0);
    assert_eq!(stored(&home, 5500)["engine"], "postgresql");
    assert_eq!(lines(&home), before, "ids, times and texts as they were, and nothing twice");
    home.ctl(&["logs", "verify"]).code(0);
}
