//! Numbers, states and events: measured, kept, and found again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use harness::home::{Home, fixture};
use harness::wait::{eventually, until};
use harness::watch::block_on;
use helm_proto::v1::{AppendMetricsRequest, NewMetric, QueryMetricsRequest};
use serde_json::{Value, json};

/// A home that samples every second.
fn home(services: &Value) -> Home {
    let home = Home::new(services);
    home.write("instance/helm.conf", "[helm]\nevents_kept = 10\n[metrics]\ninterval = 1s\n");
    home
}

/// The newest value of a metric without tags.
fn newest(home: &Home, service: &str, metric: &str) -> Result<f64, String> {
    let said = home.ctl(&["metrics", "--json"]);
    if said.code != 0 {
        return Err(said.err);
    }
    let all = said.json();
    let found = all["series"].as_array().and_then(|series| {
        series.iter().find(|s| s["service"] == service && s["metric"] == metric && s["tags"] == json!({}))
    });
    found.and_then(|s| s["last"].as_f64()).ok_or_else(|| format!("no {metric} of {service}: {all}"))
}

fn until_newest(home: &Home, service: &str, metric: &str, right: impl Fn(f64) -> bool) -> f64 {
    eventually(&format!("{metric} of {service}"), || {
        let value = newest(home, service, metric)?;
        right(value).then_some(value).ok_or_else(|| format!("it is {value}"))
    })
}

fn nanos() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

#[test]
fn what_a_service_takes_is_seen_whole() {
    let home = home(&json!({
        "burn": {"command": ["sh", "-c", "while :; do :; done"]},
        "tree": {"command": fixture("forker", "width=2 depth=2")},
        "loop": {"command": fixture("exiter", "after=0 code=1 rate=20"), "backoff": {"initial": "50ms", "max": "50ms"}},
        "idle": {"command": ["sleep", "1000"]},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    until_newest(&home, "burn", "cpu_percent", |percent| percent > 10.0);
    until_newest(&home, "loop", "restarts", |restarts| restarts >= 2.0);
    // Main process, two children, four grandchildren; the memory is that of all of them.
    until_newest(&home, "tree", "processes", |n| (n - 7.0).abs() < 0.5);
    let one = until_newest(&home, "idle", "memory_bytes", |bytes| bytes > 0.0);
    until_newest(&home, "tree", "memory_bytes", |bytes| bytes > one);
    until_newest(&home, "tree", "fds", |fds| fds >= 21.0);
    for metric in ["load1", "memory_available_bytes", "cpu_percent"] {
        until_newest(&home, "host", metric, |value| value >= 0.0);
    }
    until_newest(&home, "helmd", "memory_bytes", |bytes| bytes > 1e6);
    let status = home.ctl(&["status", "burn", "idle", "--json"]).code(0).json();
    for service in status["services"].as_array().unwrap() {
        assert!(service["cpu_percent"].as_f64().is_some_and(|p| p >= 0.0), "{service}");
        assert!(service["memory_mb"].as_f64().is_some_and(|mb| mb > 0.0), "{service}");
        assert!(service["uptime"].is_u64(), "{service}");
    }
    home.ctl(&["metrics", "burn"]).code(0).says("cpu_percent");
    home.ctl(&["metrics", "burn", "--metric", "cpu_percent"]).code(0).says("burn cpu_percent");
    home.ctl(&["metrics", "burn", "--metric", "cpu_pc"]).code(4).says("it has cpu_percent");
    home.ctl(&["metrics", "bunr"]).code(4).says("did you mean `burn`?");
    home.ctl(&["metrics", "burn", "--since", "1m", "--until", "2m"]).code(2).says("must be before");
    home.ctl(&["metrics"]).code(0).says("host: CPU ").says(", memory ").says(" of ");
    home.ctl(&["metrics", "burn", "--since", "soon"]).code(2).says("yesterday");
    home.ctl(&["stop", "burn", "loop"]).code(0);
    let status = home.ctl(&["status", "burn", "--json"]).code(0).json();
    assert_eq!(status["services"][0]["memory_mb"], Value::Null, "what does not run takes nothing");
}

#[test]
fn numbers_of_others_come_back_and_what_cannot_be_is_refused_alone() {
    let home = home(&json!({"app": {"command": ["sleep", "1000"]}}));
    home.ctl(&["up"]).code(0);
    until_newest(&home, "app", "memory_bytes", |bytes| bytes > 0.0);
    block_on(async {
        let mut client = home.client().await.unwrap();
        let tags: std::collections::HashMap<String, String> =
            [("queue".to_owned(), "mail".to_owned())].into();
        let at = nanos() - 3_000_000_000;
        let number =
            |metric: &str, value, at| NewMetric { metric: metric.into(), value, at, tags: tags.clone() };
        let metrics = vec![
            number("jobs", 3.0, Some(at)),
            number("jobs", f64::NAN, None),
            NewMetric { metric: "cpu_percent".into(), value: 1.0, ..NewMetric::default() },
            number("jobs", 5.0, Some(at + 2_000_000_000)),
        ];
        let request = AppendMetricsRequest { service: "batch".into(), metrics };
        let answer = client.append_metrics(request).await.unwrap();
        assert_eq!(answer.kept, 2, "{answer:?}");
        assert_eq!(answer.rejected.iter().map(|r| r.index).collect::<Vec<_>>(), [1, 2], "{answer:?}");
        let request = QueryMetricsRequest {
            service: "batch".into(),
            metric: "jobs".into(),
            tags,
            from: at - 10_000_000_000,
            to: at + 10_000_000_000,
            points: 1000,
        };
        let curve = client.query_metrics(request).await.unwrap();
        assert_eq!(curve.points.iter().map(|p| p.last).collect::<Vec<_>>(), [3.0, 5.0], "{curve:?}");
        for service in ["host", "helmd", "No Name"] {
            let request = AppendMetricsRequest { service: service.into(), metrics: Vec::new() };
            client.append_metrics(request).await.unwrap_err();
        }
    });
}

/// Values by time.
fn curve(home: &Home, from: i64) -> BTreeMap<i64, String> {
    block_on(async {
        let request = QueryMetricsRequest {
            service: "app".into(),
            metric: "memory_bytes".into(),
            from,
            to: from + 600_000_000_000,
            points: 10_000,
            ..QueryMetricsRequest::default()
        };
        let answer = home.client().await.unwrap().query_metrics(request).await.unwrap();
        assert_eq!(answer.missing, "");
        answer.points.into_iter().map(|p| (p.at, p.last.to_string())).collect()
    })
}

#[test]
fn a_restart_of_helmd_loses_no_sample_that_was_taken() {
    let home = home(&json!({"app": {"command": ["sleep", "1000"]}}));
    let from = nanos() - 1_000_000_000;
    home.ctl(&["up"]).code(0);
    until_newest(&home, "app", "memory_bytes", |bytes| bytes > 0.0);
    until("some samples", || curve(&home, from).len() >= 3);
    let before = curve(&home, from);
    home.ctl(&["daemon", "stop"]).code(0);
    home.ctl(&["daemon", "start"]).code(0);
    until_newest(&home, "app", "memory_bytes", |bytes| bytes > 0.0);
    until("new samples", || curve(&home, from).keys().last() > before.keys().last());
    let after = curve(&home, from);
    let lost: Vec<_> = before.keys().filter(|at| !after.contains_key(at)).collect();
    assert!(lost.is_empty(), "{lost:?} of {before:?}, there are {after:?}");
}

fn events(home: &Home) -> Vec<u64> {
    let said = home.ctl(&["events", "--since", "1h", "--json"]).code(0);
    assert!(!said.err.contains("cannot be read"), "{}", said.err);
    said.out.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["id"].as_u64().unwrap()).collect()
}

#[test]
fn events_outlive_memory_and_journal() {
    let home = home(&json!({"app": {"command": ["sleep", "1000"]}}));
    home.ctl(&["daemon", "start"]).code(0);
    until_newest(&home, "host", "load1", |load| load >= 0.0);
    // Ten events are kept in memory; what is older can only come from the store.
    for _ in 0..5 {
        home.ctl(&["restart", "app"]).code(0);
        eventually("all events so far", || {
            let ids = events(&home);
            let whole = ids.iter().copied().eq(1..=ids.last().copied().unwrap_or(0));
            whole.then_some(()).ok_or_else(|| format!("{ids:?}"))
        });
    }
    let before = events(&home);
    assert!(before.len() > 15, "{before:?}");
    let stored = &before[..before.len() - 10];
    home.ctl(&["daemon", "stop"]).code(0);
    for file in ["instance/events.jsonl", "instance/events.jsonl.1"] {
        let _ = fs::remove_file(home.path(file));
    }
    home.ctl(&["daemon", "start"]).code(0);
    until_newest(&home, "host", "load1", |load| load >= 0.0);
    home.ctl(&["restart", "app"]).code(0);
    let after: BTreeSet<u64> = events(&home).into_iter().collect();
    assert!(stored.iter().all(|id| after.contains(id)), "{before:?}, then {after:?}");
    assert!(after.last() > before.last(), "no number is given twice");
    let none = home.ctl(&["events", "--since", "2000-01-01", "--until", "2001-01-01"]).code(0);
    assert_eq!(none.out, "");
}
