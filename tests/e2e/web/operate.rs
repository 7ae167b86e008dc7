//! Start, stop, restart over HTTP (contract 5.2).

use harness::home::fixture;
use harness::site::Site;
use hyper::Request;
use serde_json::json;

use super::{once, site};

#[test]
fn a_service_is_started_restarted_and_stopped() {
    let site = site();
    let admin = site.user("admin");
    let started =
        site.post("/api/services/a/start", &admin, &json!({"mode": "production"})).status(200).json();
    assert_eq!(
        (&started["success"], &started["message"]),
        (&json!(true), &json!("Service started successfully"))
    );
    let pid = started["pid"].as_u64().unwrap();
    let again = site.ask("POST", "/api/services/a/start", &admin, None).status(200).json();
    assert_eq!((&again["message"], &again["pid"]), (&json!("Service already running"), &json!(pid)));
    let status = site.get("/api/services/a/status", &admin).status(200).json();
    assert_eq!(
        (&status["status"], &status["pid"], &status["mode"]),
        (&json!("running"), &json!(pid), &json!("production"))
    );
    let restarted = site.post("/api/services/a/restart", &admin, &json!({})).status(200).json();
    assert_eq!(restarted["details"]["stop"]["success"], true);
    assert_eq!(restarted["details"]["start"]["message"], "Service started successfully");
    assert!(restarted["message"].as_str().unwrap().starts_with("Stop: "));
    assert_ne!(restarted["pid"], json!(pid));
    let stopped = site.ask("POST", "/api/services/a/stop", &admin, None).status(200).json();
    assert_eq!(stopped, json!({"success": true, "message": "Service stopped successfully"}));
    let twice = site.ask("POST", "/api/services/a/stop", &admin, None).status(200).json();
    assert_eq!(twice, json!({"success": true, "message": "Service already stopped"}));
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_happens() {
    let site = site();
    let admin = site.user("admin");
    for verb in ["start", "stop", "restart"] {
        let path = format!("/api/services/nobody/{verb}");
        assert_eq!(site.ask("POST", &path, &admin, None).plain(404), "Service not found");
        site.get(&format!("/api/services/a/{verb}"), &admin).problem(405);
    }
    for verb in ["start", "restart"] {
        let path = format!("/api/services/a/{verb}");
        assert!(site.post(&path, &admin, &json!({"mode": "prod"})).plain(400).starts_with("Invalid mode"));
        site.post(&path, &admin, &json!({"mode": 7})).problem(400);
        let form = Request::post(&path)
            .header("authorization", format!("Bearer {admin}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("mode=production")
            .unwrap();
        site.send(form).problem(415);
    }
    let status = site.get("/api/services/a/status", &admin).json();
    assert_eq!(status["status"], "stopped");
}

#[test]
fn a_start_that_fails_says_so() {
    let site = Site::new(&json!({"bad": {"command": ["/nonexistent/program"]}}), "");
    let answer = site.ask("POST", "/api/services/bad/start", &site.user("admin"), None);
    assert!(matches!(answer.status, 400 | 409), "{}", answer.text());
    assert!(answer.text().contains("nonexistent") || answer.json()["success"] == false, "{}", answer.text());
}

#[test]
fn what_others_stand_on_wants_a_word_and_helm_itself_stays() {
    let services = json!({
        "redis": {"command": fixture("chatty", "rate=1")},
        "helm": {"command": fixture("chatty", "rate=1")},
    });
    let site = Site::new(&services, "");
    let admin = site.user("admin");
    site.ask("POST", "/api/services/redis/start", &admin, None).status(200);
    let refused = site.ask("POST", "/api/services/redis/stop", &admin, None).problem(409);
    assert!(refused.contains("confirm") && refused.contains("lost"), "{refused}");
    assert_eq!(site.get("/api/services/redis/status", &admin).json()["status"], "running");
    site.post("/api/services/redis/stop", &admin, &json!({"confirm": true})).status(200);
    site.post("/api/services/helm/stop", &admin, &json!({"confirm": true})).problem(409);
    // It answers before it is done.
    let restarted = site.ask("POST", "/api/services/helm/restart", &admin, None).status(202).json();
    assert_eq!(restarted["success"], true);
    once(&site, "/api/services/helm/status", &admin, |status| status["status"] == "running");
}

#[test]
fn what_is_needed_by_what_others_stand_on_wants_a_word_too() {
    let services = json!({
        "base": {"command": fixture("chatty", "rate=1")},
        "keycloak": {"command": fixture("chatty", "rate=1"), "depends_on": ["base"]},
    });
    let site = Site::new(&services, "[roles]\ntechnician = base\ntechnician.operate = base\n");
    let admin = site.user("admin");
    site.ask("POST", "/api/services/base/start", &admin, None).status(200);
    site.ask("POST", "/api/services/base/stop", &admin, None).status(200);
    site.ask("POST", "/api/services/keycloak/start", &admin, None).status(200);
    // Also for who does not see what is lost.
    for who in [&admin, &site.user("technician")] {
        let refused = site.ask("POST", "/api/services/base/stop", who, None).problem(409);
        assert!(refused.contains("keycloak needs base") && refused.contains("confirm"), "{refused}");
    }
    assert_eq!(site.get("/api/services/base/status", &admin).json()["status"], "running");
    site.post("/api/services/base/stop", &admin, &json!({"confirm": true})).status(200);
}

#[test]
fn who_restarts_what_they_came_through_is_asked_first_and_answered_before_it_is_done() {
    let site = Site::new(&json!({"nexus": {"command": fixture("chatty", "rate=1")}}), "");
    let admin = site.user("admin");
    site.ask("POST", "/api/services/nexus/start", &admin, None).status(200);
    site.ask("POST", "/api/services/nexus/restart", &admin, None).status(200);
    let through = |body: &str| {
        let request = Request::post("/api/services/nexus/restart")
            .header("authorization", format!("Bearer {admin}"))
            .header("content-type", "application/json")
            .header("x-forwarded-prefix", "/helm")
            .header("x-forwarded-host", "helm.example");
        site.send(request.body(body.to_owned()).unwrap())
    };
    let refused = through("{}").problem(409);
    assert!(refused.contains("came through nexus") && refused.contains("confirm"), "{refused}");
    let answer = through(r#"{"confirm": true}"#).status(202).json();
    let job = answer["job"]["url"].as_str().unwrap().strip_prefix("/helm").expect("the prefix").to_owned();
    once(&site, &job, &admin, |job| job["state"] == "done");
}
