//! A line that is printed and sent is shown once; what probes leave in access logs is counted, not stored. Both engines.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use harness::home::Home;
use harness::postgres::Cluster;
use harness::wait::eventually;
use harness::watch::block_on;
use helm_proto::v1::{
    AppendRequest, AppendResponse, LogEntry, LogFacetsRequest, LogFilter, NewLogEntry, QueryLogsRequest,
};
use serde_json::{Value, json};

use crate::logs::{append, logs, rows};

/// A service that prints what is written into a file.
fn parrot(log: &Value) -> Home {
    let home = Home::new(&json!({
        "app": {"command": ["tail", "-n", "+1", "-F", "say"], "path": "dir", "log": log},
    }));
    home.write("dir/say", "");
    home
}

fn on_postgres(home: &Home) -> Cluster {
    let cluster = Cluster::start("trust");
    let port = cluster.port.to_string();
    home.write("admin", &format!("postgresql://postgres@127.0.0.1:{port}/postgres\n"));
    let admin = home.path("admin").display().to_string();
    home.ctl(&["db", "init", "--host", "127.0.0.1", "--port", &port, "--admin-url-file", &admin]).code(0);
    cluster
}

/// On SQLite, then on PostgreSQL.
fn on_both(log: &Value, test: impl Fn(&Home)) {
    let home = parrot(log);
    home.ctl(&["up"]).code(0);
    test(&home);
    let home = parrot(log);
    let _cluster = on_postgres(&home);
    home.ctl(&["up"]).code(0);
    test(&home);
}

fn say(home: &Home, line: &str) {
    let mut file = OpenOptions::new().append(true).open(home.path("dir/say")).unwrap();
    writeln!(file, "{line}").unwrap();
}

fn entry(message: &str, at: Option<i64>) -> NewLogEntry {
    NewLogEntry { message: message.into(), level: "info".into(), at, ..Default::default() }
}

fn send(home: &Home, entries: Vec<NewLogEntry>) -> AppendResponse {
    let request = AppendRequest { service: "app".into(), entries, ..Default::default() };
    block_on(append(home, request)).unwrap()
}

/// What is found of the service, in the order in which it was written, once there are so many.
fn found(home: &Home, twins: bool, count: usize) -> Vec<LogEntry> {
    let filter = LogFilter { services: vec!["app".into()], twins, ..Default::default() };
    let request = QueryLogsRequest { filter: Some(filter), limit: 100, ..Default::default() };
    eventually("entries are kept", || {
        let answer = block_on(async { logs(home).await.query(request.clone()).await });
        let mut entries = answer.map_err(|error| error.to_string())?.entries;
        entries.sort_by_key(|entry| entry.id);
        if entries.len() >= count { Ok(entries) } else { Err(format!("{entries:#?}")) }
    })
}

/// Message, how it came, and whether it is a twin.
fn seen(entries: &[LogEntry]) -> Vec<(&str, &str, bool)> {
    let twin = |entry: &LogEntry| entry.flags.iter().any(|flag| flag == "twin");
    entries.iter().map(|entry| (entry.message.as_str(), entry.source.as_str(), twin(entry))).collect()
}

#[test]
fn a_line_that_is_printed_and_sent_is_shown_once_whichever_comes_first() {
    on_both(&json!({}), |home| {
        let coloured = "\u{1b}[33mprinted first\u{1b}[0m";
        say(home, coloured);
        let at = found(home, true, 1)[0].at;
        // Once printed, three times sent: one of them is its twin, and the second is too far away.
        let far = [at - 3_000_000_000, at + 11_000_000_000, at + 2_000_000_000];
        let answer = send(home, far.map(|at| entry("printed first", Some(at))).into());
        assert_eq!((answer.kept, answer.rejected.len()), (3, 0), "{answer:?}");
        // Five seconds ahead: it may take fifteen until it is captured.
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        send(home, vec![entry("sent first\n", Some(now + 5_000_000_000))]);
        say(home, "sent first");
        let all = found(home, true, 6);
        assert_eq!(
            seen(&all),
            [
                (coloured, "captured", false),
                ("printed first", "sent", true),
                ("printed first", "sent", false),
                ("printed first", "sent", false),
                ("sent first\n", "sent", false),
                ("sent first", "captured", true),
            ]
        );
        assert_eq!(found(home, false, 4).len(), 4);
        assert_eq!(rows(&home.ctl(&["logs", "app", "--json"]).code(0)).len(), 4);
        assert_eq!(rows(&home.ctl(&["logs", "app", "--json", "--twins"]).code(0)).len(), 6);
        let facets = block_on(async { logs(home).await.facets(LogFacetsRequest::default()).await }).unwrap();
        let app = facets.services.iter().find(|facet| facet.service == "app").unwrap();
        assert_eq!(app.info, 4, "what is counted is what is shown: {facets:?}");
        home.ctl(&["logs", "verify"]).code(0);
    });
}

#[test]
fn what_probes_leave_in_access_logs_is_counted_not_stored() {
    let probe = r#"127.0.0.1 - - [23/Nov/2026 09:04:00] "GET /health HTTP/1.1" 200 -"#;
    let other = r#"127.0.0.1 - - [23/Nov/2026 09:04:00] "GET /healthy HTTP/1.1" 200 -"#;
    on_both(&json!({}), |home| {
        for line in [probe, other, probe, "the end"] {
            say(home, line);
        }
        let answer = send(home, vec![entry(probe, None), entry("kept", None)]);
        assert_eq!((answer.kept, answer.dropped, answer.rejected.len()), (1, 1, 0), "{answer:?}");
        let answer = send(home, vec![entry(probe, None)]);
        assert_eq!((answer.kept, answer.dropped), (0, 1), "{answer:?}");
        let mut said: Vec<_> = found(home, true, 3).into_iter().map(|entry| entry.message).collect();
        said.sort();
        assert_eq!(said, [other, "kept", "the end"]);
        let status = home.ctl(&["--json", "db", "status"]).code(0).json();
        assert_eq!(status["dropped"], json!([{"service": "app", "health_probes": 4}]), "{status:#}");
        home.ctl(&["db", "status"]).code(0).says("4 access lines of health probes");
    });
    let home = parrot(&json!({"drop_health": false}));
    home.ctl(&["up"]).code(0);
    say(&home, probe);
    assert_eq!(send(&home, vec![entry(&format!("{probe}."), None)]).kept, 1);
    assert_eq!(send(&home, vec![entry(&probe.replace("09:04", "09:05"), None)]).kept, 1);
    assert_eq!(found(&home, true, 3).len(), 3);
}
