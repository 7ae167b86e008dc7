//! Entries are not altered: refused by the database itself, to the role that helmd uses and in SQLite's own shell.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::home::{Home, Said, fixture};
use harness::postgres::Cluster;
use harness::wait::eventually;
use serde_json::{Value, json};

fn home() -> Home {
    let home = Home::new(&json!({"app": {"command": fixture("chatty", "streams=stdout rate=0 count=3000")}}));
    home.write("instance/helm.conf", "[helm]\npartition_rows = 1000\n");
    home
}

/// Starts the service; answers with all lines once they are stored.
fn lines(home: &Home) -> String {
    home.ctl(&["up"]).code(0);
    eventually("all lines are stored", || {
        let said = home.ctl(&["logs", "app", "--json", "-n", "3001"]).out;
        if said.lines().count() == 3000 { Ok(said) } else { Err(said.lines().count().to_string()) }
    })
}

fn status(home: &Home) -> Value {
    home.ctl(&["--json", "db", "status"]).code(0).json()
}

fn shell(file: &Path, sql: &str) -> Said {
    Said::of(&Command::new("sqlite3").arg(file).arg(sql).output().unwrap())
}

#[test]
fn sqlites_own_shell_is_refused_in_open_and_in_closed_files() {
    let home = home();
    let before = lines(&home);
    let file = |closed: bool| -> PathBuf {
        let status = status(&home);
        let mut all = status["partitions"].as_array().unwrap().iter();
        let part = all.find(|p| p["class"] == "default" && p["closed"].is_null() != closed);
        let part = part.expect("one of each");
        let number: u32 = part["id"].as_str().unwrap().split_once('.').unwrap().1.parse().unwrap();
        home.path(&format!("instance/store/log/{number:08}-default.db"))
    };
    let columns = "at, service, level, flags, source, stream, plain, 'forged', context, trace, user, hostname, process, seen, digest";
    let replace = format!("INSERT OR REPLACE INTO entry SELECT row, {columns} FROM entry LIMIT 1");
    let put = format!("REPLACE INTO entry SELECT row, {columns} FROM entry ORDER BY row DESC LIMIT 1");
    // While helmd writes, and when it has left.
    let (open, closed) = (file(false), file(true));
    for running in [true, false] {
        if !running {
            home.ctl(&["daemon", "stop"]).code(0);
        }
        for file in [&open, &closed] {
            for sql in [
                "UPDATE entry SET message = 'forged'",
                "UPDATE entry SET message = 'forged' WHERE row = 1",
                "UPDATE OR REPLACE entry SET row = 2 WHERE row = 1",
                "DELETE FROM entry",
                "DELETE FROM entry WHERE row = 1",
                "UPDATE service SET name = 'other'",
                &replace,
                &put,
            ] {
                let said = shell(file, sql);
                assert!(said.code != 0 && said.err.contains("are not"), "{sql}: {}{}", said.out, said.err);
            }
        }
    }
    home.ctl(&["daemon", "start"]).code(0);
    assert_eq!(lines(&home), before);
    home.ctl(&["logs", "verify"]).code(0);
    assert_eq!(status(&home)["protection"], "triggers");

    // Whoever takes the triggers away, or makes them toothless, is told of.
    shell(&closed, "DROP TRIGGER entry_no_update").code(0);
    let told = status(&home);
    assert_eq!(told["protection"], "broken", "{told:#}");
    assert!(told["advice"].to_string().contains(closed.file_name().unwrap().to_str().unwrap()), "{told:#}");
    shell(&closed, "CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT 1; END").code(0);
    assert_eq!(status(&home)["protection"], "broken");
}

/// What must be refused to the role that helmd logs in as.
fn refused(cluster: &Cluster, user: &str, closed: &str, open: &str, drop: bool) {
    let mut all = vec![
        "UPDATE entry SET message = 'forged'".to_owned(),
        "DELETE FROM entry".to_owned(),
        "TRUNCATE entry".to_owned(),
        "UPDATE service SET name = 'other'".to_owned(),
        "UPDATE log_entries SET message = 'forged'".to_owned(),
        format!(
            "INSERT INTO {closed} SELECT id + 1, at, seen, digest, service, flags, process_id, level, source, stream, message FROM {closed} ORDER BY id DESC LIMIT 1"
        ),
        format!(
            "INSERT INTO {open} SELECT * FROM {open} LIMIT 1 ON CONFLICT (id) DO UPDATE SET message = 'forged'"
        ),
    ];
    for table in [closed, open] {
        all.extend([
            format!("UPDATE {table} SET message = 'forged' WHERE level > 0"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ]);
    }
    if drop {
        for table in ["entry", "service", "partition", closed, open] {
            all.push(format!("DROP TABLE {table} CASCADE"));
        }
        all.push(format!("ALTER TABLE {open} DISABLE TRIGGER ALL"));
        all.push(format!("DROP TRIGGER helm_immutable ON {open}"));
    }
    for sql in all {
        let said = cluster.sql(user, "", "helm_db", &sql);
        let why = [
            "never altered",
            "written by helmd alone",
            "permission denied",
            "must be owner",
            "cannot update view",
        ];
        let refused = said.code != 0 && why.iter().any(|why| said.err.contains(why));
        assert!(refused, "{sql}: {}{}", said.out, said.err);
    }
}

#[test]
fn the_role_of_helmd_is_refused_with_split_roles_and_with_one() {
    for (protection, drop) in [("roles", true), ("triggers", false)] {
        let cluster = Cluster::start("trust");
        let admin = |database: &str, sql: &str| cluster.sql("postgres", "", database, sql).code(0).out;
        let home = home();
        let port = cluster.port.to_string();
        let mut words = vec!["db", "init", "--host", "127.0.0.1", "--port", &port];
        home.write("admin", &format!("postgresql://postgres@127.0.0.1:{port}/postgres\n"));
        home.write("secret", "secret\n");
        let (url, secret) =
            (home.path("admin").display().to_string(), home.path("secret").display().to_string());
        if drop {
            words.extend(["--admin-url-file", &url]);
        } else {
            // As the Python Helm's instructions have it.
            admin("postgres", "CREATE USER helm_user WITH PASSWORD 'secret'");
            admin("postgres", "CREATE DATABASE helm_db");
            admin("postgres", "GRANT ALL PRIVILEGES ON DATABASE helm_db TO helm_user");
            admin("helm_db", "GRANT ALL ON SCHEMA public TO helm_user");
            words.extend(["--password-file", &secret]);
        }
        home.ctl(&words).code(0);
        let before = lines(&home);
        assert_eq!(status(&home)["protection"], protection);
        let tables = admin(
            "helm_db",
            "SELECT 'entry_' || (id >> 24) || '_' || (id & 16777215) FROM partition WHERE class = 'default' ORDER BY id",
        );
        let tables: Vec<&str> = tables.lines().collect();
        refused(&cluster, "helm_user", tables[0], tables[tables.len() - 1], drop);
        // Nor is the superuser let, unless he takes the triggers away.
        refused(&cluster, "postgres", tables[0], tables[tables.len() - 1], false);
        assert_eq!(lines(&home), before);
        home.ctl(&["logs", "verify"]).code(0);
        admin("helm_db", &format!("DROP TRIGGER helm_immutable ON {}", tables[0]));
        assert_eq!(status(&home)["protection"], "broken");
    }
}
