//! What lasts longer than an answer can wait: kept by helmd, told to whoever may see it.

use std::time::Instant;

use harness::home::fixture;
use harness::site::Site;
use serde_json::{Value, json};

use super::live::Listening;
use super::{NEXUS_WAITS, once, site};

/// `slow` does not stop by itself.
fn slow(grace: &str) -> Site {
    let services = json!({
        "slow": {"command": fixture("stubborn", ""), "stop": {"grace": grace}},
        "b": {"command": fixture("chatty", "rate=5")},
    });
    let site = Site::new(&services, "[roles]\ntechnician = b\ntechnician.operate = b\n");
    site.ask("POST", "/api/services/slow/start", &site.user("admin"), None).status(200);
    site
}

fn kill(site: &Site, service: &str) {
    let status = site.get(&format!("/api/services/{service}/status"), &site.user("admin")).json();
    let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("it runs");
    harness::procs::Process::of(pid).expect("it lives").kill();
}

fn ids(site: &Site, token: &str) -> Vec<Value> {
    let list = site.get("/api/v1/jobs", token).status(200).json();
    list["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()).collect()
}

#[test]
fn what_lasts_longer_than_nexus_waits_is_a_job_that_outlives_helm_web() {
    let mut site = slow("120s");
    let admin = site.user("admin");
    let begin = Instant::now();
    let answer = site.ask("POST", "/api/services/slow/stop", &admin, None).status(202).json();
    assert!(begin.elapsed() < NEXUS_WAITS, "Nexus gives up after 30 s");
    assert_eq!((&answer["success"], &answer["message"]), (&json!(true), &json!("slow is being stopped")));
    let (id, url) = (answer["job"]["id"].clone(), answer["job"]["url"].as_str().unwrap().to_owned());
    assert!(id.as_str().unwrap().len() >= 32, "nobody guesses it: {id}");
    site.kill_and_restart();
    let going = site.get(&url, &admin).status(200).json();
    assert_eq!((&going["state"], &going["services"][0]["name"]), (&json!("running"), &json!("slow")));
    let again = site.ask("POST", "/api/services/slow/stop", &admin, None).status(202).json();
    assert_eq!(again["job"]["id"], id, "the same request is the same job");
    kill(&site, "slow");
    let done = once(&site, &url, &admin, |job| job["state"] == "done");
    assert!(done["ended_at"].is_string() && done["kind"] == "stop" && done["names"] == json!(["slow"]));
    assert!(ids(&site, &admin).contains(&id), "its outcome stays");
}

#[test]
fn a_job_of_other_services_is_not_there() {
    let site = slow("0s");
    let (admin, technician) = (site.user("admin"), site.user("technician"));
    site.ask("POST", "/api/services/slow/stop", &admin, None).status(200);
    site.ask("POST", "/api/services/b/start", &technician, None).status(200);
    let all = ids(&site, &admin);
    let own = ids(&site, &technician);
    assert_eq!((all.len(), own.len()), (3, 1), "{all:?} {own:?}");
    let foreign = all.iter().find(|id| !own.contains(id)).and_then(Value::as_str).unwrap();
    site.get(&format!("/api/v1/jobs/{foreign}"), &admin).status(200);
    let hidden = site.get(&format!("/api/v1/jobs/{foreign}"), &technician).problem(404);
    let none = site.get("/api/v1/jobs/moon", &technician).problem(404);
    assert_eq!(hidden.replace(foreign, "moon"), none, "one cannot tell it from one that is not there");
    site.get("/api/v1/jobs", &site.user("client")).problem(403);
    site.get("/api/v1/jobs", &site.service("b")).plain(403);
}

#[test]
fn jobs_are_told_on_the_stream_to_whom_they_may_be_told() {
    let site = slow("0s");
    let (admin, technician) = (site.user("admin"), site.user("technician"));
    let mut all = Listening::to(&site, "topics=jobs", &admin, "");
    let known = all.until(|event| event.kind == "jobs").data;
    assert_eq!(known[0]["state"], "done", "the start of before: {known}");
    all.until(|event| event.kind == "begin");
    let mut some = Listening::to(&site, "topics=jobs", &technician, "");
    assert_eq!(some.until(|event| event.kind == "jobs").data, json!([]));
    some.until(|event| event.kind == "begin");
    site.ask("POST", "/api/services/slow/stop", &admin, None).status(200);
    all.until(|event| event.kind == "job" && event.data["names"] == json!(["slow"]));
    let done = all.until(|event| event.kind == "job" && event.data["state"] == "done").data;
    assert_eq!((&done["kind"], &done["names"]), (&json!("stop"), &json!(["slow"])));
    site.ask("POST", "/api/services/b/start", &admin, None).status(200);
    let told = some.until(|event| event.kind == "job").data;
    assert_eq!(told["names"], json!(["b"]), "nothing of the other one: {told}");
}

#[test]
fn a_reload_is_a_job_and_its_faults_are_told_at_once() {
    let site = site();
    let admin = site.user("admin");
    site.home.write("services.json", r#"{"c": {"command": ["sleep", "1000"]}}"#);
    let applied = site.post("/api/v1/config/reload", &admin, &json!({"no_start": true})).status(202).json();
    let url = applied["job"]["url"].as_str().unwrap().to_owned();
    let done = once(&site, &url, &admin, |job| job["state"] == "done");
    assert_eq!((&done["kind"], &done["names"]), (&json!("reload"), &json!([])));
    site.get(&url, &site.user("billing")).problem(404);
}
