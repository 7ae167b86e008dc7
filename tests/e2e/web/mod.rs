//! helm-web over the real helmd: what each route answers, to whom, and what it makes of bad input.

mod attacks;
mod bad;
mod ingest;
mod jobs;
mod live;
mod logs;
mod metrics;
mod operate;
mod roles;
mod seed;
mod stuck;
mod trust;
mod v1;

use std::time::Duration;

use harness::home::fixture;
use harness::site::Site;
use harness::wait::eventually;
use serde_json::{Value, json};

/// Two services, one of which talks; technicians look at all, and operate `a`.
const SETTINGS: &str = "[roles]\ntechnician.operate = a\nbilling = a\nclient = a\n";

/// A site with both of them; nothing runs.
#[track_caller]
fn site() -> Site {
    let services = json!({
        "a": {"command": fixture("chatty", "rate=5")},
        "b": {"command": fixture("chatty", "rate=5"), "depends_on": ["a"]},
    });
    Site::new(&services, SETTINGS)
}

/// Sends entries as a service of the ecosystem does, and waits until they can be found.
#[track_caller]
fn send(site: &Site, service: &str, entries: &Value) {
    let token = site.service(service);
    let batch = json!({"service_name": service, "logs": entries});
    let count = entries.as_array().map_or(0, Vec::len);
    // The store is opened beside the start of helmd.
    let answer = eventually("entries are kept", || {
        let answer = site.post("/api/logs/ingest", &token, &batch);
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    });
    assert_eq!(answer["ingested"], count, "{answer}");
}

/// The answer, once it is so.
#[track_caller]
fn once(site: &Site, path: &str, token: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(path, || {
        let answer = site.get(path, token);
        if answer.status != 200 {
            return Err(answer.text());
        }
        let json = answer.json();
        if holds(&json) { Ok(json) } else { Err(json.to_string()) }
    })
}

/// Longer than any answer may take behind Nexus.
const NEXUS_WAITS: Duration = Duration::from_secs(30);
