//! A PostgreSQL database of the Python Helm is taken over: no row is lost, also where helmd is killed meanwhile.

use harness::home::{Home, fixture};
use harness::postgres::Cluster;
use harness::wait::{eventually, until};
use serde_json::{Value, json};

/// As SQLAlchemy made it (contract 5.5), with all its indexes.
const SCHEMA: &str = r#"
SET ROLE helm_user;
CREATE TABLE log_entries (id bigserial PRIMARY KEY, timestamp timestamp NOT NULL, service_name varchar(50) NOT NULL, level varchar(20) NOT NULL,
    message text NOT NULL, context jsonb, trace_id varchar(36), user_id varchar(100), hostname varchar(255), process_id int);
CREATE INDEX ix_log_entries_timestamp ON log_entries (timestamp);
CREATE INDEX ix_log_entries_service_name ON log_entries (service_name);
CREATE INDEX ix_log_entries_level ON log_entries (level);
CREATE INDEX ix_log_entries_trace_id ON log_entries (trace_id);
CREATE INDEX ix_log_entries_user_id ON log_entries (user_id);
CREATE INDEX idx_log_service_timestamp ON log_entries (service_name, timestamp);
CREATE INDEX idx_log_level_timestamp ON log_entries (level, timestamp);
CREATE TABLE service_status (id serial PRIMARY KEY, service_name varchar(50) UNIQUE NOT NULL, status varchar(20) NOT NULL, pid int, port int,
    started_at timestamp, last_checked timestamp NOT NULL, health_status varchar(20), health_message text, cpu_percent double precision,
    memory_mb double precision);
CREATE TABLE service_metrics (id bigserial PRIMARY KEY, service_name varchar(50) NOT NULL, timestamp timestamp NOT NULL,
    metric_name varchar(100) NOT NULL, metric_value double precision NOT NULL, tags jsonb);
CREATE INDEX ix_service_metrics_service_name ON service_metrics (service_name);
CREATE INDEX ix_service_metrics_timestamp ON service_metrics (timestamp);
CREATE INDEX idx_metric_service_timestamp ON service_metrics (service_name, timestamp);
INSERT INTO service_status (service_name, status, last_checked) VALUES ('core', 'running', now());
INSERT INTO service_metrics (service_name, timestamp, metric_name, metric_value) VALUES ('core', now(), 'cpu_percent', 1.5);
"#;

/// A hundred thousand; ids with holes, and every tenth row odd in its own way.
const ROWS: &str = r#"
SET ROLE helm_user;
INSERT INTO log_entries (id, timestamp, service_name, level, message, context, trace_id, user_id, hostname, process_id)
SELECT i * 3, timestamp '2025-03-01 00:00:00' + i * interval '1.25 second', (ARRAY['core', 'nexus', 'codex'])[1 + i % 3],
       CASE i % 10 WHEN 1 THEN 'warn' WHEN 2 THEN 'LOUD' WHEN 3 THEN '' ELSE (ARRAY['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'])[1 + i % 5] END,
       CASE i % 10 WHEN 4 THEN '' WHEN 5 THEN repeat('long ', 4000) || i WHEN 6 THEN E'zweite\nZeile \u0001\u200f\u05d0\U0001F9ED e\u0301 \uffff ' || i
                   ELSE 'line ' || i END,
       CASE i % 10 WHEN 0 THEN NULL WHEN 7 THEN '[1, {"a": null}]'::jsonb WHEN 8 THEN '"text"'::jsonb WHEN 9 THEN 'null'::jsonb
                   ELSE jsonb_build_object('n', i, 'nested', jsonb_build_object('ok', true)) END,
       CASE WHEN i % 2 = 0 THEN 'trace-' || i % 1000 END, CASE WHEN i % 7 = 0 THEN 'user-' || i % 100 END,
       CASE WHEN i % 3 = 0 THEN 'host' END, CASE WHEN i % 4 = 0 THEN i END
FROM generate_series(1, 100000) AS i;
UPDATE log_entries SET timestamp = now() + interval '10 years' WHERE id = 30;
UPDATE log_entries SET timestamp = 'infinity' WHERE id = 33;
UPDATE log_entries SET timestamp = '0800-01-01 00:00:00' WHERE id = 36;
UPDATE log_entries SET message = repeat('x', 2000000) WHERE id = 39;
"#;

fn python(cluster: &Cluster) -> Home {
    let admin = |database: &str, sql: &str| cluster.sql("postgres", "", database, sql).code(0).out;
    admin("postgres", "CREATE USER helm_user WITH PASSWORD 'secret'");
    admin("postgres", "CREATE DATABASE helm_db");
    admin("postgres", "GRANT ALL PRIVILEGES ON DATABASE helm_db TO helm_user");
    admin("helm_db", "GRANT ALL ON SCHEMA public TO helm_user");
    admin("helm_db", SCHEMA);
    admin("helm_db", ROWS);
    let home = Home::new(&json!({"app": {"command": fixture("chatty", "streams=stdout rate=0 count=40")}}));
    home.write(
        "instance/helm.conf",
        &format!(
            "[database]\nconnection_string = postgresql+psycopg2://helm_user:secret@127.0.0.1:{}/helm_db\n",
            cluster.port
        ),
    );
    home
}

fn shown(home: &Home, id: i64) -> Value {
    home.ctl(&["--json", "logs", "show", &id.to_string()]).code(0).json()
}

#[test]
fn a_hundred_thousand_rows_of_the_python_helm_are_found_and_proved_also_after_a_kill() {
    let cluster = Cluster::start("trust");
    let home = python(&cluster);
    let sql =
        |statement: &str| cluster.sql("postgres", "", "helm_db", statement).code(0).out.trim().to_owned();
    let here = || -> u64 {
        let said =
            cluster.sql("postgres", "", "helm_db", "SELECT count(*) FROM entry WHERE id < 1::bigint << 44");
        said.out.trim().parse().unwrap_or(0)
    };
    home.ctl(&["daemon", "start"]).code(0);
    until("some rows are here", || here() > 0);
    home.kill_helmd();
    assert_eq!(sql("SELECT count(*) FROM former"), "0", "it was killed in the middle");
    assert!(here() < 100_000);

    home.ctl(&["up"]).code(0);
    for rows in (10_000..=100_000).step_by(10_000) {
        until("more rows are here", || here() >= rows);
    }
    until("all rows are counted", || sql("SELECT count(*) FROM former") == "1");
    assert_eq!((here(), sql("SELECT count(*) FROM log_entries_python").as_str()), (100_000, "100000"));
    // Under their ids, with what they said.
    let same = "SELECT count(*) FROM log_entries_python p JOIN log_entries e ON e.id = p.id AND e.service_name = p.service_name
        AND e.message = p.message AND e.trace_id IS NOT DISTINCT FROM p.trace_id AND e.user_id IS NOT DISTINCT FROM p.user_id
        AND e.hostname IS NOT DISTINCT FROM p.hostname AND e.process_id IS NOT DISTINCT FROM p.process_id
        AND (e.timestamp = p.timestamp OR e.context ->> 'original_timestamp' = p.timestamp::text)";
    assert_eq!(sql(same), "100000");
    let stats = eventually("they are shown with the others", || {
        let said = home.ctl(&["--json", "db", "status"]).json();
        let former = said["partitions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| p["id"].as_str().unwrap().starts_with("0."));
        let entries: u64 = former.map(|p| p["entries"].as_u64().unwrap()).sum();
        if entries == 100_000 { Ok(said) } else { Err(format!("{said:#}")) }
    });
    assert_eq!(stats["protection"], "triggers");

    let first = shown(&home, 3);
    assert_eq!(
        (first["message"].as_str(), first["level"].as_str(), first["source"].as_str()),
        (Some("line 1"), Some("WARNING"), Some("former"))
    );
    assert_eq!(first["at"], "2025-03-01T00:00:01.250000000Z");
    assert_eq!(shown(&home, 300_000)["message"], "line 100000");
    let loud = shown(&home, 6);
    assert_eq!(
        (loud["level"].as_str(), loud["context"]["original_level"].as_str(), loud["context"]["n"].as_u64()),
        (Some("INFO"), Some("LOUD"), Some(2))
    );
    assert_eq!(shown(&home, 33)["context"]["original_timestamp"], "infinity");
    assert_eq!(shown(&home, 12)["message"], "");
    assert_eq!(
        shown(&home, 18)["message"],
        "zweite\nZeile \u{1}\u{200f}\u{5d0}\u{1f9ed} e\u{301} \u{ffff} 6"
    );
    assert_eq!(shown(&home, 39)["message"].as_str().unwrap().len(), 2_000_000);
    assert_eq!(shown(&home, 27)["context"], Value::Null);
    let words = ["--json", "logs", "--trace", "trace-500", "-n", "1000"];
    assert_eq!(home.ctl(&words).code(0).out.lines().count(), 100);
    let words = ["--json", "logs", "codex", "--grep", "line 99998$", "-n", "5"];
    assert_eq!(home.ctl(&words).code(0).out.lines().count(), 1);
    let proved = home.ctl(&["logs", "verify"]).code(0);
    assert!(proved.out.contains("none altered"), "{}", proved.out);

    // A Python Helm that still runs is told, and loses nothing of what is here.
    for table in ["log_entries", "log_entries_python"] {
        let insert = format!(
            "INSERT INTO {table} (timestamp, service_name, level, message) VALUES (now(), 'core', 'INFO', 'late')"
        );
        let said = cluster.sql("helm_user", "", "helm_db", &insert);
        assert!(
            said.code != 0
                && said.err.contains("written by helmd alone")
                && said.err.contains("Stop the Python Helm"),
            "{}{}",
            said.out,
            said.err
        );
    }
    // What was altered since is named as anywhere else.
    let table = sql("SELECT tableoid::regclass FROM entry WHERE id = 300");
    sql(&format!(
        "ALTER TABLE {table} DISABLE TRIGGER ALL; UPDATE {table} SET message = 'forged' WHERE id = 300"
    ));
    let said = home.ctl(&["--json", "logs", "verify"]).code(1).json();
    let fault = &said["faults"][0];
    assert_eq!(
        (fault["kind"].as_str(), fault["entry"].as_i64(), fault["instance"].as_u64()),
        (Some("altered"), Some(300), Some(0))
    );
    sql(&format!("UPDATE {table} SET message = 'line 100' WHERE id = 300"));

    // Retention takes it by age, whatever times its rows claim; what went is on record in this helmd's own chain.
    home.ctl(&["retention", "set", "default", "30d"]).code(0);
    until("the old rows are gone", || here() == 0);
    home.ctl(&["--json", "logs", "show", "3"]).code(4);
    home.ctl(&["logs", "verify"]).code(0);

    // The old table may go.
    sql("DROP TABLE log_entries_python");
    home.ctl(&["daemon", "stop"]).code(0);
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["logs", "verify"]).code(0).says("none altered");
}
