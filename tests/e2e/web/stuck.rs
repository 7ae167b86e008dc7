//! A helmd that is there and does not answer.

use harness::wait::until;
use rustix::process::Signal;
use serde_json::json;

use super::site;

#[test]
fn who_asks_a_stuck_helmd_is_told_so_and_served_again_once_it_goes_on() {
    let site = site();
    let admin = site.user("admin");
    site.get("/api/services/status", &admin).status(200);
    let helmd = site.home.helmd().expect("helmd runs");
    helmd.signal(Signal::STOP);
    site.get("/health", "").status(200);
    // One after the other, so that a connection that was made anew is met as well.
    for _ in 0..3 {
        let why = site.get("/api/services/status", &admin).problem(503);
        assert!(why.contains("helmd"), "{why}");
    }
    let entry = json!({"service_name": "codex", "logs": [{"message": "while it stood still"}]});
    let refused = site.post("/api/logs/ingest", &site.service("codex"), &entry).status(503);
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    site.get("/health", "").status(200);
    helmd.signal(Signal::CONT);
    until("it is served again", || site.get("/api/services/status", &admin).status == 200);
    site.post("/api/logs/ingest", &site.service("codex"), &entry).status(200);
}
